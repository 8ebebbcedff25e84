"""One request budget for a venue's address and for each key, over all processes.

A budget is a bucket of tokens in PostgreSQL that fills at the venue's rate. Processes lease tokens
in small lots. The more urgent a purpose, the more of the bucket it may use: scans leave half of it,
entries a third, look-ups a tenth. An exit waits for nothing: it goes on at once and is charged
afterwards, into debt if need be, which the others then wait for. While the database does not
answer, requests are bounded by each process's own limits only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from domain.ports import VenueUnavailable
from domain.requests import Purpose, purpose_of_requests
from services.database import Database, all_rows

STORE_SECONDS = 0.25
STORE_DOWN_SECONDS = 2.0
LEASE_SECONDS = 1.0
RETRY_SECONDS = 0.05
LOT_SHARE = 5
DEBT_SECONDS = 2
"""How many seconds of the venue's rate exits may take in advance, in the books; they take more."""
RESERVED: Mapping[Purpose, float] = MappingProxyType(
    {Purpose.LOOK_UP: 0.1, Purpose.ENTRY: 0.33, Purpose.SCAN: 0.5}
)
"""Which share of a full bucket a purpose leaves to the more urgent ones."""
WAITS: Mapping[Purpose, float] = MappingProxyType(
    {Purpose.LOOK_UP: 0.5, Purpose.ENTRY: 1.0, Purpose.SCAN: 2.0}
)
"""Seconds that a purpose waits for a token; then a scan is refused, the others go on."""

_log = structlog.get_logger("nija.budget")
_TAKE = text(
    """
    INSERT INTO request_budgets AS b (scope, tokens, refilled_at)
    VALUES (:scope, cast(:rate AS numeric) - :wanted, clock_timestamp())
    ON CONFLICT (scope) DO UPDATE SET
        tokens = least(:rate, b.tokens
            + extract(epoch FROM greatest(clock_timestamp() - b.refilled_at, interval '0')) * :rate
        ) - :wanted,
        refilled_at = clock_timestamp()
    WHERE least(:rate, b.tokens
            + extract(epoch FROM greatest(clock_timestamp() - b.refilled_at, interval '0')) * :rate
        ) - :wanted >= :reserve
    RETURNING tokens
    """
)


@dataclass(slots=True)
class _Lease:
    """Tokens that this process may still use, and until when."""

    left: int
    until: float


class RequestBudgets:
    """Implements `domain.ports.RequestBudget` on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[tuple[str, Purpose], _Lease] = {}
        self._locks: dict[tuple[str, Purpose], asyncio.Lock] = {}
        self._charges: dict[str, tuple[int, int]] = {}
        self._charging: asyncio.Task[None] | None = None
        self._down_until = 0.0

    async def take(self, scope: str, *, per_second: int) -> None:
        """Take one request out of a budget for the purpose in force.

        Args:
            scope: names the budget; holds no secret.
            per_second: how many requests a second the venue allows in it.

        Raises:
            VenueUnavailable: a scan found no token in time.
        """
        purpose = purpose_of_requests()
        if purpose is Purpose.EXIT:
            self._charge(scope, per_second)
            return
        deadline = _now() + WAITS[purpose]
        while not await self._lease(scope, per_second, purpose):
            if _now() >= deadline:
                if purpose is Purpose.SCAN:
                    raise VenueUnavailable("The venue's request budget is used up for the moment")
                self._charge(scope, per_second)
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """Abandon what is still to be charged."""
        if self._charging is not None:
            self._charging.cancel()
            await asyncio.gather(self._charging, return_exceptions=True)

    async def _lease(self, scope: str, per_second: int, purpose: Purpose) -> bool:
        key = (scope, purpose)
        if self._use(key):
            return True
        async with self._locks.setdefault(key, asyncio.Lock()):
            if self._use(key) or _now() < self._down_until:
                return True
            lot = max(1, per_second // LOT_SHARE)
            granted = await self._ask(scope, per_second, lot, per_second * RESERVED[purpose])
            if granted:
                self._leases[key] = _Lease(lot - 1, _now() + LEASE_SECONDS)
            return granted

    def _use(self, key: tuple[str, Purpose]) -> bool:
        lease = self._leases.get(key)
        if lease is None or lease.left < 1 or lease.until < _now():
            return False
        lease.left -= 1
        return True

    def _charge(self, scope: str, per_second: int) -> None:
        count, _ = self._charges.get(scope, (0, 0))
        self._charges[scope] = (count + 1, per_second)
        if self._charging is None or self._charging.done():
            self._charging = asyncio.create_task(self._charge_all())

    async def _charge_all(self) -> None:
        while self._charges:
            scope, (count, per_second) = self._charges.popitem()
            if _now() >= self._down_until:
                await self._ask(scope, per_second, count, -DEBT_SECONDS * per_second)

    async def _ask(self, scope: str, per_second: int, wanted: int, reserve: float) -> bool:
        """Whether the bucket gave its tokens; yes where it cannot be asked."""
        try:
            async with asyncio.timeout(STORE_SECONDS), self._database.as_system() as session:
                rows = await all_rows(
                    session,
                    _TAKE.bindparams(scope=scope, rate=per_second, wanted=wanted, reserve=reserve),
                )
                return bool(rows)
        except (SQLAlchemyError, OSError, TimeoutError) as failure:
            self._down_until = _now() + STORE_DOWN_SECONDS
            _log.warning("budget.store_down", error=type(failure).__name__)
            return True


def _now() -> float:
    return asyncio.get_running_loop().time()
