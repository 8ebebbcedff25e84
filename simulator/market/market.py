"""Which market to run: candle files or a seed, which symbols, and where it starts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, Literal

import numpy as np

from simulator.config import SimulatorConfig
from simulator.engine.rules import ProductRules, rules_for
from simulator.market.candles import CLOSE, MINUTE_MS, OPEN, UNITS, VOLUME, DaySource, units_of
from simulator.market.feed import Listing, MarketFeed
from simulator.market.replay import CandleFile, ReplayedMarket, default_start_ms, load_folder
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
    files: list[CandleFile] = []
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
    config: SimulatorConfig, remembered: Mapping[str, str], identity: str, files: list[CandleFile]
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


def _profile(price: float, turnover: float, rules: ProductRules) -> Profile:
    return Profile(price, turnover, units_of(rules.price_increment), units_of(rules.base_increment))


def _seeded_rules(symbol: str) -> ProductRules:
    price, _ = SEEDED_SYMBOLS.get(symbol, _UNKNOWN_SYMBOL)
    return rules_for(symbol, Decimal(price))


def _seeded(symbol: str, seed: int, rules: ProductRules) -> SeededMarket:
    price, turnover = SEEDED_SYMBOLS.get(symbol, _UNKNOWN_SYMBOL)
    return SeededMarket(seed, symbol, _profile(price, turnover, rules))


def _rules_of(file: CandleFile) -> ProductRules:
    return rules_for(file.symbol, Decimal(int(file.values[0, OPEN])) / UNITS)


def _replayed(file: CandleFile, seed: int, rules: ProductRules) -> ReplayedMarket:
    prices = file.values[:, CLOSE] / UNITS
    turnover = float(np.mean(prices * (file.values[:, VOLUME] / UNITS)))
    profile = _profile(float(prices[0]), max(turnover, 1.0), rules)
    return ReplayedMarket(file, seed, profile)


def _feed(sources: Mapping[str, DaySource], rules: Mapping[str, ProductRules]) -> MarketFeed:
    return MarketFeed(
        {
            symbol: Listing(
                source,
                units_of(rules[symbol].price_increment),
                units_of(rules[symbol].base_increment),
            )
            for symbol, source in sources.items()
        }
    )
