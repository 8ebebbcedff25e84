"""The last good metadata of a venue's markets, refreshed beside the work.

Whatever trades reads what is known and waits for nothing: only a process that has never had an
answer waits for its first one, and not for long. A refresh that fails changes nothing and is tried
again. A row that cannot be read costs its own market: the last good row of that market serves on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import structlog

from domain.markets import MarketRules, MarketStatus, VenueKey
from domain.ports import VenueRefusedKeys, VenueUnavailable

REFRESH_SECONDS = 3_600.0
FIRST_ANSWER_SECONDS = 5.0
FRESH_ANSWER_SECONDS = 2.0
FRESH_SECONDS = 5.0
"""A list that was asked for this recently is fresh: calls may want one as often as they like."""
RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 300.0
RECHECK_SECONDS = 60.0
"""How soon the list is read again while a market that traded before does not."""
RECHECK_LENGTH_SECONDS = 3_600.0
"""How long a market that stopped trading is expected back at any minute."""
ALARM_SECONDS = 4 * 3_600.0
"""A last good list that is older than this is logged as an error at each failed refresh."""

_log = structlog.get_logger("nija.market_rules")
_FAILURES = (
    VenueUnavailable,
    VenueRefusedKeys,
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    TypeError,
    ValueError,
)
_NONE: Mapping[str, MarketRules] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ListedMarkets:
    """One answer to the question for all markets.

    Attributes:
        rules: the rows that could be read, by symbol.
        malformed: why a row could not be read, by its symbol (or position, where it has none).
    """

    rules: Mapping[str, MarketRules]
    malformed: Mapping[str, str] = field(default_factory=dict)


class MarketRulesCache:
    """Keeps the last good rules of every market of one venue.

    A market that a good list no longer names was delisted or renamed: its last rules stay, with the
    status `HALTED`, because a position in it may still have to be valued and written off.

    Args:
        key: the venue, for the log.
        ask: the question for all markets.
        first_answer_seconds: how long a process without any rules waits for its first ones.
        fresh_seconds: how long ago the list may have been asked for to be fresh.
    """

    def __init__(
        self,
        key: VenueKey,
        ask: Callable[[], Awaitable[ListedMarkets]],
        *,
        first_answer_seconds: float = FIRST_ANSWER_SECONDS,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> None:
        self._key = key
        self._ask = ask
        self._first_answer_seconds = first_answer_seconds
        self._fresh_seconds = fresh_seconds
        self._rules = _NONE
        self._malformed: dict[str, str] = {}
        self._stopped_at: dict[str, float] = {}
        self._answered_at: float | None = None
        self._first_asked_at: float | None = None
        self._asked_at: float | None = None
        self._refresh_seconds = REFRESH_SECONDS
        self._retry_at = 0.0
        self._failures = 0
        self._is_doubted = False
        self._refresh: asyncio.Task[None] | None = None

    @property
    def malformed(self) -> Mapping[str, str]:
        """Rows of the last answer that could not be read, and why."""
        return MappingProxyType(self._malformed)

    @property
    def refresh_seconds(self) -> float:
        """How old the list may get at present before it is read again."""
        return self._refresh_seconds

    def age_seconds(self) -> float | None:
        """Seconds since the last good answer, or since the first question if there was none."""
        since = self._first_asked_at if self._answered_at is None else self._answered_at
        return None if since is None else _now() - since

    def known(self) -> Mapping[str, MarketRules]:
        """The last good rules, or nothing; never waits. Starts a refresh when one is due."""
        if self._is_due():
            self._start()
        return self._rules

    async def rules(self) -> Mapping[str, MarketRules]:
        """The last good rules; waits only where there never was an answer.

        Raises:
            VenueUnavailable: there never was an answer, and none came within the bound.
        """
        if known := self.known():
            return known
        await self._wait(self._first_answer_seconds)
        if not self._rules:
            raise VenueUnavailable("The venue's list of markets could not be had yet")
        return self._rules

    async def fresh(self) -> Mapping[str, MarketRules]:
        """Rules that were asked for a few seconds ago at most, or the last good ones after a wait.

        Asks no oftener than that either, also where the venue fails: what a refused order shows
        to be out of date is asked for by `doubt`.

        Raises:
            VenueUnavailable: there never was an answer, and none came within the bound.
        """
        deadline = _now() + FRESH_ANSWER_SECONDS
        await self._wait(FRESH_ANSWER_SECONDS)  # what is under way may have been asked long before
        if self._refresh is None and not self._was_asked_just_now():
            self._start()
            await self._wait(deadline - _now())
        return await self.rules()

    def doubt(self) -> None:
        """The venue refused an order by other rules than these: refresh at once."""
        self._is_doubted = True
        if self._refresh is None:
            self._start()

    async def close(self) -> None:
        """Abandon what is under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _is_due(self) -> bool:
        if self._refresh is not None or _now() < self._retry_at:
            return False
        is_old = self._answered_at is None or _now() - self._answered_at >= self._refresh_seconds
        return is_old or self._is_doubted

    def _was_asked_just_now(self) -> bool:
        return self._asked_at is not None and _now() - self._asked_at < self._fresh_seconds

    def _start(self) -> None:
        self._asked_at = _now()
        if self._first_asked_at is None:
            self._first_asked_at = self._asked_at
        self._is_doubted = False
        self._refresh = asyncio.create_task(self._read())

    async def _wait(self, seconds: float) -> None:
        if self._refresh is not None and seconds > 0:
            await asyncio.wait({self._refresh}, timeout=seconds)

    async def _read(self) -> None:
        try:
            listed = await self._ask()
        except _FAILURES as failure:
            self._note_failure(f"{type(failure).__name__}: {failure}")
        else:
            if listed.rules:
                self._take(listed)
            else:
                self._note_failure("the list of markets has no usable row")
        finally:
            self._refresh = None

    def _note_failure(self, error: str) -> None:
        self._failures += 1
        wait = min(RETRY_SECONDS_FIRST * 2 ** min(self._failures - 1, 20), RETRY_SECONDS_MAX)
        self._retry_at = _now() + wait
        age = self.age_seconds() or 0.0
        write = _log.error if age > ALARM_SECONDS else _log.warning
        write(
            "market_rules.refresh_failed",
            venue=str(self._key),
            error=error,
            age_seconds=round(age),
            known=len(self._rules),
        )

    def _take(self, listed: ListedMarkets) -> None:
        self._failures, self._retry_at, self._answered_at = 0, 0.0, _now()
        for symbol, reason in listed.malformed.items():
            if self._malformed.get(symbol) != reason:
                _log.warning(
                    "market_rules.malformed", venue=str(self._key), symbol=symbol, reason=reason
                )
        kept = {
            symbol: rules if symbol in listed.malformed else _gone(rules)
            for symbol, rules in self._rules.items()
            if symbol not in listed.rules
        }
        for symbol in kept:
            before = self._rules[symbol].status
            if symbol not in listed.malformed and before is not MarketStatus.HALTED:
                _log.warning("market_rules.delisted", venue=str(self._key), symbol=symbol)
        known = {**kept, **listed.rules}
        self._note_stopped(known)
        self._malformed = dict(listed.malformed)
        self._rules = MappingProxyType(known)

    def _note_stopped(self, known: Mapping[str, MarketRules]) -> None:
        """Read the list again soon while a market may come back: a pause, a list cut short."""
        for symbol, rules in known.items():
            if rules.active:
                self._stopped_at.pop(symbol, None)
            elif symbol in self._rules and self._rules[symbol].active:
                self._stopped_at[symbol] = _now()
        is_awaited = any(
            _now() - stopped_at < RECHECK_LENGTH_SECONDS for stopped_at in self._stopped_at.values()
        )
        self._refresh_seconds = RECHECK_SECONDS if is_awaited else REFRESH_SECONDS


def _gone(rules: MarketRules) -> MarketRules:
    return replace(rules, active=False, status=MarketStatus.HALTED, is_unlisted=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
