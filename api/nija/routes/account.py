"""Account Management: `/account`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.kit.wire import parse_wire_id
from api.nija.accounts import NO_ACCOUNT, choice_of
from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.account import (
    POSITION,
    AccountQuery,
    BalanceData,
    HistoryData,
    HistoryQuery,
    PaperResetData,
    PositionPatch,
    PositionsData,
    PositionsQuery,
)
from api.nija.schemas.common import MessageView
from api.nija.schemas.performance import PerformanceData, PerformanceQuery
from api.nija.schemas.stats import StatsData
from api.nija.schemas.trading import ClosePositionView, CloseRequest
from services.errors import (
    InvalidRequest,
    ObjectNotFound,
    PaperAccountInUse,
    PositionCanBeSold,
    PositionNotFound,
    VenueFailed,
)
from services.paper_accounts import PAPER_VENUE

router = APIRouter(prefix="/account", tags=["Account Management"])


@router.get("/balance", **answers(BalanceData, *NO_ACCOUNT))
async def balance(
    reader: Reader, services: Services, query: Annotated[AccountQuery, Query()]
) -> Answer[BalanceData]:
    """Cash, equity and buying power."""
    view = await services.views.balance(reader, choice_of(services, query))
    return ok(BalanceData.from_domain(view))


@router.get("/positions", **answers(PositionsData, *NO_ACCOUNT))
async def positions(
    reader: Reader, services: Services, query: Annotated[PositionsQuery, Query()]
) -> Answer[PositionsData]:
    """Open positions and their sums."""
    view = await services.views.positions(reader, choice_of(services, query), symbol=query.symbol)
    return ok(PositionsData.from_domain(view))


@router.get("/history", **answers(HistoryData, *NO_ACCOUNT))
async def history(
    reader: Reader, services: Services, query: Annotated[HistoryQuery, Query()]
) -> Answer[HistoryData]:
    """Trades, newest first."""
    found = await services.views.history(
        reader,
        choice_of(services, query),
        query.to_filter(),
        page=query.page,
        per_page=query.per_page,
    )
    return ok(HistoryData.from_domain(found, query))


@router.get("/performance", **answers(PerformanceData, *NO_ACCOUNT))
async def performance(
    reader: Reader, services: Services, query: Annotated[PerformanceQuery, Query()]
) -> Answer[PerformanceData]:
    """Metrics, daily P&L and equity curve of a period."""
    view = await services.views.performance(reader, choice_of(services, query), query.period)
    return ok(PerformanceData.from_domain(view))


@router.get("/stats", **answers(StatsData, *NO_ACCOUNT))
async def stats(
    reader: Reader, services: Services, query: Annotated[AccountQuery, Query()]
) -> Answer[StatsData]:
    """Everything since the account began or was reset, and the limits that hold for it."""
    view = await services.views.stats(reader, choice_of(services, query))
    return ok(StatsData.from_domain(view))


@router.post(
    "/positions/{position_id}/close",
    **answers(ClosePositionView, PositionNotFound, body=True, idempotent=True, way_out=True),
)
async def close_position(
    position_id: str,
    caller: Caller,
    once: Idempotent,
    services: Services,
    body: CloseRequest | None = None,
) -> Answer[ClosePositionView]:
    """Leave one position at the market: all of it, unless a part is named."""
    parsed = _position_id(position_id)
    wish = body or CloseRequest()
    if wish.percent is not None and wish.quantity is not None:
        message = "Give percent or quantity, not both"
        raise InvalidRequest({"percent": message, "quantity": message})

    async def act(command_id: UUID) -> Answer[ClosePositionView]:
        result = await services.trading.close_position(
            caller, parsed, percent=wish.percent, quantity=wish.quantity, command_id=command_id
        )
        return ok(ClosePositionView.from_domain(result))

    return await once.command(act)


@router.post(
    "/positions/{position_id}/write-off",
    **answers(
        ClosePositionView, PositionNotFound, PositionCanBeSold, idempotent=True, way_out=True
    ),
)
async def write_off_position(
    position_id: str, caller: Caller, once: Idempotent, services: Services
) -> Answer[ClosePositionView]:
    """Close in the books a position that cannot be sold, without a price for what is given up."""
    parsed = _position_id(position_id)

    async def act() -> Answer[ClosePositionView]:
        result = await services.trading.write_off_position(caller, parsed)
        return ok(ClosePositionView.from_domain(result))

    return await once(act)


@router.patch(
    "/positions/{position_id}",
    **answers(MessageView, PositionNotFound, VenueFailed, body=True, idempotent=True),
)
async def modify_position(
    position_id: str, body: PositionPatch, caller: Caller, once: Idempotent, services: Services
) -> Answer[MessageView]:
    """Set the stop, which keeps trailing from there, or replace the remaining targets by one."""
    parsed = _position_id(position_id)
    if body.stop_loss is None and body.take_profit is None:
        message = "Give stop_loss, take_profit or both"
        raise InvalidRequest({"stop_loss": message, "take_profit": message})

    async def act() -> Answer[MessageView]:
        await services.trading.modify_position(
            caller, parsed, stop_loss=body.stop_loss, take_profit=body.take_profit
        )
        return ok(MessageView(message="Position updated"))

    return await once(act)


@router.post(
    "/paper/reset",
    **answers(PaperResetData, ObjectNotFound, PaperAccountInUse, idempotent=True),
)
async def reset_paper(
    caller: Caller, once: Idempotent, services: Services
) -> Answer[PaperResetData]:
    """Put the paper account back to its starting cash; its trades stay in the history."""

    async def act(command_id: UUID) -> Answer[PaperResetData]:
        result = await services.paper.reset(caller, PAPER_VENUE, command_id=command_id)
        return ok(PaperResetData.from_domain(result))

    return await once.command(act)


def _position_id(text: str) -> UUID:
    parsed = parse_wire_id(POSITION, text)
    if parsed is None:
        raise PositionNotFound
    return parsed
