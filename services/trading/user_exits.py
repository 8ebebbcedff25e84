"""Positions that their users leave: all of one, or a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.exits import partial_quantity
from domain.money import HUNDRED, ZERO
from domain.ports import WallClock
from domain.positions import PositionState
from domain.principal import Principal
from domain.strategies.apex import ExitReason
from models.bots import Bot
from models.trading import ExitRequest, ExitRequestState, Position
from services import audit
from services.audit import AuditEvent
from services.database import Database
from services.errors import InvalidRequest, PositionNotFound
from services.orders.exit_requests import (
    COMMAND,
    asked_for,
    cause_of_request,
    request_by_cause,
    request_exit,
    sold_for,
)
from services.orders.market_rules import rules_from_record
from services.trading.ending import reopen_runs
from services.trading.position_rows import bot_of, lock_position


@dataclass(frozen=True, slots=True)
class AskedExit:
    """What was asked to leave of a position.

    Attributes:
        bot: whose exits are to be woken.
        quantity: in the base currency.
        is_all: whether nothing of the position stays.
    """

    bot: Bot
    quantity: Decimal
    is_all: bool


class UserExits:
    """Asks for exits."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def close(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        percent: Decimal | None,
        quantity: Decimal | None,
        command_id: UUID,
    ) -> AskedExit:
        """Ask for the exit of a position, or of a part of it. Asking twice for all is asking once.

        Args:
            principal: whose position.
            position_id: which one.
            command_id: what asks; asking again with the same one changes nothing.
            percent: how much leaves of what was not asked to leave before; above 0, up to 100.
            quantity: the same in the base currency, positive; more than is held is all of it.

        Raises:
            PositionNotFound: no open position of this user has that id.
            InvalidRequest: the part is less than the market's quantity step.
        """
        cause = f"{COMMAND}{command_id}"
        async with self._database.for_user(principal.user_id) as session:
            position = await lock_position(session, position_id)
            bot = await bot_of(session, position)
            known = await _known(session, bot, position, cause)
            if known is not None:
                return known
            if position.state != PositionState.OPEN:
                raise PositionNotFound
            if position.close_requested is not None:
                position.exit_asked_at = self._clock.now()
                return AskedExit(bot, position.open_quantity, is_all=True)
            if percent is not None and percent < HUNDRED:
                rest = max(ZERO, position.open_quantity - await asked_for(session, position.id))
                quantity = rest * percent / HUNDRED
            request = await request_exit(
                session,
                position,
                cause=cause,
                reason=ExitReason.MANUAL,
                wall=self._clock.now(),
                quantity=quantity,
            )
            if request is not None and request.state == ExitRequestState.DENIED:
                # Nothing is kept of it: the transaction ends here.
                name = "quantity" if percent is None else "percent"
                raise InvalidRequest({name: request.refusal_reason or "It is too little"})
            await reopen_runs(session, bot.id)
            asked = _asked(bot, position, request, held=position.open_quantity)
            self._audit(session, principal, position, asked)
        return asked

    def _audit(
        self, session: AsyncSession, principal: Principal, position: Position, asked: AskedExit
    ) -> None:
        part = {} if asked.is_all else {"quantity": str(asked.quantity)}
        audit.record(
            session,
            AuditEvent.POSITION_CLOSED if asked.is_all else AuditEvent.POSITION_REDUCED,
            user_id=principal.user_id,
            at=self._clock.now(),
            meta={"position_id": str(position.id), **part},
        )


async def _known(
    session: AsyncSession, bot: Bot, position: Position, cause: str
) -> AskedExit | None:
    """What a cause asked for before, as it was then: what it sold since counts as held."""
    request = await request_by_cause(session, position.id, cause)
    if request is not None:
        carrier = cause_of_request(request.merged_into or request.id)
    elif position.close_cause == cause:
        carrier = cause
    else:
        return None
    held = position.open_quantity + await sold_for(session, position.id, carrier)
    return _asked(bot, position, request, held=held)


def _asked(
    bot: Bot, position: Position, request: ExitRequest | None, *, held: Decimal
) -> AskedExit:
    """What will be sold: whole steps, and all of it where the rest could not be sold by itself."""
    if request is None:
        return AskedExit(bot, held, is_all=True)
    price = position.stop_loss or position.decision_price
    rules = rules_from_record(position.rules)
    quantity = partial_quantity(request.quantity, held, rules, price=price)
    return AskedExit(bot, quantity, is_all=quantity >= held)
