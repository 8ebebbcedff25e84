"""Asking positions to leave because a signal says so: whole or in part, and what that adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import TradeSignal
from domain.money import HUNDRED, ZERO
from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from models.connections import Account, Connection, ConnectionStatus
from models.trading import ExitRequestState, Position
from services.alerts.joining import AskingAlerts
from services.orders.exit_requests import asked_for, request_exit
from services.trading.figures import last_prices

BROKER_REMOVED = "broker_removed"
"""The position is of a connection whose keys are gone: nothing can be sold."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signal has asked for: all of a position or, by a request, a part of it.

    Attributes:
        position_id: the position.
        target_id: the position again, or the request.
        joins: the alert that asked for it before and is followed; None where none is.
        refusal: why it cannot be asked for.
    """

    position_id: UUID
    target_id: UUID
    joins: UUID | None = None
    refusal: str | None = None


async def leave_by_signal(
    session: AsyncSession,
    signal: TradeSignal,
    positions: Sequence[Position],
    asking: AskingAlerts,
    *,
    cause: str,
    wall: datetime,
) -> list[Asked]:
    """Ask positions to leave, whole or the part that a signal says.

    Args:
        session: a transaction of the positions' user.
        signal: what asks.
        positions: live positions of one account; their rows are locked by the caller.
        asking: the alerts that ask for exits already.
        cause: the signal's.
        wall: wall time.
    """
    account = await session.get_one(Account, positions[0].account_id)
    if await _is_removed(session, account):
        return [Asked(it.id, it.id, refusal=BROKER_REMOVED) for it in positions]
    prices = await last_prices(session, account) if signal.size_usd is not None else {}
    budget = _Part.of(signal, positions[0], prices)
    found: list[Asked] = []
    for position in positions:
        is_leaving = position.close_requested is not None
        asked = ZERO if is_leaving else await asked_for(session, position.id)
        quantity = budget.take(position, asked)
        if quantity is not None and quantity <= ZERO:
            continue
        if is_leaving:
            position.exit_asked_at = wall
            found.append(Asked(position.id, position.id, joins=await asking.of_all(position.id)))
            continue
        request = await request_exit(
            session,
            position,
            cause=cause,
            reason=ExitReason.SIGNAL_CLOSE,
            wall=wall,
            quantity=quantity,
        )
        if request is None:
            found.append(Asked(position.id, position.id))
        elif request.merged_into is not None:
            carrier = request.merged_into
            joins = await asking.of_part(position.id, carrier)
            found.append(Asked(position.id, carrier, joins=joins))
        else:
            refusal = request.refusal_code if request.state == ExitRequestState.DENIED else None
            found.append(Asked(position.id, request.id, refusal=refusal))
    return found


@dataclass
class _Part:
    """How much a signal closes: a share of each position, or a quantity of all of them."""

    percent: Decimal | None = None
    quantity: Decimal | None = None

    @classmethod
    def of(cls, signal: TradeSignal, position: Position, prices: Mapping[str, Decimal]) -> _Part:
        """The first of quantity, percent and size that a signal names."""
        if signal.quantity is not None:
            return cls(quantity=signal.quantity)
        if signal.percent is not None:
            return cls(percent=signal.percent)
        if signal.size_usd is not None:
            price = prices.get(position.symbol) or position.decision_price
            return cls(quantity=signal.size_usd / price)
        return cls()

    def take(self, position: Position, asked: Decimal) -> Decimal | None:
        """The quantity that leaves of one position; None is all of it.

        A percentage is of what was not `asked` to leave before, whether or not that was sold yet.
        """
        is_pending = position.state == PositionState.PENDING
        held = position.planned_quantity if is_pending else position.open_quantity
        if self.percent is not None:
            is_all = self.percent >= HUNDRED or asked >= held
            return None if is_all else (held - asked) * self.percent / HUNDRED
        if self.quantity is None:
            return None
        taken = min(held, self.quantity)
        self.quantity -= taken
        return None if taken == held else taken


async def _is_removed(session: AsyncSession, account: Account) -> bool:
    if account.connection_id is None:
        return False
    connection = await session.get_one(Connection, account.connection_id)
    return connection.status == ConnectionStatus.REMOVED
