"""What users are told of their trades, in the transaction that books the fill."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import Leg, OrderState
from domain.positions import Position as FoldedPosition
from domain.positions import PositionState
from domain.strategies.apex import ExitReason
from models.trading import Order, Position
from services.notices import NoticeKind, tell
from services.orders.dust import DUST

TARGET_LEGS = frozenset({Leg.TARGET_1, Leg.TARGET_2, Leg.TARGET_3})

_CLOSED_BY = {
    ExitReason.STOP_LOSS: NoticeKind.STOP_HIT,
    ExitReason.TRAILING_STOP: NoticeKind.STOP_HIT,
    ExitReason.TAKE_PROFIT: NoticeKind.TARGET_HIT,
}


async def tell_of_trade(
    session: AsyncSession, position: Position, order: Order, folded: FoldedPosition, wall: datetime
) -> None:
    """Tell of a position that opened, reached a target or closed, of all or a part; each once.

    Args:
        session: the transaction that books.
        position: as it is now.
        order: what was reported about.
        folded: the position's fills.
        wall: wall time.
    """
    leg = Leg(order.leg)
    name = position.id.hex
    if folded.state is PositionState.CLOSED:
        reason = position.exit_reason or ExitReason.MANUAL
        kind = _CLOSED_BY.get(ExitReason(reason), NoticeKind.TRADE_CLOSED)
        about = f"{name}:{_plain(folded.entry_quantity)}"
    elif folded.state is not PositionState.OPEN or not OrderState(order.state).is_final:
        return
    elif leg is Leg.ENTRY and not folded.exit_quantity and not position.came_back:
        kind, about = NoticeKind.TRADE_OPENED, name
    elif leg in TARGET_LEGS and order.filled_quantity:
        kind, about = NoticeKind.TARGET_HIT, f"{name}:{leg.value}"
    elif leg is Leg.REDUCE and order.filled_quantity:
        kind, about = NoticeKind.PART_CLOSED, f"{name}:{order.id.hex}"
    else:
        return
    facts = _facts(position, folded)
    if kind is NoticeKind.PART_CLOSED:
        facts["sold"] = _plain(order.filled_quantity)
    if folded.state is PositionState.CLOSED and order.refusal_code == DUST:
        facts["dust"] = _plain(position.open_quantity)
    await tell(session, position.user_id, kind, about, now=wall, facts=facts)


def _facts(position: Position, folded: FoldedPosition) -> dict[str, str]:
    is_closed = folded.state is PositionState.CLOSED
    known = {
        "quantity": folded.entry_quantity,
        "entry_price": folded.average_entry_price,
        "exit_price": folded.average_exit_price,
        "stop_loss": None if is_closed else position.stop_loss,
        "take_profit": None if is_closed else position.take_profit,
        "remaining": position.open_quantity if folded.exit_quantity and not is_closed else None,
        "pnl": folded.price_pnl if is_closed or folded.exit_quantity else None,
        "fees": folded.fees,
        "net_pnl": folded.net_pnl if is_closed else None,
    }
    facts = {"position_id": position.id.hex, "symbol": position.symbol, "side": str(position.side)}
    facts |= {name: _plain(value) for name, value in known.items() if value is not None}
    return facts | ({"reason": str(position.exit_reason)} if is_closed else {})


def _plain(value: Decimal) -> str:
    """The same text for the same number, however many zeros it was computed with."""
    return f"{value.normalize():f}"
