"""The platform's figures: users, trading, the API, revenue. All from rows, all at one moment.

Revenue, from the subscriptions as billing last read them and the prices of the plan table, in USD:

- **MRR** = sum over paying subscriptions of the monthly price, a yearly one's price / 12. Paying
  are `active` and `past_due` (in grace), also those cancelled for the end of their period; trials
  and tiers that an administrator gave count nothing. This is Stripe's definition of monthly
  recurring revenue (https://support.stripe.com/questions/calculating-monthly-recurring-revenue-mrr-in-billing).
- **ARR** = 12 x MRR.
- **Churn rate** = subscribers 30 days ago whose subscription has ended since / subscribers 30 days
  ago; a fraction, 0 where there were none. Somebody who came back counts as not lost.

Trading figures never sum paper and live: the main ones are of live accounts, `paper` has its own.
The last 24 hours are those of each venue's own clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from domain.markets import Mode, Realm
from domain.money import ZERO
from domain.plans import PLANS, BillingInterval, Tier
from domain.ports import WallClock
from services.admin.reading import rows_of
from services.admin.traffic import percentile_seconds
from services.database import Database

RATE_WINDOW = timedelta(minutes=5)
UPTIME_WINDOW = timedelta(days=30)
CHURN_WINDOW = timedelta(days=30)
MONTHS_A_YEAR = 12
_CENT = Decimal("0.01")
_RATIO = Decimal("0.0001")
_HUNDRED = Decimal(100)
_MICROSECONDS_A_MILLISECOND = 1_000
_MINUTE = timedelta(minutes=1)

_USERS = text("""
SELECT count(*) AS total,
       count(*) FILTER (WHERE u.last_active_at >= :midnight OR EXISTS (
           SELECT FROM api_call_counts c WHERE c.user_id = u.id AND c.day = :today
       )) AS active_today,
       count(*) FILTER (WHERE u.subscription_tier = 'free') AS free,
       count(*) FILTER (WHERE u.subscription_tier = 'basic') AS basic,
       count(*) FILTER (WHERE u.subscription_tier = 'pro') AS pro,
       count(*) FILTER (WHERE u.subscription_tier = 'enterprise') AS enterprise
FROM users u
""")
_TRADING = text("""
SELECT (SELECT count(*) FROM bots b JOIN bot_runs r ON r.bot_id = b.id AND r.state = 'entering'
        WHERE b.state IN ('starting', 'running') AND r.mode = m.mode AND r.realm = :realm) AS bots,
       (SELECT count(*) FROM positions p JOIN accounts a ON a.id = p.account_id
        WHERE p.state = 'open' AND a.mode = m.mode AND a.realm = :realm) AS positions,
       (SELECT count(*) FROM positions p JOIN accounts a ON a.id = p.account_id
        LEFT JOIN connections c ON c.id = a.connection_id
        WHERE p.state = 'open' AND p.exit_state = 'failing'
          AND c.status IS DISTINCT FROM 'removed'
          AND a.mode = m.mode AND a.realm = :realm) AS failing,
       (SELECT count(*) FROM positions p JOIN accounts a ON a.id = p.account_id
        JOIN connections c ON c.id = a.connection_id
        WHERE p.state = 'open' AND c.status = 'removed'
          AND a.mode = m.mode AND a.realm = :realm) AS without_keys,
       (SELECT coalesce(sum(f.price * f.quantity), 0) FROM venue_states v
        JOIN accounts a ON a.venue = v.venue AND a.realm = v.realm
        JOIN fills f ON f.account_id = a.id AND f.filled_at > v.clock_at - interval '24 hours'
        WHERE a.mode = m.mode AND a.realm = :realm) AS volume,
       (SELECT count(*) FROM venue_states v
        JOIN accounts a ON a.venue = v.venue AND a.realm = v.realm
        JOIN positions p ON p.user_id = a.user_id AND p.account_id = a.id
             AND p.opened_at > v.clock_at - interval '24 hours'
        WHERE a.mode = m.mode AND a.realm = :realm AND p.entry_quantity > 0) AS trades,
       m.mode
FROM (VALUES ('live'), ('paper')) AS m(mode)
""")
_RATES = text("""
SELECT coalesce(sum(requests), 0)::bigint AS requests,
       coalesce(sum(server_errors), 0)::bigint AS errors,
       coalesce(sum(microseconds), 0)::bigint AS microseconds, min(minute) AS first,
       count(DISTINCT process_id) FILTER (WHERE minute >= :lately) AS processes
FROM api_minutes WHERE minute > :since
""")
_BUCKETS = text("""
SELECT b.place, sum(b.answers::bigint)::bigint AS answers
FROM api_minutes m, jsonb_array_elements_text(m.buckets) WITH ORDINALITY AS b(answers, place)
WHERE m.minute > :since GROUP BY b.place ORDER BY b.place
""")
_PRESENCE = text("""
SELECT min(minute) AS first, count(DISTINCT minute) FILTER (WHERE minute < :present) AS minutes
FROM api_minutes WHERE minute > :since
""")
_PAYING = text("""
SELECT tier, interval, count(*) AS subscribers FROM subscriptions
WHERE status IN ('active', 'past_due') AND tier <> 'free' GROUP BY tier, interval
""")
_CHURN = text("""
SELECT count(*) AS before, count(*) FILTER (WHERE ended_at IS NOT NULL) AS lost
FROM subscriptions
WHERE started_at <= :since AND (ended_at IS NULL OR ended_at > :since) AND tier <> 'free'
""")


@dataclass(frozen=True, slots=True)
class UserFigures:
    """How many users; by the tier that is stored (a trial reads free)."""

    total: int
    active_today: int
    free: int
    basic: int
    pro: int
    enterprise: int


@dataclass(frozen=True, slots=True)
class TradingFigures:
    """Bots, open positions, and what was traded in the venues' last 24 hours; volume in USD.

    `exits_failing` counts positions whose exit is due and is refused, not filled, or late,
    `positions_without_keys` those of which no exit can be made: their connection was removed.
    """

    bots_running: int
    total_positions: int
    total_volume_24h: Decimal
    total_trades_24h: int
    exits_failing: int
    positions_without_keys: int


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """The API over the last minutes, all processes together.

    `error_rate` is the fraction of answers with a status of 500 and above, `uptime_pct` the percent
    of minutes of the last 30 days (or since the first record) in which an API process was there.
    """

    api_requests_per_second: Decimal
    avg_response_time_ms: Decimal
    p95_response_time_ms: Decimal
    p99_response_time_ms: Decimal
    error_rate: Decimal
    uptime_pct: Decimal
    api_processes: int


@dataclass(frozen=True, slots=True)
class RevenueFigures:
    """Recurring revenue in USD; `churn_rate` is a fraction of 30 days."""

    mrr: Decimal
    arr: Decimal
    churn_rate: Decimal
    paying_subscribers: int


@dataclass(frozen=True, slots=True)
class PlatformFigures:
    """All of them."""

    users: UserFigures
    live: TradingFigures
    paper: TradingFigures
    system: SystemFigures
    revenue: RevenueFigures


class PlatformMetrics:
    """Computes the figures."""

    def __init__(self, database: Database, clock: WallClock, *, realm: Realm) -> None:
        self._database = database
        self._clock = clock
        self._realm = realm

    async def measure(self) -> PlatformFigures:
        """The figures of this moment."""
        now = self._clock.now()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        since = now - RATE_WINDOW
        async with self._database.as_system() as session:
            (users,) = await rows_of(session, _USERS, midnight=midnight, today=now.date())
            trading = await rows_of(session, _TRADING, realm=self._realm)
            (rates,) = await rows_of(session, _RATES, since=since, lately=now - 2 * _MINUTE)
            buckets = await rows_of(session, _BUCKETS, since=since)
            (presence,) = await rows_of(
                session, _PRESENCE, since=now - UPTIME_WINDOW, present=_minute_of(now)
            )
            paying = await rows_of(session, _PAYING)
            (churn,) = await rows_of(session, _CHURN, since=now - CHURN_WINDOW)
        by_mode = {row["mode"]: _trading(row) for row in trading}
        return PlatformFigures(
            users=UserFigures(**users),
            live=by_mode[Mode.LIVE.value],
            paper=by_mode[Mode.PAPER.value],
            system=_system(rates, [row["answers"] for row in buckets], presence, now),
            revenue=revenue_of(paying, churn),
        )


def _trading(row: Mapping[str, Any]) -> TradingFigures:
    return TradingFigures(
        row["bots"],
        row["positions"],
        row["volume"],
        row["trades"],
        row["failing"],
        row["without_keys"],
    )


def _system(
    rates: Mapping[str, Any], buckets: list[int], presence: Mapping[str, Any], now: datetime
) -> SystemFigures:
    requests = Decimal(rates["requests"])
    seconds = Decimal(1)
    if rates["first"] is not None:
        seconds = max(seconds, Decimal(int((now - rates["first"]).total_seconds())))
    milliseconds = Decimal(rates["microseconds"]) / _MICROSECONDS_A_MILLISECOND
    return SystemFigures(
        api_requests_per_second=(requests / seconds).quantize(_CENT),
        avg_response_time_ms=(milliseconds / requests if requests else ZERO).quantize(_CENT),
        p95_response_time_ms=_percentile_ms(buckets, 0.95),
        p99_response_time_ms=_percentile_ms(buckets, 0.99),
        error_rate=(rates["errors"] / requests if requests else ZERO).quantize(_RATIO),
        uptime_pct=_uptime(presence, now),
        api_processes=rates["processes"],
    )


def _percentile_ms(buckets: list[int], share: float) -> Decimal:
    return (Decimal(str(percentile_seconds(buckets, share))) * 1_000).quantize(_CENT)


def _uptime(presence: Mapping[str, Any], now: datetime) -> Decimal:
    """The percent of whole minutes in which somebody was there; the present one may yet be."""
    first: datetime | None = presence["first"]
    if first is None:
        return ZERO
    minutes = (_minute_of(now) - first) // _MINUTE
    if not minutes:
        return _HUNDRED
    return (_HUNDRED * Decimal(presence["minutes"]) / minutes).quantize(_CENT)


def _minute_of(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def revenue_of(paying: Sequence[Mapping[str, Any]], churn: Mapping[str, Any]) -> RevenueFigures:
    """MRR, ARR and churn.

    Args:
        paying: subscribers by tier and interval.
        churn: subscribers before the window, and how many of them were lost in it.
    """
    mrr = sum(
        (
            row["subscribers"] * _monthly(Tier(row["tier"]), BillingInterval(row["interval"]))
            for row in paying
        ),
        ZERO,
    )
    before, lost = Decimal(churn["before"]), Decimal(churn["lost"])
    return RevenueFigures(
        mrr=mrr.quantize(_CENT),
        arr=(mrr * MONTHS_A_YEAR).quantize(_CENT),
        churn_rate=(lost / before if before else ZERO).quantize(_RATIO),
        paying_subscribers=sum(row["subscribers"] for row in paying),
    )


def _monthly(tier: Tier, interval: BillingInterval) -> Decimal:
    price = Decimal(PLANS[tier].price(interval))
    return price if interval is BillingInterval.MONTHLY else price / MONTHS_A_YEAR
