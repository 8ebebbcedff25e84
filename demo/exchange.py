"""The exchange simulator, as an outsider sees it: its clock, its candles and its own books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from demo.books import Fill
from demo.failures import DemoFailed
from demo.scenario import DEPOSIT, FEE_TIER
from demo.wire import Wire
from domain.strategies.apex import BAR

_CANDLES = "/api/v3/brokerage/market/products/{symbol}/candles"
_LOOK_BACK_BARS = 12


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """An account at the exchange, with its keys."""

    account_id: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Books:
    """What the exchange itself has written down of one account."""

    fills: tuple[Fill, ...]
    orders: int
    balances: dict[str, Decimal]


class Exchange:
    """Control of the simulator, and its public candles."""

    def __init__(self, base_url: str) -> None:
        self._wire = Wire(base_url)
        self._newest: dict[str, datetime] = {}

    def open_account(self) -> VenueAccount:
        """Take on a client with its deposit."""
        opened = self._ask(
            "POST",
            "/control/accounts",
            {"name": "demonstration", "balances": {"USD": DEPOSIT}, "fee_tier": FEE_TIER},
        )
        return VenueAccount(opened["account_id"], opened["api_key"], opened["api_secret"])

    def now(self) -> datetime:
        """Where the clock stands."""
        return datetime.fromisoformat(self._ask("GET", "/control/clock")["now"])

    def advance(self) -> datetime:
        """Play one minute; returns where the clock stands then."""
        played = self._ask("POST", "/control/advance", {"minutes": 1})
        return datetime.fromisoformat(played["now"])

    def newest_bars(self, symbols: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Open time of the newest closed bar of each market."""
        newest = {}
        for symbol in symbols:
            if self._newest.get(symbol) != BAR.floor(now) - BAR.length:
                self._newest[symbol] = self._newest_bar(symbol, now)
            newest[symbol] = self._newest[symbol]
        return newest

    def books(self, account: VenueAccount) -> Books:
        """Everything of one account."""
        found = self._ask("GET", "/control/dump", api_key=account.api_key)["accounts"]
        if len(found) != 1:
            raise DemoFailed("The exchange does not know the account any more")
        (one,) = found
        return Books(
            fills=tuple(Fill.from_dump(fill) for fill in one["fills"]),
            orders=len(one["orders"]),
            balances={
                currency: Decimal(balance["total"]) for currency, balance in one["balances"].items()
            },
        )

    def close(self) -> None:
        """Close the connection."""
        self._wire.close()

    def _newest_bar(self, symbol: str, now: datetime) -> datetime:
        closed = BAR.floor(now)
        listed = self._ask(
            "GET",
            _CANDLES.format(symbol=symbol),
            granularity="FIVE_MINUTE",
            start=int((closed - BAR.length * _LOOK_BACK_BARS).timestamp()),
            end=int(closed.timestamp()) - 1,
        )["candles"]
        if not listed:
            raise DemoFailed(f"The market of {symbol} has no candle before {now:%H:%M}")
        latest = max(int(candle["start"]) for candle in listed)
        return datetime.fromtimestamp(latest, now.tzinfo)

    def _ask(self, method: str, path: str, body: object = None, **query: object) -> Any:
        answer = self._wire.call(method, path, body, query=query)
        if not answer.is_success:
            raise DemoFailed(f"The exchange refused {method} {path}: {answer.body}")
        return answer.body
