"""What an account is worth: one rule for gates, views, streams, snapshots and reports.

A holding is priced by its market in the account's currency. A stablecoin that has no such market
counts at par with the currency it is pegged to. What trades only against a stablecoin is priced
through it. Everything else (dust, staked, delisted, other fiat) is named as unpriced and left out,
so the sum is a lower bound; nothing is ever priced at zero or at what it was bought for.

In SQL the same rule is the function `market_price`; a test proves the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from domain.money import ONE, ZERO

PRICE_AGE_MAX = timedelta(minutes=15)
"""A price that its venue's clock has left so far behind is no price any more."""

_ENTRY = re.compile(r"([A-Z0-9]{1,20})=([A-Z0-9]{2,10})")


@dataclass(frozen=True, slots=True)
class Stablecoins:
    """Coins that count at par with a currency: pairs of coin and currency, the preferred first."""

    pegs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Stablecoins:
        """Read `USDC=USD,EURC=EUR`; empty is none.

        Raises:
            ValueError: an entry has another form, or a coin is named twice.
        """
        entries = [part.strip().upper() for part in text.split(",") if part.strip()]
        found = [_ENTRY.fullmatch(entry) for entry in entries]
        pegs = tuple((match[1], match[2]) for match in found if match)
        if len(pegs) != len(entries) or any(coin == currency for coin, currency in pegs):
            raise ValueError("Name stablecoins like USDC=USD,EURC=EUR")
        if len({coin for coin, _ in pegs}) != len(pegs):
            raise ValueError("A stablecoin has one currency")
        return cls(pegs)

    def of(self, currency: str) -> tuple[str, ...]:
        """Coins at par with a currency, the preferred first."""
        return tuple(coin for coin, peg in self.pegs if peg == currency)

    def __str__(self) -> str:
        return ",".join(f"{coin}={currency}" for coin, currency in self.pegs)


DEFAULT_STABLECOINS = Stablecoins.parse(
    "USDC=USD,USDT=USD,DAI=USD,PYUSD=USD,USDS=USD,GUSD=USD,PAX=USD,EURC=EUR"
)


@dataclass(frozen=True, slots=True)
class AccountValue:
    """What an account is worth in its own currency.

    Attributes:
        cash: what it holds of that currency.
        equity: cash plus the market value of everything else that has a price.
        unpriced: currencies held that have no price and are left out, sorted.
    """

    cash: Decimal
    equity: Decimal
    unpriced: tuple[str, ...] = ()

    @property
    def is_lower_bound(self) -> bool:
        """Whether something held is left out of equity."""
        return bool(self.unpriced)


def markets_pricing(currency: str, into: str, stablecoins: Stablecoins) -> Iterator[str]:
    """Symbols whose prices `price_of` may need, the decisive one first."""
    if currency == into:
        return
    yield f"{currency}-{into}"
    coins = stablecoins.of(into)
    if currency not in coins:
        for coin in coins:
            yield f"{currency}-{coin}"
            yield f"{coin}-{into}"


def price_of(
    currency: str, into: str, prices: Mapping[str, Decimal], stablecoins: Stablecoins
) -> Decimal | None:
    """The price of one unit of a currency in another; None where there is none.

    Args:
        currency: what is held.
        into: the account's currency.
        prices: last prices by symbol; one that is not positive counts as none.
        stablecoins: what counts at par.
    """
    if currency == into:
        return ONE
    if (direct := _positive(prices, f"{currency}-{into}")) is not None:
        return direct
    coins = stablecoins.of(into)
    if currency in coins:
        return ONE
    for coin in coins:
        if (crossed := _positive(prices, f"{currency}-{coin}")) is not None:
            par = _positive(prices, f"{coin}-{into}")
            return crossed * (ONE if par is None else par)
    return None


def value(
    holdings: Mapping[str, Decimal],
    currency: str,
    prices: Mapping[str, Decimal],
    stablecoins: Stablecoins = DEFAULT_STABLECOINS,
) -> AccountValue:
    """Value a spot account.

    Args:
        holdings: totals by currency, held parts included.
        currency: the account's.
        prices: last prices by symbol.
        stablecoins: what counts at par.
    """
    priced = {
        held: price_of(held, currency, prices, stablecoins)
        for held, total in holdings.items()
        if total
    }
    return value_at(holdings, currency, priced)


def value_at(
    holdings: Mapping[str, Decimal], currency: str, priced: Mapping[str, Decimal | None]
) -> AccountValue:
    """Value a spot account whose holdings' prices, by currency, are known already."""
    equity = ZERO
    unpriced = []
    for held, total in holdings.items():
        if not total:
            continue
        price = priced.get(held)
        if price is None:
            unpriced.append(held)
        else:
            equity += total * price
    return AccountValue(holdings.get(currency, ZERO), equity, tuple(sorted(unpriced)))


def flow_tolerance(precision: Decimal | None) -> Decimal:
    """How far two totals of a currency may differ without anything having come or gone.

    Venues settle fees and partial fills with more digits than they list balances with, so the two
    differ by up to one unit of the currency's precision on either side.

    Args:
        precision: the smallest amount of the currency that the venue's metadata names; None where
            it is not known, then amounts must be equal.
    """
    return ZERO if precision is None or precision <= ZERO else precision


def _positive(prices: Mapping[str, Decimal], symbol: str) -> Decimal | None:
    price = prices.get(symbol)
    return price if price is not None and price > ZERO else None
