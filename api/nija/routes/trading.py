"""Trading Control: `/trading`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.trading import (
    BotChangeView,
    DecisionItem,
    DecisionsQuery,
    DecisionsView,
    EmergencyStopRequest,
    EmergencyView,
    ReleaseRequest,
    StartRequest,
    StartView,
    StopRequest,
    StopView,
    TradingStatusView,
)
from services.errors import (
    AlreadyRunning,
    InvalidRiskLevel,
    KillSwitchActive,
    NoBrokerConfigured,
    NotRunning,
    SubscriptionRequired,
    UnsupportedBroker,
    VenueFailed,
    WorkflowUnavailable,
)
from services.identity.errors import EmailNotVerified

router = APIRouter(prefix="/trading", tags=["Trading Control"])


@router.post(
    "/start",
    **answers(
        StartView,
        UnsupportedBroker,
        InvalidRiskLevel,
        NoBrokerConfigured,
        SubscriptionRequired,
        EmailNotVerified,
        KillSwitchActive,
        AlreadyRunning,
        VenueFailed,
        WorkflowUnavailable,
        body=True,
        idempotent=True,
    ),
)
async def start(
    caller: Caller, once: Idempotent, services: Services, body: StartRequest | None = None
) -> Answer[StartView]:
    """Start the bot; fields that are left out come from the settings."""
    wish = body or StartRequest()

    async def act() -> Answer[StartView]:
        result = await services.trading.start(
            caller,
            broker=wish.broker.lower() if wish.broker else None,
            paper_trading=wish.paper_trading,
            risk_profile=wish.risk_profile,
        )
        return ok(StartView.from_domain(result))

    return await once(act)


@router.post("/stop", **answers(StopView, NotRunning, body=True, idempotent=True, way_out=True))
async def stop(
    caller: Caller, once: Idempotent, services: Services, body: StopRequest | None = None
) -> Answer[StopView]:
    """Stop entries at once; positions are left to their exits unless they are to be closed."""
    wish = body or StopRequest()

    async def act() -> Answer[StopView]:
        result = await services.trading.stop(
            caller, close_positions=wish.close_positions, emergency=wish.emergency
        )
        return ok(StopView.from_domain(result))

    return await once(act)


@router.get("/status", **answers(TradingStatusView))
async def status(reader: Reader, services: Services) -> Answer[TradingStatusView]:
    """Where the bot stands: stopped, starting, running, paused, error, emergency_stopped."""
    return ok(TradingStatusView.from_domain(await services.bot_views.status(reader)))


@router.post(
    "/emergency-stop",
    **answers(EmergencyView, body=True, idempotent=True, way_out=True),
)
async def emergency_stop(
    caller: Caller,
    once: Idempotent,
    services: Services,
    body: EmergencyStopRequest | None = None,
) -> Answer[EmergencyView]:
    """Block all entries until released, and close positions if asked to."""
    wish = body or EmergencyStopRequest()

    async def act() -> Answer[EmergencyView]:
        result = await services.trading.emergency_stop(
            caller, reason=wish.reason, close_positions=wish.close_positions
        )
        return ok(EmergencyView.from_domain(result))

    return await once(act)


@router.post(
    "/emergency-stop/release", **answers(BotChangeView, NotRunning, body=True, idempotent=True)
)
async def release(
    caller: Caller, once: Idempotent, services: Services, body: ReleaseRequest | None = None
) -> Answer[BotChangeView]:
    """Lift the user's own emergency stop; the bot stays stopped until it is started."""
    wish = body or ReleaseRequest()

    async def act() -> Answer[BotChangeView]:
        change = await services.trading.release(caller, reason=wish.reason)
        return ok(BotChangeView.from_domain(change))

    return await once(act)


@router.post("/pause", **answers(BotChangeView, NotRunning, idempotent=True))
async def pause(caller: Caller, once: Idempotent, services: Services) -> Answer[BotChangeView]:
    """Make no new entries for a while; exits go on."""

    async def act() -> Answer[BotChangeView]:
        return ok(BotChangeView.from_domain(await services.trading.pause(caller)))

    return await once(act)


@router.post("/resume", **answers(BotChangeView, NotRunning, idempotent=True))
async def resume(caller: Caller, once: Idempotent, services: Services) -> Answer[BotChangeView]:
    """Let a paused bot enter again."""

    async def act() -> Answer[BotChangeView]:
        return ok(BotChangeView.from_domain(await services.trading.resume(caller)))

    return await once(act)


@router.get("/decisions", **answers(DecisionsView))
async def decisions(
    reader: Reader, services: Services, query: Annotated[DecisionsQuery, Query()]
) -> Answer[DecisionsView]:
    """Why the bot did what it did: the latest decision on each pair, or every one on a pair."""
    found = await services.bot_views.decisions(reader, symbol=query.symbol, limit=query.limit)
    return ok(DecisionsView(decisions=[DecisionItem.from_domain(one) for one in found]))
