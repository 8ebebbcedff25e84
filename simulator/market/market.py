"""Which market to run: candle files or a seed, which symbols, and where it starts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import numpy as np

from simulator.config import SimulatorConfig
from simulator.engine.rules import ProductRules, rules_for
from simulator.exact import decimals_of
from simulator.market.candle_files import CandleSeries
from simulator.market.candles import (
    CLOSE,
    MINUTE_MS,
    OPEN,
    VOLUME,
    DaySource,
    Scale,
    rescaled,
    units_of,
)
from simulator.market.feed import Listing, MarketFeed
from simulator.market.replay import ReplayedMarket, default_start_ms, load_folder
from simulator.market.seeded import Profile, SeededMarket

Source = Literal["replay", "seeded"]
DEFAULT_SEED: Final = 7

# symbol: (typical price, turnover a minute), in US dollars
SEEDED_SYMBOLS: Final[Mapping[str, tuple[float, float]]] = {
    "BTC-USD": (60_000.0, 400_000.0),
    "ETH-USD": (3_000.0, 250_000.0),
    "SOL-USD": (150.0, 120_000.0),
    "LTC-USD": (85.0, 40_000.0),
    "XRP-USD": (2.0, 90_000.0),
    "DOGE-USD": (0.2, 70_000.0),
}
# Made when asked for by name: coins of which a dollar buys millions, and billions.
_CHEAP_SYMBOLS: Final[Mapping[str, tuple[float, float]]] = {
    "PEPE-USD": (0.00001, 60_000.0),
    "SATS-USD": (0.0000000012, 30_000.0),
}
_PROFILES: Final = {**SEEDED_SYMBOLS, **_CHEAP_SYMBOLS}
_UNKNOWN_SYMBOL: Final = (100.0, 50_000.0)


@dataclass(frozen=True)
class Market:
    """A market ready to run.

    Attributes:
        identity: What tells it from another market; a change of it starts a new epoch.
        start_ms: The first instant of its clock.
    """

    source: Source
    seed: int
    identity: str
    start_ms: int
    rules: Mapping[str, ProductRules]
    feed: MarketFeed


def build_market(config: SimulatorConfig, remembered: Mapping[str, str]) -> Market:
    """Build the market the settings ask for.

    Args:
        config: The settings.
        remembered: Facts stored at an earlier start, which stand in for unset settings.

    Raises:
        MarketDataUnusableError: The candle folder cannot be replayed as configured.
    """
    seed = config.seed if config.seed is not None else int(remembered.get("seed", DEFAULT_SEED))
    files: list[CandleSeries] = []
    sources: dict[str, DaySource] = {}
    if config.market_data_dir is not None:
        files = load_folder(config.market_data_dir, config.symbols)
        parts = [file.identity for file in files]
        rules = {file.symbol: _rules_of(file) for file in files}
        sources |= {file.symbol: _replayed(file, seed, rules[file.symbol]) for file in files}
    else:
        parts = sorted(config.symbols or SEEDED_SYMBOLS)
        rules = {symbol: _seeded_rules(symbol) for symbol in parts}
        sources |= {symbol: _seeded(symbol, seed, rules[symbol]) for symbol in parts}
    source: Source = "replay" if files else "seeded"
    identity = json.dumps([source, seed, parts])
    start_ms = _start_ms(config, remembered, identity, files)
    return Market(source, seed, identity, start_ms, rules, _feed(sources, rules))


def _start_ms(
    config: SimulatorConfig, remembered: Mapping[str, str], identity: str, files: list[CandleSeries]
) -> int:
    start = config.start
    if isinstance(start, datetime):
        start_ms = int(start.timestamp() * 1000)
    elif start is not None and files:
        start_ms = min(file.first_ms for file in files) + start * MINUTE_MS
    elif remembered.get("identity") == identity:
        start_ms = int(remembered["start_ms"])
    elif files:
        start_ms = default_start_ms(files)
    else:
        start_ms = int(datetime.now(UTC).timestamp() * 1000)
    return start_ms // MINUTE_MS * MINUTE_MS


def _profile(price: Decimal, turnover: float, rules: ProductRules, scale: Scale) -> Profile:
    return Profile(
        float(price),
        turnover,
        units_of(rules.price_increment, scale.price_digits),
        units_of(rules.base_increment, scale.volume_digits),
        scale,
    )


def _seeded_rules(symbol: str) -> ProductRules:
    price, _ = _PROFILES.get(symbol, _UNKNOWN_SYMBOL)
    return rules_for(symbol, Decimal(str(price)))


def _seeded(symbol: str, seed: int, rules: ProductRules) -> SeededMarket:
    price, turnover = _PROFILES.get(symbol, _UNKNOWN_SYMBOL)
    scale = _finer(Scale(), rules)
    return SeededMarket(seed, symbol, _profile(Decimal(str(price)), turnover, rules, scale))


def _rules_of(file: CandleSeries) -> ProductRules:
    return rules_for(file.symbol, file.scale.price(int(file.values[0, OPEN])))


def _finer(scale: Scale, rules: ProductRules) -> Scale:
    """Return units in which increments are whole as well."""
    return Scale(
        max(scale.price_digits, decimals_of(rules.price_increment)),
        max(scale.volume_digits, decimals_of(rules.base_increment)),
    )


def _replayed(file: CandleSeries, seed: int, rules: ProductRules) -> ReplayedMarket:
    scale = _finer(file.scale, rules)
    file = replace(file, values=rescaled(file.values, file.scale, scale), scale=scale)
    price = scale.price(int(file.values[0, CLOSE]))
    prices = file.values[:, CLOSE].astype(float) / 10.0**scale.price_digits
    volumes = file.values[:, VOLUME].astype(float) / 10.0**scale.volume_digits
    turnover = float(np.mean(prices * volumes))
    return ReplayedMarket(file, seed, _profile(price, max(turnover, 1.0), rules, scale))


def _feed(sources: Mapping[str, DaySource], rules: Mapping[str, ProductRules]) -> MarketFeed:
    return MarketFeed(
        {
            symbol: Listing(
                source,
                units_of(rules[symbol].price_increment, source.scale.price_digits),
                units_of(rules[symbol].base_increment, source.scale.volume_digits),
            )
            for symbol, source in sources.items()
        }
    )
