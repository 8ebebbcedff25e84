"""Taking alerts in: whose key, is it a new one, stored; answered once that is durable.

Two round trips: the key is looked up by its hash before anybody is authenticated, then the alert is
stored bound by row-level security in one pipeline, which is one transaction. The key's row is
locked first, so the limit is exact and alerts with one key are received one after the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, Protocol
from uuid import UUID

import orjson
import structlog
from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from domain.alerts import AlertState, AlertWish, TakenAlert
from domain.billing import entitled_plan
from domain.errors import DomainError
from domain.plans import Feature, Tier
from domain.ports import WallClock
from models.columns import new_id
from models.tenancy import USER_SETTING
from services.alerts.errors import WebhookKeyInvalid, WebhookNeedsPlan
from services.alerts.keys import hash_key, is_key
from services.database import IDLE_TIMEOUT_MS, LOCK_TIMEOUT_MS, STATEMENT_TIMEOUT_MS
from services.errors import InvalidRequest
from services.limits.allowance import Allowance, Meter
from services.reads import CONNECT_TIMEOUT_SECONDS, POOL_TIMEOUT_SECONDS, require_active

WINDOW = timedelta(seconds=60)
"""The minute of the limit, and how long the same body is the same alert."""

CLOCK_LEAD_MAX = timedelta(seconds=60)
"""How far ahead of ours a sender's clock may be."""

_POOL_SIZE = 4
_ATTEMPTS = 3

_LOOK_UP = """
SELECT k.id AS key_id, k.user_id, u.status, u.subscription_tier, u.trial_ends_at,
       s.granted_tier, s.billed_until
FROM webhook_keys k
JOIN users u ON u.id = k.user_id
LEFT JOIN subscriptions s ON s.user_id = k.user_id
WHERE k.key_hash = %(key_hash)s AND (k.ends_at IS NULL OR k.ends_at > %(now)s)
"""
_BIND = f"SELECT set_config('{USER_SETTING}', %s, true)"
_HOLD_KEY = """
UPDATE webhook_keys SET last_used_at = %(now)s
WHERE id = %(key_id)s AND (ends_at IS NULL OR ends_at > %(now)s)
"""
_RECENT = """
SELECT count(*) AS calls, min(received_at) AS oldest FROM alerts
WHERE key_id = %(key_id)s AND received_at > %(window)s
"""
_FORGET = """
UPDATE alerts SET dedup_key = NULL
WHERE user_id = %(user_id)s AND dedup_key = %(body_key)s::text AND received_at <= %(window)s
"""
_COLUMNS = """
id, user_id, key_id, received_at, expires_at, alerted_at, action, symbol, price, size_usd, quantity,
strategy, reference, bot_id, state, reason, details, dedup_key, duplicate_of, trade_id, finished_at
"""
_VALUES = """
%(id)s::uuid, %(user_id)s::uuid, %(key_id)s::uuid, %(now)s::timestamptz,
%(expires_at)s::timestamptz, %(alerted_at)s::timestamptz, %(action)s::text, %(symbol)s::text,
%(price)s::numeric, %(size_usd)s::numeric, %(quantity)s::numeric, %(strategy)s::text,
%(reference)s::text
"""
_WITHIN_LIMIT = """
(%(limit)s::int IS NULL OR %(limit)s::int > (
    SELECT count(*) FROM alerts WHERE key_id = %(key_id)s AND received_at > %(window)s))
AND EXISTS (SELECT FROM webhook_keys WHERE id = %(key_id)s AND last_used_at = %(now)s)
"""
# Literals only; every value is a parameter.
_REPEAT: LiteralString = f"""
INSERT INTO alerts ({_COLUMNS})
SELECT {_VALUES}, first.bot_id, 'duplicate', NULL, NULL, NULL, first.id, first.trade_id, %(now)s
FROM alerts first
WHERE first.user_id = %(user_id)s AND first.dedup_key = %(look_for)s::text AND {_WITHIN_LIMIT}
RETURNING duplicate_of, trade_id
"""  # noqa: S608
_TAKE: LiteralString = f"""
INSERT INTO alerts ({_COLUMNS})
SELECT {_VALUES}, b.id, %(state)s::text, %(reason)s::text, %(details)s::jsonb,
       %(dedup_key)s::text, NULL,
       CASE WHEN %(state)s::text = 'processing' THEN coalesce(held.id, %(id)s::uuid) END,
       CASE WHEN %(state)s::text <> 'processing' THEN %(now)s::timestamptz END
FROM (SELECT) nothing
LEFT JOIN bots b ON b.user_id = %(user_id)s AND b.kind = 'apex'
LEFT JOIN bot_runs r ON r.user_id = b.user_id AND r.id = b.current_run_id
LEFT JOIN LATERAL (
    SELECT p.id FROM positions p
    WHERE p.user_id = b.user_id AND p.account_id = r.account_id AND p.symbol = %(symbol)s::text
      AND p.state IN ('pending', 'open')
      AND (%(leaves)s::text IS NULL OR p.side = %(leaves)s::text)
    ORDER BY p.opened_at LIMIT 1
) held ON true
WHERE {_WITHIN_LIMIT}
  AND NOT EXISTS (SELECT FROM alerts first
                  WHERE first.user_id = %(user_id)s AND first.dedup_key = %(look_for)s::text)
ON CONFLICT (user_id, dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING
RETURNING bot_id, trade_id,
    (SELECT r.state = 'entering' FROM bots b JOIN bot_runs r ON r.id = b.current_run_id
     WHERE b.id = alerts.bot_id) AS may_enter
"""  # noqa: S608

_log = structlog.get_logger("nija.alerts")

_Connection = AsyncConnection[DictRow]
_Pool = AsyncConnectionPool[_Connection]


class Dispatch(Protocol):
    """Whoever hands stored alerts on, without making anybody wait."""

    def submit(self, alert: TakenAlert) -> None:
        """Take an alert that is stored."""
        ...

    async def close(self) -> None:
        """Stop; what was not handed on is left to the sweep."""
        ...


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of an alert."""

    alert_id: UUID
    trade_id: UUID
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class _Row:
    """What is stored of an alert."""

    id: UUID
    state: AlertState
    look_for: str | None
    body_key: str | None
    wish: AlertWish | None
    refusal: DomainError | None


class AlertIntake:
    """The door for alerts.

    Args:
        app_url: the database as the role that row-level security binds.
        system_url: the same as the role that may look keys up.
        clock: wall time.
        dispatch: told of every new alert.
        age_max: how old an alert may get before it is acted on.
        a_minute: alerts of one key a minute; None is any number.
        open_pool: makes the pool of an address and a name; None makes psycopg's.
    """

    def __init__(
        self,
        app_url: str,
        system_url: str,
        clock: WallClock,
        dispatch: Dispatch,
        *,
        age_max: timedelta,
        a_minute: int | None,
        open_pool: Callable[[str, str], _Pool] | None = None,
    ) -> None:
        pool = open_pool or _pool
        self._clock = clock
        self._dispatch = dispatch
        self._age_max = age_max
        self._a_minute = a_minute
        self._app = pool(app_url, "alerts")
        self._system = pool(system_url, "alert-keys")

    async def open(self) -> None:
        """Start connecting; a database that is down is reported by each alert."""
        await self._app.open(wait=False)
        await self._system.open(wait=False)

    async def close(self) -> None:
        """Stop handing on, close the connections."""
        await self._dispatch.close()
        await self._app.close()
        await self._system.close()

    async def receive(
        self, key: str | None, offered: AlertWish | Mapping[str, str], meter: Meter
    ) -> Receipt:
        """Store an alert, once, and see that it is handed on.

        Args:
            key: the webhook key it came with.
            offered: the alert, or what is wrong with it by field.
            meter: told what the key has left.

        Raises:
            WebhookKeyInvalid: no such key; nothing was stored.
            RateLimited: the key's minute is full; nothing was stored.
            InvalidRequest, WebhookNeedsPlan, AccountDisabled, AccountSuspended: refused, and
                stored as such.
        """
        now = self._clock.now()
        owner = await self._owner(key, now)
        row = self._judge(owner, offered, now)
        for _ in range(_ATTEMPTS):
            receipt = await self._store(owner, row, now, meter)
            if receipt is not None:
                break
        else:
            raise WebhookKeyInvalid  # it ended between the two round trips
        if row.refusal is not None and not receipt.is_duplicate:
            raise row.refusal
        return receipt

    async def _owner(self, key: str | None, now: datetime) -> DictRow:
        if key is None or not is_key(key):
            raise WebhookKeyInvalid
        key_hash = hash_key(key)
        try:
            found = await self._look_up(key_hash, now)
        except (OperationalError, InterfaceError):
            # A restarted server leaves dead connections in the pools.
            await self._system.check()
            await self._app.check()
            found = await self._look_up(key_hash, now)
        if found is None:
            raise WebhookKeyInvalid
        structlog.contextvars.bind_contextvars(user_id=found["user_id"].hex)
        return found

    async def _look_up(self, key_hash: str, now: datetime) -> DictRow | None:
        async with self._system.connection() as connection:
            found = await connection.execute(_LOOK_UP, {"key_hash": key_hash, "now": now})
            return await found.fetchone()

    # --- judging ----------------------------------------------------------------------------

    def _judge(self, owner: DictRow, offered: AlertWish | Mapping[str, str], now: datetime) -> _Row:
        wish = offered if isinstance(offered, AlertWish) else None
        state = AlertState.PROCESSING
        refusal = _refusal_of(owner, offered, now)
        if refusal is not None:
            state = AlertState.REFUSED
        elif wish and wish.alerted_at and now - wish.alerted_at > self._age_max:
            state = AlertState.STALE
            seconds = int(self._age_max.total_seconds())
            refusal = InvalidRequest({"time": f"The alert is older than {seconds} seconds"})
        look_for = body_key = None
        if wish is not None and state is not AlertState.REFUSED:
            if wish.reference is not None:
                look_for = f"id:{wish.reference}"
            else:
                look_for = body_key = _body_key(wish)
        return _Row(new_id(), state, look_for, body_key, wish, refusal)

    def _values(self, owner: DictRow, row: _Row, now: datetime) -> dict[str, Any]:
        wish = asdict(row.wish) if row.wish else dict.fromkeys(AlertWish.__dataclass_fields__)
        raised = min(wish["alerted_at"] or now, now)
        return {
            **wish,
            "id": row.id,
            "user_id": owner["user_id"],
            "key_id": owner["key_id"],
            "now": now,
            "window": now - WINDOW,
            "limit": self._a_minute,
            "expires_at": raised + self._age_max,
            "state": row.state.value,
            "reason": _reason(row),
            "details": Jsonb(row.refusal.details) if row.refusal else None,
            "look_for": row.look_for,
            "body_key": row.body_key,
            "dedup_key": row.look_for if row.state is AlertState.PROCESSING else None,
            "leaves": row.wish.leaves if row.wish else None,
        }

    # --- storing ----------------------------------------------------------------------------

    async def _store(
        self, owner: DictRow, row: _Row, now: datetime, meter: Meter
    ) -> Receipt | None:
        """Store in one transaction; None when it lost a race and is to be tried again."""
        values = self._values(owner, row, now)
        async with self._app.connection() as connection:
            async with connection.pipeline(), connection.transaction():
                await connection.execute(_BIND, (str(owner["user_id"]),))
                await connection.execute(_HOLD_KEY, values)
                recent = (
                    await connection.execute(_RECENT, values)
                    if self._a_minute is not None
                    else None
                )
                if row.body_key is not None:
                    await connection.execute(_FORGET, values)
                repeats = await connection.execute(_REPEAT, values)
                takes = await connection.execute(_TAKE, values)
            window, repeated, taken = (
                await recent.fetchone() if recent else None,
                await repeats.fetchone(),
                await takes.fetchone(),
            )
        allowance = meter.allowance = self._allowance(window, now)
        if repeated is not None:
            return Receipt(repeated["duplicate_of"], repeated["trade_id"], is_duplicate=True)
        if taken is None:
            if allowance is not None and allowance.retry_after is not None:
                raise allowance.refusal()
            return None
        if row.state is AlertState.PROCESSING:
            bot_id = taken["bot_id"] if taken["may_enter"] else None
            self._dispatch.submit(TakenAlert(row.id, owner["user_id"], bot_id))
        _log.info("alert.received", alert_id=str(row.id), state=row.state.value)
        return Receipt(row.id, taken["trade_id"] or row.id, is_duplicate=False)

    def _allowance(self, window: DictRow | None, now: datetime) -> Allowance | None:
        if self._a_minute is None or window is None:
            return None
        resets = ((window["oldest"] or now) + WINDOW - now).total_seconds()
        left = self._a_minute - window["calls"]
        return Allowance(
            limit=self._a_minute,
            remaining=max(0, left - 1),
            resets_at=int(now.timestamp() + resets) + 1,
            retry_after=None if left > 0 else max(1, int(resets) + 1),
        )


def _refusal_of(
    owner: DictRow, offered: AlertWish | Mapping[str, str], now: datetime
) -> DomainError | None:
    """Why an alert is refused whatever its age."""
    try:
        require_active(owner["status"])
    except DomainError as refusal:
        return refusal
    granted = owner["granted_tier"]
    plan = entitled_plan(
        Tier(owner["subscription_tier"]),
        trial_ends_at=owner["trial_ends_at"],
        granted=None if granted is None else Tier(granted),
        billed_until=owner["billed_until"],
        now=now,
    )
    if not plan.features.allows(Feature.TRADINGVIEW_WEBHOOK):
        return WebhookNeedsPlan(details={"tier": plan.tier.value})
    if not isinstance(offered, AlertWish):
        return InvalidRequest(offered)
    if offered.alerted_at is not None and offered.alerted_at - now > CLOCK_LEAD_MAX:
        return InvalidRequest({"time": "The time lies in the future"})
    return None


_REASONS = {
    WebhookNeedsPlan.code: "subscription_required",
    InvalidRequest.code: "invalid",
}


def _reason(row: _Row) -> str | None:
    if row.refusal is None:
        return None
    if row.state is AlertState.STALE:
        return "too_old"
    return _REASONS.get(row.refusal.code, row.refusal.code)


def _body_key(wish: AlertWish) -> str:
    """What is the same for the same alert sent again, however its body was laid out."""
    parts = {name: str(value) for name, value in asdict(wish).items() if value is not None}
    return f"body:{hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()}"


def _pool(url: str, name: str) -> _Pool:
    return AsyncConnectionPool(
        url,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": (
                f"-c lock_timeout={LOCK_TIMEOUT_MS}"
                f" -c statement_timeout={STATEMENT_TIMEOUT_MS}"
                f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT_MS} -c timezone=UTC"
            ),
        },
        min_size=1,
        max_size=_POOL_SIZE,
        timeout=POOL_TIMEOUT_SECONDS,
        open=False,
        name=name,
    )
