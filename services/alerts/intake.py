"""Taking alerts in: whose key, is it a new one, stored; answered once that is durable.

Two round trips: the key is looked up by its hash before anybody is authenticated, then the alert is
stored bound by row-level security in one pipeline, which is one transaction. The key's row is
locked first, so the limit is exact. Alerts with one key are stored one after the other, in the
order in which they came: they wait for each other here, without a connection, so that a flood of
one key holds up nobody else. Nothing else is waited for meanwhile. Whether the key is good is asked
when an alert's turn has come, and again with its row locked: no alert is taken with a key whose end
was answered, however long it waited.

An alert that leaves a position is answered when the position was asked to leave, so that no bot,
plan, market or key is needed for it (`services.alerts.exit_decisions`). Where that takes too long
it is answered all the same, and decided by whoever looks at the user's alerts next. Decisions are
made in the order in which alerts came, whenever they are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString, Protocol
from uuid import UUID
from weakref import WeakValueDictionary

import structlog
from psycopg import AsyncConnection, InterfaceError, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from domain.alerts import AlertOffer, AlertState, AlertWish, TakenAlert
from domain.ports import WallClock
from models.columns import new_id
from models.tenancy import USER_SETTING
from services.alerts.errors import WebhookKeyInvalid
from services.alerts.exit_decisions import SECONDS_MAX, ExitDecisions
from services.alerts.judging import WINDOW, JudgedAlert, judge, values_of
from services.alerts.keys import hash_key, is_key
from services.caller_connections import CallerConnections
from services.database import Database, connection_options
from services.errors import RateLimited
from services.limits.allowance import Allowance, Meter
from services.notices import NoticeKind
from services.reads import CONNECT_TIMEOUT_SECONDS, POOL_TIMEOUT_SECONDS

EXITS_FACTOR = 2
"""An exit is let in until a key's minute holds this many times the limit of entries."""

_POOL_SIZE = 4
_UNKNOWN_AT_ONCE = 2
"""Connections that look keys up which nobody may have: anybody can send as many as they like."""
_KNOWN_MAX = 10_000
_ATTEMPTS = 3

_LOOK_UP = """
SELECT k.id AS key_id, k.user_id, u.status, u.subscription_tier, u.trial_ends_at,
       s.granted_tier, s.billed_until,
       EXISTS (
           SELECT FROM positions p
           JOIN bot_runs r ON r.id = p.run_id
           JOIN bots b ON b.id = r.bot_id
           WHERE p.user_id = k.user_id AND b.kind = 'apex' AND p.symbol = %(symbol)s::text
             AND p.state IN ('pending', 'open')
             AND (%(leaves)s::text IS NULL OR p.side = %(leaves)s::text)
       ) AS leaves_something
FROM webhook_keys k
JOIN users u ON u.id = k.user_id
LEFT JOIN subscriptions s ON s.user_id = k.user_id
WHERE k.key_hash = %(key_hash)s AND (k.ends_at IS NULL OR k.ends_at > %(good_at)s)
"""
_BIND = f"SELECT set_config('{USER_SETTING}', %s, true)"
_LOCK_KEY = """
UPDATE webhook_keys SET last_used_at = %(now)s
WHERE id = %(key_id)s AND (ends_at IS NULL OR ends_at > %(good_at)s)
"""
_RECENT = """
SELECT count(*) AS calls, min(received_at) AS oldest FROM alerts
WHERE key_id = %(key_id)s AND received_at > %(window)s
"""
_FORGET = """
UPDATE alerts SET dedup_key = NULL
WHERE user_id = %(user_id)s AND dedup_key = %(window_key)s::text AND received_at <= %(window)s
"""
# What came to nothing, or left another position than the one that is held now, repeats no exit.
_FORGET_ENDED = """
UPDATE alerts first SET dedup_key = NULL
WHERE first.user_id = %(user_id)s AND first.dedup_key = %(look_for)s::text
  AND (first.state IN ('refused', 'expired', 'unfilled')
       OR first.state IN ('accepted', 'executed') AND EXISTS (
           SELECT FROM positions p
           WHERE p.id = first.trade_id AND p.state NOT IN ('pending', 'open')))
"""
_COLUMNS = """
id, user_id, key_id, received_at, expires_at, alerted_at, action, symbol, price, size_usd, quantity,
percent, side, strategy, reference, bot_id, state, reason, details, dedup_key, duplicate_of,
trade_id, finished_at
"""
_VALUES = """
%(id)s::uuid, %(user_id)s::uuid, %(key_id)s::uuid, %(now)s::timestamptz,
%(expires_at)s::timestamptz, %(alerted_at)s::timestamptz, %(action)s::text, %(symbol)s::text,
%(price)s::numeric, %(size_usd)s::numeric, %(quantity)s::numeric, %(percent)s::numeric,
%(side)s::text, %(strategy)s::text,
%(reference)s::text
"""
_WITHIN_LIMIT = """
(%(limit)s::int IS NULL OR %(limit)s::int > (
    SELECT count(*) FROM alerts WHERE key_id = %(key_id)s AND received_at > %(window)s))
AND EXISTS (SELECT FROM webhook_keys
            WHERE id = %(key_id)s AND (ends_at IS NULL OR ends_at > %(good_at)s))
"""
# Literals only; every value is a parameter.
_REPEAT: LiteralString = f"""
INSERT INTO alerts ({_COLUMNS})
SELECT {_VALUES}, first.bot_id, 'duplicate', NULL, %(details)s::jsonb, NULL, first.id,
       first.trade_id, %(now)s
FROM alerts first
WHERE first.user_id = %(user_id)s AND first.dedup_key = %(look_for)s::text AND {_WITHIN_LIMIT}
RETURNING duplicate_of, trade_id,
    (SELECT first.state FROM alerts first WHERE first.id = alerts.duplicate_of) AS first_state
"""  # noqa: S608
_TAKE: LiteralString = f"""
INSERT INTO alerts ({_COLUMNS})
SELECT {_VALUES}, b.id, %(state)s::text, %(reason)s::text, %(details)s::jsonb,
       %(dedup_key)s::text, NULL,
       CASE WHEN %(state)s::text = 'processing' THEN coalesce(
           held.id, CASE WHEN %(action)s::text <> 'close' THEN %(id)s::uuid END
       ) END,
       CASE WHEN %(state)s::text <> 'processing' THEN %(now)s::timestamptz END
FROM (SELECT) nothing
LEFT JOIN bots b ON b.user_id = %(user_id)s AND b.kind = 'apex'
LEFT JOIN bot_runs r ON r.user_id = b.user_id AND r.id = b.current_run_id
LEFT JOIN LATERAL (
    SELECT p.id FROM positions p
    JOIN bot_runs o ON o.user_id = p.user_id AND o.id = p.run_id AND o.bot_id = b.id
    WHERE p.user_id = b.user_id AND p.symbol = %(symbol)s::text AND p.state IN ('pending', 'open')
      AND (%(leaves)s::text IS NULL OR p.side = %(leaves)s::text)
    ORDER BY p.account_id <> r.account_id, p.opened_at, p.id LIMIT 1
) held ON true
WHERE {_WITHIN_LIMIT}
  AND NOT EXISTS (SELECT FROM alerts first
                  WHERE first.user_id = %(user_id)s AND first.dedup_key = %(look_for)s::text)
ON CONFLICT (user_id, dedup_key) WHERE dedup_key IS NOT NULL DO NOTHING
RETURNING bot_id, trade_id,
    (SELECT r.state = 'entering' FROM bots b JOIN bot_runs r ON r.id = b.current_run_id
     WHERE b.id = alerts.bot_id) AS may_enter
"""  # noqa: S608

_TELL_STALE = """
INSERT INTO notices (id, user_id, kind, key, facts, created_at)
SELECT %(notice_id)s, user_id, %(notice_kind)s, %(notice_key)s,
       jsonb_build_object('symbol', symbol), received_at
FROM alerts WHERE id = %(id)s::uuid
ON CONFLICT (user_id, key) DO NOTHING
"""

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
    """What became of an alert; `trade_id` is None of one that closes what nobody holds."""

    alert_id: UUID
    trade_id: UUID | None
    is_duplicate: bool


@dataclass(frozen=True, slots=True)
class _Stored:
    """An alert as it is stored.

    Attributes:
        is_undecided: whether it, or the one that it repeats, waits for its decision.
        bot_id: the user's bot.
        may_enter: whether that takes entries at present.
    """

    receipt: Receipt
    is_undecided: bool
    bot_id: UUID | None = None
    may_enter: bool = False


class AlertIntake:
    """Receives alerts.

    Args:
        app_url: the database as the role that row-level security binds.
        system_url: the same as the role that may look keys up.
        database: for alerts that leave positions; connections that nothing else needs.
        clock: wall time.
        dispatch: told of every new alert.
        age_max: how old an alert may get before it is acted on.
        a_minute: alerts of one key a minute; None is any number.
        exit_seconds: how long an answer waits until positions were asked to leave.
        open_pool: makes the pool of an address and a name; None makes psycopg's.
    """

    def __init__(
        self,
        app_url: str,
        system_url: str,
        database: Database,
        clock: WallClock,
        dispatch: Dispatch,
        *,
        age_max: timedelta,
        a_minute: int | None,
        exit_seconds: float = SECONDS_MAX,
        open_pool: Callable[[str, str], _Pool] | None = None,
    ) -> None:
        pool = open_pool or _pool
        self._database = database
        self._exits = ExitDecisions(database, clock, seconds_max=exit_seconds)
        self._clock = clock
        self._dispatch = dispatch
        self._age_max = age_max
        self._a_minute = a_minute
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._unknown = CallerConnections(_UNKNOWN_AT_ONCE)
        # In the order of their last use; with when their minute has room for entries again.
        self._known: dict[str, datetime | None] = {}
        self._app = pool(app_url, "alerts")
        self._system = pool(system_url, "alert-keys")

    async def open(self) -> None:
        """Start connecting; a database that is down is reported by each alert."""
        await self._app.open(wait=False)
        await self._system.open(wait=False)

    async def close(self) -> None:
        """Stop handing on, close the connections."""
        await self._exits.close()
        await self._dispatch.close()
        await self._app.close()
        await self._system.close()
        await self._database.close()

    async def receive(self, key: str | None, offer: AlertOffer, meter: Meter) -> Receipt:
        """Store an alert, once, and see that it is handed on.

        Args:
            key: the webhook key it came with.
            offer: what came with it.
            meter: told what the key has left.

        Raises:
            WebhookKeyInvalid: no such key; nothing was stored.
            RateLimited: the key's minute is full; nothing was stored.
            AlertMalformed, InvalidRequest, WebhookNeedsPlan, AccountDisabled, AccountSuspended:
                refused, and stored as such.
        """
        if key is None or not is_key(key):
            raise WebhookKeyInvalid
        now, key_hash = self._clock.now(), hash_key(key)
        # Before anything is waited for: alerts of a key are stored in the order of their arrival.
        async with self._locks.setdefault(key_hash, asyncio.Lock()):
            owner = await self._owner(key_hash, offer.wish)
            row = judge(owner, offer, now, age_max=self._age_max)
            if not row.is_exit:
                self._refuse_while_full(key_hash, now, meter)
            for _ in range(_ATTEMPTS):
                try:
                    stored = await self._store(owner, row, now, meter)
                except RateLimited:
                    self._note_full(key_hash, row, now, meter)
                    raise
                if stored is not None:
                    break
            else:
                raise WebhookKeyInvalid  # it ended between the two round trips
        await self._hand_on(owner["user_id"], row, stored)
        if row.refusal is not None and not stored.receipt.is_duplicate:
            raise row.refusal
        return stored.receipt

    async def _hand_on(self, user_id: UUID, row: JudgedAlert, stored: _Stored) -> None:
        """Have exits decided, also for the repeat of one that nobody has decided on."""
        if not stored.is_undecided:
            return
        exits = await self._exits.decide(user_id) if row.is_exit else None
        if stored.receipt.is_duplicate:
            return
        is_for_bot = (exits is None or bool(exits.left)) if row.is_exit else stored.may_enter
        bot_id = stored.bot_id if is_for_bot else None
        exits_of = None if exits is None else exits.bot_id
        is_followed = exits is None or row.id not in exits.ended
        self._dispatch.submit(TakenAlert(row.id, user_id, bot_id, exits_of, is_followed))

    async def _owner(self, key_hash: str, wish: AlertWish | None) -> DictRow:
        values = {
            "key_hash": key_hash,
            "good_at": self._clock.now(),
            "symbol": wish.symbol if wish else None,
            "leaves": wish.leaves if wish else None,
        }
        if key_hash in self._known:
            found = await self._find(values)
        else:
            found = await self._find_unknown(values)
        self._note_key(key_hash, is_known=found is not None)
        if found is None:
            raise WebhookKeyInvalid
        structlog.contextvars.bind_contextvars(user_id=found["user_id"].hex)
        return found

    async def _find_unknown(self, values: Mapping[str, Any]) -> DictRow | None:
        """Look up a key that was not found here before, and keep no known one waiting."""
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    self._unknown.one_for(None, wait_seconds=POOL_TIMEOUT_SECONDS)
                )
            except TimeoutError:
                raise PoolTimeout("too many unknown keys are being looked up") from None
            return await self._find(values)

    def _note_key(self, key_hash: str, *, is_known: bool) -> None:
        """Remember a key that was found; whether it is good is looked up each time."""
        full_until = self._known.pop(key_hash, None)
        if is_known:
            self._known[key_hash] = full_until
            if len(self._known) > _KNOWN_MAX:
                del self._known[next(iter(self._known))]

    def _note_full(self, key_hash: str, row: JudgedAlert, now: datetime, meter: Meter) -> None:
        """Remember until when a key's minute has no room for another entry."""
        if not row.is_exit and key_hash in self._known and meter.allowance is not None:
            seconds = meter.allowance.retry_after or 0
            # A second less: it was rounded up, and nothing is refused for longer than it must be.
            self._known[key_hash] = now + timedelta(seconds=seconds - 1)

    def _refuse_while_full(self, key_hash: str, now: datetime, meter: Meter) -> None:
        """Refuse an entry of a key whose minute is known to be full: exits wait for no such one.

        Raises:
            RateLimited: it is; nothing was stored.
        """
        full_until = self._known.get(key_hash)
        if full_until is None or now >= full_until or self._a_minute is None:
            return
        meter.allowance = Allowance(
            limit=self._a_minute,
            remaining=0,
            resets_at=int(full_until.timestamp()) + 1,
            retry_after=int((full_until - now).total_seconds()) + 1,
        )
        raise meter.allowance.refusal()

    async def _find(self, values: Mapping[str, Any]) -> DictRow | None:
        try:
            return await self._look_up(values)
        except PoolTimeout:
            raise
        except (OperationalError, InterfaceError):
            # A restarted server leaves dead connections in the pools.
            await self._system.check()
            await self._app.check()
            return await self._look_up(values)

    async def _look_up(self, values: Mapping[str, Any]) -> DictRow | None:
        async with self._system.connection() as connection:
            found = await connection.execute(_LOOK_UP, values)
            return await found.fetchone()

    def _values(self, owner: DictRow, row: JudgedAlert, now: datetime) -> dict[str, Any]:
        return {
            **values_of(row, now, age_max=self._age_max),
            "user_id": owner["user_id"],
            "key_id": owner["key_id"],
            "good_at": self._clock.now(),
            "limit": self._limit(row),
        }

    def _limit(self, row: JudgedAlert) -> int | None:
        """Alerts a minute before this one: entries cannot use up what exits have beyond theirs."""
        if self._a_minute is None:
            return None
        return self._a_minute * EXITS_FACTOR if row.is_exit else self._a_minute

    # --- storing ----------------------------------------------------------------------------

    async def _store(
        self, owner: DictRow, row: JudgedAlert, now: datetime, meter: Meter
    ) -> _Stored | None:
        """Store in one transaction; None when it lost a race and is to be tried again."""
        values = self._values(owner, row, now)
        async with self._app.connection() as connection:
            async with connection.pipeline(), connection.transaction():
                await connection.execute(_BIND, (str(owner["user_id"]),))
                await connection.execute(_LOCK_KEY, values)
                recent = (
                    await connection.execute(_RECENT, values)
                    if self._a_minute is not None
                    else None
                )
                if row.window_key is not None:
                    await connection.execute(_FORGET, values)
                if row.is_exit and owner["leaves_something"]:
                    await connection.execute(_FORGET_ENDED, values)
                repeats = await connection.execute(_REPEAT, values)
                takes = await connection.execute(_TAKE, values)
                if _keeps_open(owner, row):
                    await connection.execute(_TELL_STALE, {**values, **_notice_of(row)})
            window, repeated, taken = (
                await recent.fetchone() if recent else None,
                await repeats.fetchone(),
                await takes.fetchone(),
            )
        return self._stored(row, now, meter, window, repeated, taken)

    def _stored(
        self,
        row: JudgedAlert,
        now: datetime,
        meter: Meter,
        window: DictRow | None,
        repeated: DictRow | None,
        taken: DictRow | None,
    ) -> _Stored | None:
        allowance = meter.allowance = self._allowance(self._limit(row), window, now)
        if repeated is not None:
            return _Stored(
                Receipt(repeated["duplicate_of"], repeated["trade_id"], is_duplicate=True),
                is_undecided=repeated["first_state"] == AlertState.PROCESSING,
            )
        if taken is None:
            if allowance is not None and allowance.retry_after is not None:
                raise allowance.refusal()
            return None
        _log.info("alert.received", alert_id=str(row.id), state=row.state.value)
        return _Stored(
            Receipt(row.id, taken["trade_id"], is_duplicate=False),
            is_undecided=row.state is AlertState.PROCESSING,
            bot_id=taken["bot_id"],
            may_enter=bool(taken["may_enter"]),
        )

    def _allowance(
        self, limit: int | None, window: DictRow | None, now: datetime
    ) -> Allowance | None:
        if limit is None or window is None:
            return None
        resets = ((window["oldest"] or now) + WINDOW - now).total_seconds()
        left = limit - window["calls"]
        return Allowance(
            limit=limit,
            remaining=max(0, left - 1),
            resets_at=int(now.timestamp() + resets) + 1,
            retry_after=None if left > 0 else max(1, int(resets) + 1),
        )


def _keeps_open(owner: DictRow, row: JudgedAlert) -> bool:
    """Whether a position stays open because the alert that was to close it came too late."""
    return row.state is AlertState.STALE and row.is_exit and bool(owner["leaves_something"])


def _notice_of(row: JudgedAlert) -> dict[str, Any]:
    """The same alert sent again leaves no other notice."""
    kind = NoticeKind.EXIT_ALERT_STALE.value
    key = f"{kind}:{row.look_for}"
    return {"notice_id": new_id(), "notice_kind": kind, "notice_key": key}


def _pool(url: str, name: str) -> _Pool:
    return AsyncConnectionPool(
        url,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "options": connection_options(),
        },
        min_size=1,
        max_size=_POOL_SIZE,
        timeout=POOL_TIMEOUT_SECONDS,
        open=False,
        name=name,
    )
