"""Counting closed trades, in the transaction that closes each: none missed, none twice.

A closed position may open again or get another fill, when an order that was taken for lost comes
back. What it counted as before is then taken off, and what it is now is added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, func, or_, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.performance import ClosedTrade, held_microseconds
from domain.positions import PositionState
from domain.risk import trading_day
from models.ledgers import DailyResult, Flow, FlowKind
from models.rollups import ALL_HOURS, ALL_SYMBOLS, Grain, TradeRollup
from models.trading import Position

SUMS = (
    "trades",
    "wins",
    "losses",
    "price_pnl",
    "net_pnl",
    "fees",
    "gross_profit",
    "gross_loss",
    "entry_notional",
    "volume",
    "held_microseconds",
)
"""The columns of a roll-up that add up."""

_KEY = ("account_id", "hour", "symbol", "grain", "bucket")
_NAMED = ("best_net", "best_id", "worst_net", "worst_id")
_EVER = datetime.min.replace(tzinfo=UTC)

# Runs after the rows were locked and the position was stored, so what it reads is what stands.
_NAME_AGAIN = text("""
UPDATE trade_rollups r
SET (best_net, best_id, worst_net, worst_id) = (
    SELECT max(t.net), (array_agg(t.id ORDER BY t.net DESC, t.id))[1],
           min(t.net), (array_agg(t.id ORDER BY t.net, t.id))[1]
    FROM (
        SELECT p.id, coalesce(p.realized_pnl, 0) - p.fees AS net
        FROM positions p
        WHERE p.user_id = r.user_id AND p.account_id = r.account_id AND p.state = 'closed'
          AND p.closed_at > :begin AND p.exit_notional <> 0
          AND p.closed_at >= r.bucket::timestamp AT TIME ZONE 'UTC'
          AND p.closed_at < (r.bucket + ('1 ' || r.grain)::interval) AT TIME ZONE 'UTC'
          AND (r.symbol = '' OR p.symbol = r.symbol)
          AND (r.hour = -1 OR extract(hour FROM p.closed_at AT TIME ZONE 'UTC') = r.hour)
    ) t
)
WHERE r.account_id = :account_id AND r.hour = ANY(:hours) AND r.symbol = ANY(:symbols)
  AND ((r.grain = 'day' AND r.bucket = :day) OR (r.grain = 'month' AND r.bucket = :month))
  AND :id IN (r.best_id, r.worst_id)
""")


class Key(NamedTuple):
    """What a roll-up row is about; rows are always locked in this order."""

    hour: int
    symbol: str
    grain: str
    bucket: date


@dataclass(frozen=True, slots=True)
class CountedTrade:
    """What a closed position counts as; amounts in the account's currency."""

    run_id: UUID
    symbol: str
    price_pnl: Decimal
    fees: Decimal
    entry_notional: Decimal
    exit_notional: Decimal
    opened_at: datetime
    closed_at: datetime

    @property
    def net_pnl(self) -> Decimal:
        """After fees."""
        return self.price_pnl - self.fees

    @property
    def is_judged(self) -> bool:
        """Whether any of it was sold: what left otherwise is neither won nor lost."""
        return bool(self.exit_notional)

    @property
    def hour(self) -> int:
        """The UTC hour of its closing."""
        return self.closed_at.astimezone(UTC).hour

    def sums(self, sign: int) -> dict[str, Any]:
        """What it adds to every row it counts in; with sign -1, what it takes off."""
        net = self.net_pnl
        won = net if self.is_judged else ZERO
        held = held_microseconds(
            ClosedTrade(self.price_pnl, self.fees, self.opened_at, self.closed_at)
        )
        return {
            "trades": sign,
            "wins": sign * int(won > ZERO),
            "losses": sign * int(won < ZERO),
            "price_pnl": sign * self.price_pnl,
            "net_pnl": sign * net,
            "fees": sign * self.fees,
            "gross_profit": sign * max(won, ZERO),
            "gross_loss": sign * min(won, ZERO),
            "entry_notional": sign * self.entry_notional,
            "volume": sign * (self.entry_notional + self.exit_notional),
            "held_microseconds": sign * held,
        }

    def rows(self) -> list[Key]:
        """The eight rows it counts in."""
        day = trading_day(self.closed_at)
        buckets = {Grain.DAY: day, Grain.MONTH: day.replace(day=1)}
        return [
            Key(hour, symbol, grain.value, bucket)
            for hour in (ALL_HOURS, self.hour)
            for symbol in (ALL_SYMBOLS, self.symbol)
            for grain, bucket in buckets.items()
        ]


def counted(position: Position) -> CountedTrade | None:
    """The trade that a position is; None while it is not closed."""
    if position.state != PositionState.CLOSED or position.closed_at is None:
        return None
    return CountedTrade(
        run_id=position.run_id,
        symbol=position.symbol,
        price_pnl=position.realized_pnl or ZERO,
        fees=position.fees,
        entry_notional=position.entry_notional,
        exit_notional=position.exit_notional,
        opened_at=position.opened_at,
        closed_at=position.closed_at,
    )


async def count_trade(
    session: AsyncSession,
    position: Position,
    before: CountedTrade | None,
    after: CountedTrade | None,
) -> None:
    """Bring every roll-up from what a position counted as to what it counts as now.

    Args:
        session: the transaction that changes the position.
        position: the position, locked; it is stored with its new values here.
        before: what it counted as.
        after: what it is now.
    """
    if before == after:
        return
    session.add(position)
    await session.flush()
    begin = await _begin(session, position.account_id)
    before = before if before is not None and before.closed_at > begin else None
    after = after if after is not None and after.closed_at > begin else None
    for trade, sign in ((before, -1), (after, 1)):
        if trade is not None:
            await _add_to_run(session, position, trade, sign)
    await _roll_up(session, position, before, after)
    if before is not None:
        await _name_again(session, position, before, begin)


async def _begin(session: AsyncSession, account_id: UUID) -> datetime:
    """When the account's books began: at its last reset."""
    found = await session.exec(
        select(func.max(col(Flow.at))).where(
            Flow.account_id == account_id, Flow.kind == FlowKind.RESET.value
        )
    )
    return found.one() or _EVER


async def _add_to_run(
    session: AsyncSession, position: Position, trade: CountedTrade, sign: int
) -> None:
    """The run's own day, which the daily loss stop reads."""
    sums = trade.sums(sign)
    amounts = {name: sums[name] for name in ("trades", "wins", "price_pnl", "net_pnl", "fees")}
    key = {"run_id": trade.run_id, "day": trading_day(trade.closed_at)}
    owner = {"account_id": position.account_id, "user_id": position.user_id}
    columns = DailyResult.__table__.c  # type: ignore[attr-defined]
    await session.exec(
        insert(DailyResult)
        .values(**key, **owner, **amounts)
        .on_conflict_do_update(
            index_elements=list(key),
            set_={name: columns[name] + amount for name, amount in amounts.items()},
        )
    )


async def _roll_up(
    session: AsyncSession,
    position: Position,
    before: CountedTrade | None,
    after: CountedTrade | None,
) -> None:
    """One statement, its rows in one order: two fills of an account never wait for each other."""
    changes: dict[Key, dict[str, Any]] = {}
    for trade, sign in ((before, -1), (after, 1)):
        if trade is None:
            continue
        for key in trade.rows():
            row = changes.setdefault(key, dict.fromkeys(SUMS, 0) | dict.fromkeys(_NAMED))
            for name, amount in trade.sums(sign).items():
                row[name] += amount
            if sign > 0 and trade.is_judged:
                row["best_net"] = row["worst_net"] = trade.net_pnl
                row["best_id"] = row["worst_id"] = position.id
    if not changes:
        return
    owner = {"account_id": position.account_id, "user_id": position.user_id}
    await session.exec(_upsert([owner | key._asdict() | changes[key] for key in sorted(changes)]))


def _upsert(rows: Sequence[Mapping[str, Any]]) -> Insert:
    statement = insert(TradeRollup).values(rows)
    old: Any = TradeRollup.__table__.c  # type: ignore[attr-defined]
    new: Any = statement.excluded
    is_best = _comes_first(old, new, "best", new.best_net > old.best_net)
    is_worst = _comes_first(old, new, "worst", new.worst_net < old.worst_net)
    named = {
        name: case((is_best if name.startswith("best") else is_worst, new[name]), else_=old[name])
        for name in _NAMED
    }
    sums = {name: old[name] + new[name] for name in SUMS}
    return statement.on_conflict_do_update(index_elements=_KEY, set_=sums | named)


def _comes_first(
    old: Any, new: Any, which: str, is_further: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether the new trade takes the old one's place; of equals the smaller id."""
    old_net, new_net = old[f"{which}_net"], new[f"{which}_net"]
    is_smaller = new[f"{which}_id"] < old[f"{which}_id"]
    return or_(old_net.is_(None), is_further, and_(new_net == old_net, is_smaller))


async def _name_again(
    session: AsyncSession, position: Position, before: CountedTrade, begin: datetime
) -> None:
    """Find the best and the worst anew in rows where a trade that was taken off was one of them."""
    day = trading_day(before.closed_at)
    await (await session.connection()).execute(
        _NAME_AGAIN,
        {
            "account_id": position.account_id,
            "id": position.id,
            "hours": [ALL_HOURS, before.hour],
            "symbols": [ALL_SYMBOLS, before.symbol],
            "day": day,
            "month": day.replace(day=1),
            "begin": begin,
        },
    )
