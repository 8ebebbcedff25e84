"""Comparing an account's balances with the venue's, and drawing the consequences.

A difference that no fill of ours explains is the user's own doing: money that came or went, or a
trade by hand, whose two sides are named as such. Where the account holds less than its positions
claim, they cannot all be sold: once a second look has found the same, what is missing counts as
closed elsewhere, and the rest of the positions goes on. What a resting order of the user's own
holds is still there and no shortfall. Orders that are not ours are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import structlog
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from domain.markets import MarketRules
from domain.money import ZERO
from domain.orders import Balances, Side
from domain.positions import Direction, PositionState
from domain.reconciliation import (
    BalanceComparison,
    BalanceFinding,
    Claim,
    compare_balance,
    external_trades,
    share_shortfall,
)
from models.connections import Account
from models.ledgers import Balance, Flow, FlowKind
from models.markets import VenueQuote
from models.trading import Fill, Order, Position
from services.markets.last_known import last_known_prices
from services.orders.conditions import has_filled, is_live
from services.orders.gone import Gone, take_out, tell_closed_elsewhere
from services.orders.market_rules import rules_from_record

CONFIRM_AFTER = timedelta(seconds=15)
"""Wall time after which a second look confirms a shortfall: balances may lag their fills."""

SETTLED_AFTER = timedelta(seconds=10)
"""Wall time since a fill of ours after which balances are taken to show it."""

LAG_MAX = timedelta(minutes=5)
"""Wall time since a fill of ours for which balances that show the account exactly as it was before
it are taken to lag it, and nothing is concluded from them."""

_LAGGING_FILLS_MAX = 200

CENT = Decimal("0.01")
"""The precision of a quote currency for flows: what rounding of prices and fees explains."""

_log = structlog.get_logger("nija.reconcile")


async def compare_balances(
    session: AsyncSession,
    account: Account,
    observed: Balances,
    markets: Mapping[str, MarketRules],
    *,
    now: datetime,
    wall: datetime,
) -> None:
    """Make the books of an account's balances the venue's, and note what explains the difference.

    Args:
        session: a transaction of the account's user, in which no order of the account is under way.
        account: its row, locked by the caller.
        observed: what the venue says.
        markets: rules by symbol as far as they are known; they say how precise a currency is.
        now: venue time.
        wall: wall time.
    """
    own = observed.get(account.currency)
    if own is not None and not own.is_known:
        # One side of every trade by hand: without it the other would be taken for a flow.
        busy = frozenset({account.currency})
        await close_what_is_short(session, account, observed, markets, busy, {}, now=now, wall=wall)
        return
    ours = await _balances(session, account)
    compared = _compared(ours, observed, await _open_longs(session, account), markets)
    if await _are_lagging(session, account, compared, markets, wall):
        return
    if not await _confirm_shortfalls(session, account, ours, compared, now=now, wall=wall):
        return
    traded_at = await _last_traded(session, account)
    if differs(compared) and traded_at is not None and wall - traded_at < SETTLED_AFTER:
        return  # they may lag that fill; the next round compares them
    await _note_flows(session, account, compared, markets, now)
    for comparison in compared:
        currency, total = comparison.currency, comparison.observed
        balance = ours.get(currency)
        if balance is None:
            if not total:
                continue
            balance = _balance(account, currency, total, now)
        held = observed[currency].held if currency in observed else ZERO
        balance.total, balance.held, balance.observed_at = total, held, now
        session.add(balance)
    await _close_elsewhere_each(session, account, compared, at=now, wall=wall)


async def close_what_is_short(
    session: AsyncSession,
    account: Account,
    observed: Balances,
    markets: Mapping[str, MarketRules],
    busy: frozenset[str],
    explained: Mapping[str, Decimal],
    *,
    now: datetime,
    wall: datetime,
) -> None:
    """Close what cannot be sold any more, while not all of an account can be compared.

    Balances and what flowed stay as they are until everything can be: then both sides of a trade by
    hand are seen together.

    Args:
        session: a transaction of the account's user.
        account: its row, locked by the caller.
        observed: what the venue says.
        markets: rules by symbol as far as they are known.
        busy: currencies of which nothing can be said at present, since an order may move them.
        explained: what of each currency may be missing for a reason that cannot be read yet. So
            much stays claimed, unless nothing is left: an exit is cut to what is there meanwhile.
        now: venue time.
        wall: wall time.
    """
    ours = await _balances(session, account)
    known = _compared(ours, observed, await _open_longs(session, account), markets)
    if await _are_lagging(session, account, known, markets, wall):
        return
    compared = [comparison for comparison in known if comparison.currency not in busy]
    if await _confirm_shortfalls(session, account, ours, compared, now=now, wall=wall):
        sure = [
            replace(one, observed=one.observed + explained.get(one.currency, ZERO))
            if one.observed > _precision(one.currency, markets)
            else one
            for one in compared
        ]
        await _close_elsewhere_each(session, account, sure, at=now, wall=wall)


def differs(comparisons: Sequence[BalanceComparison]) -> bool:
    """Whether any balance is not what the books say, beyond rounding."""
    return any(one.finding is not BalanceFinding.MATCHES for one in comparisons)


async def compared_balances(
    session: AsyncSession,
    account: Account,
    observed: Balances,
    markets: Mapping[str, MarketRules],
) -> list[BalanceComparison]:
    """How an account's balances compare with the venue's; changes nothing."""
    ours = await _balances(session, account)
    return _compared(ours, observed, await _open_longs(session, account), markets)


async def _balances(session: AsyncSession, account: Account) -> dict[str, Balance]:
    rows = await session.exec(select(Balance).where(Balance.account_id == account.id))
    return {balance.currency: balance for balance in rows.all()}


async def _open_longs(session: AsyncSession, account: Account) -> Sequence[Position]:
    """What claims a base currency: it must be able to sell it."""
    return (await session.exec(_select_open_longs(account))).all()


def _select_open_longs(account: Account) -> SelectOfScalar[Position]:
    return (
        select(Position)
        .where(
            Position.account_id == account.id,
            Position.state == PositionState.OPEN.value,
            Position.side == Direction.LONG.value,
        )
        .order_by(col(Position.opened_at), col(Position.id))
        .execution_options(populate_existing=True)
    )


async def _lock_claiming(
    session: AsyncSession, account: Account, currency: str
) -> Sequence[Position] | None:
    """Lock what claims a base currency; None where another transaction has some of it locked.

    It is not waited for: the account is locked meanwhile, and with it the exits of all its markets.
    """
    claiming = [
        position.id
        for position in await _open_longs(session, account)
        if rules_from_record(position.rules).base == currency
    ]
    statement = _select_open_longs(account).where(col(Position.id).in_(claiming))
    locked = (await session.exec(statement.with_for_update(skip_locked=True))).all()
    return locked if len(locked) == len(claiming) else None


def _compared(
    ours: Mapping[str, Balance],
    observed: Balances,
    positions: Sequence[Position],
    markets: Mapping[str, MarketRules],
) -> list[BalanceComparison]:
    claims, steps = _claims(positions)
    compared = []
    for currency in sorted({*ours, *observed, *claims}):
        if currency in observed and not observed[currency].is_known:
            continue
        claimed = claims.get(currency, ZERO)
        balance = ours.get(currency)
        compared.append(
            compare_balance(
                currency,
                opening=balance.total if balance else ZERO,
                flows=(),
                observed=observed[currency].total if currency in observed else ZERO,
                claimed=claimed,
                # Less than a step cannot be sold anyway.
                tolerance=steps[currency] if claimed else _precision(currency, markets),
            )
        )
    return compared


def _claims(positions: Sequence[Position]) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """What is claimed of each base currency, and the finest step in which it is sold."""
    claims: dict[str, Decimal] = {}
    steps: dict[str, Decimal] = {}
    for position in positions:
        rules = rules_from_record(position.rules)
        claims[rules.base] = claims.get(rules.base, ZERO) + position.open_quantity
        steps[rules.base] = min(steps.get(rules.base, rules.quantity_step), rules.quantity_step)
    return claims, steps


def _precision(currency: str, markets: Mapping[str, MarketRules]) -> Decimal:
    steps = [rules.quantity_step for rules in markets.values() if rules.base == currency]
    if steps:
        return min(steps)
    return CENT if any(rules.quote == currency for rules in markets.values()) else ZERO


async def _confirm_shortfalls(
    session: AsyncSession,
    account: Account,
    ours: Mapping[str, Balance],
    compared: Sequence[BalanceComparison],
    *,
    now: datetime,
    wall: datetime,
) -> bool:
    """Whether every shortfall has been seen for long enough; else nothing is concluded yet."""
    is_confirmed = True
    for comparison in compared:
        balance = ours.get(comparison.currency)
        if comparison.finding is not BalanceFinding.SHORTFALL:
            if balance is not None and balance.short_since is not None:
                balance.short_since = None
                session.add(balance)
            continue
        if balance is None:
            balance = _balance(account, comparison.currency, ZERO, now)
        traded_at = await _last_traded(session, account, comparison.currency)
        if balance.short_since is None or (
            traded_at is not None and traded_at > balance.short_since
        ):
            # What was missing before a fill is not what is missing after it: both may be lags.
            balance.short_since = wall
            session.add(balance)
        is_confirmed = is_confirmed and wall - balance.short_since >= CONFIRM_AFTER
    return is_confirmed


async def _are_lagging(
    session: AsyncSession,
    account: Account,
    compared: Sequence[BalanceComparison],
    markets: Mapping[str, MarketRules],
    wall: datetime,
) -> bool:
    """Whether the balances show the account exactly as it was before its latest fills.

    Coins and money both, fees included: a trade by hand hits that by chance only. Nothing is gone
    then and nothing came; a venue in trouble may show it so for minutes.
    """
    differences = {one.currency: one.difference for one in compared}
    precision = {currency: _precision(currency, markets) for currency in differences}
    unexplained = {name for name, size in differences.items() if abs(size) > precision[name]}
    if not unexplained:
        return False
    recent = await session.exec(
        select(Fill)
        .join(Order, col(Order.id) == Fill.order_id)
        .where(
            Fill.account_id == account.id,
            func.greatest(col(Order.sent_at), col(Order.settled_at)) > wall - LAG_MAX,
        )
        .order_by(col(Order.sent_at).desc(), col(Fill.filled_at).desc(), col(Fill.id).desc())
        .limit(_LAGGING_FILLS_MAX)
    )
    unseen: dict[str, Decimal] = {}
    for fill in recent.all():
        base, quote = fill.symbol.split("-")
        sign = Side(fill.side).sign
        for currency, moved in (
            (base, fill.quantity * sign),
            (quote, -fill.price * fill.quantity * sign),
            (fill.fee_currency, -fill.fee),
        ):
            unseen[currency] = unseen.get(currency, ZERO) + moved
        if not unexplained.isdisjoint(unseen) and all(
            abs(differences[currency] + moved) <= precision[currency]
            for currency, moved in unseen.items()
            if currency in differences
        ):
            return True
    return False


async def _last_traded(
    session: AsyncSession, account: Account, currency: str | None = None
) -> datetime | None:
    """Wall time at which an order of ours last moved a base currency, or any currency.

    One that filled nothing moves none: an exit that is refused again and again for what is missing
    must not keep it from being believed.
    """
    of_account = (col(Order.account_id) == account.id) & has_filled()
    if currency is not None:
        of_account &= col(Order.symbol).startswith(f"{currency}-", autoescape=True)
    # Apart, so that each comes from an index: there may be many orders, and most have ended.
    ended = (
        select(func.greatest(col(Order.sent_at), col(Order.settled_at)))
        .where(of_account, col(Order.settled_at).is_not(None))
        .order_by(col(Order.settled_at).desc())
        .limit(1)
    )
    live = select(func.max(col(Order.sent_at))).where(of_account, is_live())
    times = ((await session.exec(ended)).first(), (await session.exec(live)).one())
    return max((time for time in times if time is not None), default=None)


def _balance(account: Account, currency: str, total: Decimal, now: datetime) -> Balance:
    return Balance(
        account_id=account.id,
        currency=currency,
        user_id=account.user_id,
        total=total,
        observed_at=now,
    )


async def _note_flows(
    session: AsyncSession,
    account: Account,
    compared: Sequence[BalanceComparison],
    markets: Mapping[str, MarketRules],
    now: datetime,
) -> None:
    differences = {
        one.currency: one.difference
        for one in compared
        if abs(one.difference) > _precision(one.currency, markets)
    }
    if not differences:
        return
    traded: set[str] = set()
    for quote in sorted(differences):
        prices = await _prices(session, account, quote)
        untraded = {name: size for name, size in differences.items() if name not in traded}
        traded |= external_trades(untraded, prices, quote)
    for currency, difference in differences.items():
        kind = FlowKind.EXTERNAL_TRADE if currency in traded else FlowKind.EXTERNAL
        session.add(
            Flow(
                user_id=account.user_id,
                account_id=account.id,
                currency=currency,
                amount=difference,
                kind=kind,
                at=now,
            )
        )
        _log.warning(
            "reconcile.external_flow",
            account_id=str(account.id),
            currency=currency,
            amount=str(difference),
            kind=kind.value,
        )


async def _prices(session: AsyncSession, account: Account, quote: str) -> dict[str, Decimal]:
    """The last price of every base currency that the venue's watch sees against `quote`."""
    suffix = f"-{quote}"
    found = await last_known_prices(
        session, account, col(VenueQuote.symbol).endswith(suffix, autoescape=True)
    )
    return {symbol.removesuffix(suffix): last for symbol, last in found.items()}


async def _close_elsewhere_each(
    session: AsyncSession,
    account: Account,
    compared: Sequence[BalanceComparison],
    *,
    at: datetime,
    wall: datetime,
) -> None:
    for comparison in compared:
        if comparison.finding is BalanceFinding.SHORTFALL:
            await _close_elsewhere(session, account, comparison, at=at, wall=wall)


async def _close_elsewhere(
    session: AsyncSession,
    account: Account,
    comparison: BalanceComparison,
    *,
    at: datetime,
    wall: datetime,
) -> None:
    positions = await _lock_claiming(session, account, comparison.currency)
    if positions is None:
        return  # it is short as before for the next comparison
    claiming = {position.id: position for position in positions}
    claims = [Claim(it.id, it.open_quantity, it.opened_at) for it in positions]
    missing = sum((claim.quantity for claim in claims), ZERO) - comparison.observed
    for position_id, quantity in share_shortfall(missing, claims).items():
        position = claiming[position_id]
        await take_out(session, position, quantity, Gone.ELSEWHERE, at=at, wall=wall)
        await tell_closed_elsewhere(session, position, quantity, wall)
