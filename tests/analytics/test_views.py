"""What the views say of a period is what the domain computes from the single trades."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import product
from statistics import mean, stdev

import pytest
from sqlalchemy import text

from domain.markets import Realm
from domain.performance import ClosedTrade, TradeSums, measure_performance
from domain.positions import PositionState
from models.ledgers import Flow, FlowKind
from models.markets import VenueQuote
from services.account_views.choice import AccountChoice
from services.account_views.frame import Period, months_from
from services.account_views.history import PER_PAGE_MAX, TradeFilter, TradeView
from services.account_views.views import AccountViews
from services.analytics.trades import GroupBy
from services.analytics.views import Analytics
from services.database import Database
from services.reads import Reads
from tests.analytics.trades import NOW, SYMBOLS, Book, open_book, some_result, some_time

pytestmark = pytest.mark.integration

ANY = AccountChoice()
OPENING = Decimal(10_000)


def these(*values: object) -> tuple[object, ...]:
    """Figures of any type, to be compared at once."""
    return values


async def fill(book: Book, trades: int = 60) -> None:
    chance = random.Random(11)
    for _ in range(trades):
        await book.close(some_time(chance), **some_result(chance))


def first_of(period: Period) -> date | None:
    return None if period.days is None else NOW.date() - timedelta(days=period.days - 1)


def start_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def by_day(trades: list[ClosedTrade]) -> dict[date, Decimal]:
    days: dict[date, Decimal] = defaultdict(Decimal)
    for trade in trades:
        days[trade.closed_at.date()] += trade.net_pnl
    return days


async def test_performance_of_every_period(book: Book, views: AccountViews) -> None:
    await fill(book)

    for period in Period:
        found = await views.performance(book.trader.principal, ANY, period)

        first = first_of(period)
        days = by_day(book.trades())
        earlier = sum((net for day, net in days.items() if first and day < first), Decimal(0))
        expected = measure_performance(
            book.trades(since=start_of(first)),
            {day: net for day, net in days.items() if first is None or day >= first},
            OPENING + earlier,
            first_day=first,
            last_day=NOW.date(),
        )
        assert found.performance == expected, period


async def test_days_before_the_account_are_no_returns(book: Book, views: AccountViews) -> None:
    began = NOW - timedelta(days=14)
    await came(book, OPENING, began, kind=FlowKind.OPENING)
    nets = [Decimal(100), Decimal(-50), *(Decimal(3 * at - 7) for at in range(11))]
    for at, net in enumerate(nets):
        closed_at = began + timedelta(days=at, hours=1)
        await book.close(closed_at, realized_pnl=net + Decimal("0.25"))

    month = await views.performance(book.trader.principal, ANY, Period.MONTH)
    ever = await views.performance(book.trader.principal, ANY, Period.ALL)

    equity, returns = OPENING, []
    for net in [*nets, Decimal(0), Decimal(0)]:
        returns.append(float(net / equity))
        equity += net
    found = month.performance.metrics.sharpe_ratio
    assert found is not None
    assert float(found) == pytest.approx(mean(returns) / stdev(returns) * math.sqrt(365))
    assert found == ever.performance.metrics.sharpe_ratio
    assert len(month.performance.daily_pnl) == 30


async def came(
    book: Book, amount: Decimal, at: datetime, kind: str = FlowKind.EXTERNAL, currency: str = "USD"
) -> None:
    """Money comes or goes that no fill explains."""
    async with book.database.as_system() as session:
        session.add(
            Flow(
                user_id=book.trader.user_id,
                account_id=book.trader.account_id,
                currency=currency,
                amount=amount,
                kind=kind,
                at=at,
            )
        )


async def test_a_deposit_looks_like_no_profit_anywhere(
    book: Book, views: AccountViews, analytics: Analytics
) -> None:
    """1 % of ten thousand, then ninety thousand come, then 1 % of a hundred thousand."""
    who = book.trader.principal
    begun = NOW - timedelta(hours=12)
    await book.close(begun, realized_pnl=Decimal(100), fees=Decimal(0))
    await came(book, Decimal(89_900), begun + timedelta(hours=1))
    await book.close(begun + timedelta(hours=2), realized_pnl=Decimal(1_000), fees=Decimal(0))
    await came(book, Decimal(-51_000), begun + timedelta(hours=3), currency="USDC")
    await book.close(begun + timedelta(hours=4), realized_pnl=Decimal(-500), fees=Decimal(0))
    expected = (Decimal("1.01") * Decimal("1.01") * Decimal("0.99") - 1) * 100

    for period in Period:
        measured = (await views.performance(who, ANY, period)).performance
        metrics = measured.metrics
        assert metrics.total_pnl == 600, period
        for percent in (metrics.total_pnl_pct, metrics.net_return_pct):
            assert percent == pytest.approx(expected), period
        assert measured.equity_curve[-1].equity == 10_600, period
        assert measured.equity_curve[-1].return_pct == pytest.approx(expected), period
    board = await analytics.dashboard(who, ANY)
    for part in (board.today, board.week, board.month):
        assert part.pnl_pct == pytest.approx(expected)
    stats = await views.stats(who, ANY)
    assert these(stats.total_deposits, stats.total_withdrawals) == (99_900, 51_000)
    assert stats.best_month is not None
    assert 0 < stats.best_month.pnl_pct < 2


async def test_what_came_without_a_price_is_left_out_and_named(
    book: Book, views: AccountViews, analytics: Analytics
) -> None:
    who = book.trader.principal
    await came(book, Decimal(500), NOW - timedelta(hours=5), currency="STAKED")
    await came(book, Decimal(10_000), NOW - timedelta(hours=4))
    await book.close(NOW - timedelta(hours=3), realized_pnl=Decimal(200), fees=Decimal(0))
    before = (await views.performance(who, ANY, Period.WEEK)).performance

    await quote(book, "STAKED-USD", Decimal(60))

    week = await views.performance(who, ANY, Period.WEEK)
    stats, board = await views.stats(who, ANY), await analytics.dashboard(who, ANY)
    assert week.performance == before
    assert before.metrics.total_pnl_pct == 1
    assert these(stats.total_deposits, stats.total_withdrawals) == (20_000, 0)
    assert week.flows_unpriced == stats.flows_unpriced == board.flows_unpriced == ("STAKED",)


async def quote(book: Book, symbol: str, last: Decimal) -> None:
    """The venue has a price of a market at this moment."""
    async with book.database.as_system() as session:
        await session.merge(
            VenueQuote(
                venue="coinbase",
                realm="simulated",
                symbol=symbol,
                epoch="e",
                bid=last,
                ask=last,
                last=last,
                at=NOW,
            )
        )


async def test_what_came_before_the_first_trade_was_there_to_trade_with(
    book: Book, views: AccountViews
) -> None:
    await came(book, Decimal(90_000), NOW - timedelta(days=40))
    await book.close(NOW - timedelta(days=3), realized_pnl=Decimal(1_000), fees=Decimal(0))

    for period in Period:
        found = (await views.performance(book.trader.principal, ANY, period)).performance
        assert found.metrics.total_pnl_pct == found.metrics.net_return_pct == 1, period


async def test_the_own_trade_of_a_user_is_no_deposit(book: Book, views: AccountViews) -> None:
    at = NOW - timedelta(hours=3)
    await came(book, Decimal(4_000), at, kind=FlowKind.EXTERNAL_TRADE)
    await came(book, Decimal(-4_010), at, kind=FlowKind.EXTERNAL_TRADE, currency="USDC")
    await book.close(NOW, realized_pnl=Decimal("99.90"), fees=Decimal(0))

    stats = await views.stats(book.trader.principal, ANY)
    metrics = (await views.performance(book.trader.principal, ANY, Period.WEEK)).performance.metrics

    assert these(stats.total_deposits, stats.total_withdrawals) == (10_000, 0)
    assert metrics.total_pnl_pct == 1


async def test_returns_of_every_period_equal_those_of_the_single_events(
    book: Book, views: AccountViews
) -> None:
    await fill(book)
    chance = random.Random(5)
    flows = [(some_time(chance), Decimal(chance.randint(-2_000, 9_000))) for _ in range(12)]
    for at, amount in flows:
        await came(book, amount, at)

    for period in Period:
        found = (await views.performance(book.trader.principal, ANY, period)).performance
        begin = start_of(first_of(period)) or datetime.min.replace(tzinfo=UTC)
        capital, level = OPENING, Decimal(1)
        events = [(it.closed_at, it.net_pnl, True) for it in book.trades()]
        events += [(at, amount, False) for at, amount in flows]
        for at, amount, is_trade in sorted(events, key=lambda event: event[0]):
            if is_trade and at >= begin:
                level *= 1 + amount / capital
            capital += amount
        assert found.metrics.net_return_pct == pytest.approx((level - 1) * 100), period


async def test_the_last_seven_whole_days(book: Book, views: AccountViews) -> None:
    midnight = start_of(NOW.date())
    assert midnight is not None
    for hours in (-8 * 24, -7 * 24 - 1, -7 * 24, -30, -1, 0, 5):
        await book.close(midnight + timedelta(hours=hours), realized_pnl=Decimal(hours))

    found = await views.last_week(book.trader.principal, ANY)

    first, end = midnight - timedelta(days=7), midnight
    inside = [trade for trade in book.trades(since=first) if trade.closed_at < end]
    assert len(inside) == 3
    earlier = sum((it.net_pnl for it in book.trades() if it.closed_at < first), Decimal(0))
    assert found.performance == measure_performance(
        inside,
        by_day(inside),
        OPENING + earlier,
        first_day=first.date(),
        last_day=end.date() - timedelta(days=1),
    )


@pytest.mark.parametrize("symbol", [None, "ETH-USD"])
async def test_trades_of_every_period(book: Book, analytics: Analytics, symbol: str | None) -> None:
    await fill(book)

    for period in Period:
        found = await analytics.trades(book.trader.principal, ANY, period, symbol=symbol)

        trades = book.trades(since=start_of(first_of(period)), symbol=symbol)
        assert found.sums == TradeSums.of(trades), period
        hours: dict[int, list[Decimal]] = defaultdict(list)
        for trade in trades:
            hours[trade.closed_at.hour].append(trade.price_pnl)
        assert {it.key: (it.trades, it.pnl) for it in found.by_hour} == {
            hour: (len(pnls), sum(pnls)) for hour, pnls in hours.items()
        }
        assert sum(it.trades for it in found.by_symbol) == len(trades)
        assert {it.key for it in found.by_symbol} <= ({symbol} if symbol else set(SYMBOLS))
        nets = [trade.net_pnl for trade in trades]
        assert found.best is not None
        assert found.worst is not None
        assert these(found.best.net_pnl, found.worst.net_pnl) == (max(nets), min(nets))


@pytest.mark.parametrize("group_by", [GroupBy.DAY, GroupBy.WEEK, GroupBy.MONTH])
async def test_groups_of_days(book: Book, analytics: Analytics, group_by: GroupBy) -> None:
    await fill(book, 30)

    found = await analytics.trades(book.trader.principal, ANY, Period.YEAR, group_by=group_by)

    expected: dict[date, list[Decimal]] = defaultdict(list)
    for trade in book.trades(since=start_of(first_of(Period.YEAR))):
        day = trade.closed_at.date()
        start = {
            GroupBy.DAY: day,
            GroupBy.WEEK: day - timedelta(days=day.weekday()),
            GroupBy.MONTH: day.replace(day=1),
        }[group_by]
        expected[start].append(trade.price_pnl)
    assert [(it.key, it.trades, it.pnl) for it in found.by_bucket] == [
        (start, len(pnls), sum(pnls)) for start, pnls in sorted(expected.items())
    ]


async def test_the_dashboard(book: Book, analytics: Analytics) -> None:
    await book.close(NOW - timedelta(days=40), realized_pnl=Decimal(1000), fees=Decimal(0))
    await book.close(NOW - timedelta(days=10), realized_pnl=Decimal(110), fees=Decimal(10))
    await book.close(
        NOW - timedelta(days=3), realized_pnl=Decimal(-40), fees=Decimal(10), symbol="ETH-USD"
    )
    await book.close(NOW, realized_pnl=Decimal(5), fees=Decimal(1), entry_notional=Decimal(50))

    view = await analytics.dashboard(book.trader.principal, ANY)

    assert these(view.today.pnl, view.today.net_pnl, view.today.trades) == (5, 4, 1)
    assert these(view.week.pnl, view.week.trades, view.week.win_rate) == (-35, 2, Decimal("0.5"))
    assert these(view.month.pnl, view.month.trades) == (75, 3)
    assert view.month.pnl_pct == Decimal(75) / 11_000 * 100
    assert view.week.pnl_pct == Decimal(-35) / 11_100 * 100
    assert view.top_symbol is not None
    assert these(view.top_symbol.symbol, view.top_symbol.pnl) == ("BTC-USD", 115)
    assert view.top_symbol.pnl_pct == Decimal(115) / 150 * 100
    assert these(view.equity, view.active_positions) == (10_000, 0)


async def test_a_dashboard_of_nothing(book: Book, analytics: Analytics) -> None:
    view = await analytics.dashboard(book.trader.principal, ANY)

    assert these(view.month.trades, view.month.pnl_pct, view.month.win_rate) == (0, 0, 0)
    assert view.top_symbol is None


async def test_statistics(book: Book, views: AccountViews) -> None:
    await book.close(NOW - timedelta(days=50), realized_pnl=Decimal(500), fees=Decimal(20))
    await book.close(NOW - timedelta(days=20), realized_pnl=Decimal(-700), fees=Decimal(10))
    first_win = NOW - timedelta(days=2)
    for hours in (0, 1, 2):
        at = first_win + timedelta(hours=hours)
        await book.close(at, realized_pnl=Decimal(10), fees=Decimal(1))
    await book.close(NOW, realized_pnl=Decimal(1), fees=Decimal(1))

    stats = await views.stats(book.trader.principal, ANY)

    assert these(stats.total_trades, stats.total_fees) == (6, 34)
    assert stats.total_volume == 6 * 200
    assert these(stats.all_time_high, stats.all_time_low) == (10_480, 9_770)
    assert stats.best_month is not None
    assert these(stats.best_month.month, stats.best_month.pnl_pct) == ("2026-01", 5)
    streak = stats.streak
    assert these(streak.kind, streak.count, streak.started) == ("winning", 3, first_win)
    assert these(stats.risk_level, stats.limits.max_positions) == ("medium", 3)
    assert these(stats.total_deposits, stats.total_withdrawals) == (10_000, 0)


async def test_deposits_and_withdrawals_move_neither_high_nor_low(
    book: Book, views: AccountViews
) -> None:
    who = book.trader.principal
    await book.close(NOW - timedelta(days=2), realized_pnl=Decimal(100), fees=Decimal(0))
    for amount, held in ((Decimal(3_000), 13_100), (Decimal(-9_000), 4_100)):
        await came(book, amount, NOW - timedelta(days=1))
        async with book.database.as_system() as session:
            balance = {"held": held, "id": book.trader.account_id}
            statement = text("UPDATE balances SET total = :held WHERE account_id = :id")
            await (await session.connection()).execute(statement, balance)
        stats = await views.stats(who, ANY)
        assert these(stats.equity, stats.total_deposits) == (held, 13_000)
        assert these(stats.all_time_high, stats.all_time_low) == (10_100, 10_000)


async def test_high_and_low_count_what_open_positions_make_at_present(
    book: Book, views: AccountViews
) -> None:
    """Half of it was sold at 90; the other half would be at 60."""
    await book.keep(
        NOW,
        state=PositionState.OPEN,
        exit_quantity=Decimal("0.5"),
        exit_notional=Decimal(45),
        open_quantity=Decimal("0.5"),
        realized_pnl=Decimal(-5),
        fees=Decimal(1),
        symbol="LTC-USD",
    )
    without = await views.stats(book.trader.principal, ANY)
    assert these(without.all_time_high, without.all_time_low) == (10_000, 10_000), "no price"

    await quote(book, "LTC-USD", Decimal(60))

    stats = await views.stats(book.trader.principal, ANY)
    assert these(stats.all_time_high, stats.all_time_low) == (10_000, 9_974)


async def test_streaks_against_every_trade(database: Database, views: AccountViews) -> None:
    for seed in range(4):
        book = await open_book(database)
        chance = random.Random(seed)
        moments = sorted({NOW - timedelta(minutes=chance.randrange(1, 5000)) for _ in range(12)})
        for at in moments:
            pnl = chance.choice([Decimal(3), Decimal(3), Decimal(-3), Decimal("0.25")])
            await book.close(at, realized_pnl=pnl)

        streak = (await views.stats(book.trader.principal, ANY)).streak

        ordered = sorted(book.trades(), key=lambda trade: trade.closed_at)
        sides = [(trade.net_pnl > 0, trade.closed_at) for trade in ordered if trade.net_pnl]
        same: list[datetime] = []
        for won, at in reversed(sides):
            if won != sides[-1][0]:
                break
            same.append(at)
        kind = "winning" if sides[-1][0] else "losing"
        assert these(streak.kind, streak.count, streak.started) == (kind, len(same), same[-1])


async def test_statistics_before_the_first_trade(book: Book, views: AccountViews) -> None:
    stats = await views.stats(book.trader.principal, ANY)

    assert these(stats.streak.kind, stats.streak.count, stats.best_month) == ("none", 0, None)
    assert these(stats.all_time_high, stats.all_time_low) == (10_000, 10_000)


async def test_the_plan_says_how_far_back_views_go(
    database: Database, views: AccountViews, analytics: Analytics
) -> None:
    book = await open_book(database, tier="free")
    await book.close(NOW - timedelta(days=31), realized_pnl=Decimal(100))
    await book.close(NOW - timedelta(days=29), realized_pnl=Decimal(7))
    caller = book.trader.principal

    trades = await analytics.trades(caller, ANY, Period.ALL)
    performance = (await views.performance(caller, ANY, Period.YEAR)).performance
    page = await views.history(caller, ANY, TradeFilter(), page=1, per_page=10)
    stats = await views.stats(caller, ANY)

    assert trades.sums.trades == performance.metrics.total_trades == page.total == 1
    assert performance.equity_curve[0].equity == OPENING + Decimal("99.75") + Decimal("6.75")
    assert stats.total_trades == 2, "nothing is deleted"


async def test_history_finds_its_pages(book: Book, views: AccountViews) -> None:
    await fill(book, 25)
    caller = book.trader.principal
    expected = sorted(book.closed.values(), key=lambda it: (it.opened_at, it.id), reverse=True)

    pages = [
        await views.history(caller, ANY, TradeFilter(), page=n, per_page=10) for n in (1, 2, 3)
    ]

    assert [trade.id for page in pages for trade in page.trades] == [it.id for it in expected]
    assert {page.total for page in pages} == {25}
    eth = TradeFilter(status=PositionState.CLOSED, symbol="ETH-USD")
    found = await views.history(caller, ANY, eth, page=1, per_page=100)
    assert found.total == len([it for it in expected if it.symbol == "ETH-USD"])


@pytest.mark.parametrize("tier", ["basic", "enterprise"])
@pytest.mark.parametrize("was_reset", [False, True], ids=["", "reset"])
async def test_history_counts_what_it_lists(
    database: Database, reads: Reads, tier: str, was_reset: bool
) -> None:
    book = await open_book(database, tier=tier)
    await fill(book)
    for hours, (state, market) in enumerate(
        [
            (PositionState.PENDING, "BTC-USD"),
            (PositionState.OPEN, "ETH-USD"),
            (PositionState.CANCELLED, "ETH-USD"),
            (PositionState.CANCELLED, "LTC-USD"),
        ]
    ):
        await book.keep(NOW - timedelta(hours=hours), state=state, symbol=market)
    await book.keep(NOW - timedelta(days=399), state=PositionState.CANCELLED)
    if was_reset:
        await book.reset(NOW - timedelta(days=40))
    views = AccountViews(reads, realm=Realm.SIMULATED)

    for status, symbol, start in product((None, *PositionState), (None, *SYMBOLS), (None, NOW)):
        since = None if start is None else start - timedelta(days=30)
        wanted = TradeFilter(status=status, symbol=symbol, start=since)
        listed: list[TradeView] = []
        while len(listed) % PER_PAGE_MAX == 0:
            page = len(listed) // PER_PAGE_MAX + 1
            found = await views.history(
                book.trader.principal, ANY, wanted, page=page, per_page=PER_PAGE_MAX
            )
            listed += found.trades
            if not found.trades:
                break
        assert found.total == len(listed), wanted


@pytest.mark.parametrize(
    ("first", "months"),
    [("2026-01-01", "2026-01-01"), ("2026-01-02", "2026-02-01"), ("2025-12-31", "2026-01-01")],
)
def test_the_first_whole_month(first: str, months: str) -> None:
    assert months_from(date.fromisoformat(first)) == date.fromisoformat(months)


async def test_what_was_guessed_is_never_what_is_answered(
    book: Book, reads: Reads, database: Database
) -> None:
    await fill(book)
    changes = (
        "UPDATE venue_states SET clock_at = clock_at + interval '40 days'",
        "UPDATE users SET subscription_tier = 'basic', trial_ends_at = NULL",
        "UPDATE users SET subscription_tier = 'enterprise'",
    )
    seasoned = AccountViews(reads, realm=Realm.SIMULATED)

    for change in ("SELECT 1", *changes):
        async with database.as_system() as session:
            await (await session.connection()).execute(text(change))
        for views in (seasoned, seasoned):  # the second time the guess holds
            fresh = AccountViews(reads, realm=Realm.SIMULATED)
            assert await _everything(views, book) == await _everything(fresh, book)


async def _everything(views: AccountViews, book: Book) -> tuple[object, ...]:
    who = book.trader.principal
    return (
        await views.performance(who, ANY, Period.MONTH),
        await views.history(who, ANY, TradeFilter(), page=1, per_page=100),
        await views.stats(who, ANY),
        await Analytics(views).trades(who, ANY, Period.QUARTER),
        await Analytics(views).dashboard(who, ANY),
    )
