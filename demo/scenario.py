"""The named markets that the demonstration can show.

Nothing about the rules is changed: the same APEX, the same default settings. What is chosen is the
market, its hour and the account's fee tier, because at Coinbase's retail fees APEX almost never
trades. The hours were chosen for having trades, not for their outcome: both end with a small loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

FEE_TIER: Final = "vip"
FEE_TIER_TITLE: Final = "VIP 4: taker 0.10 %, maker 0.06 %"
DEPOSIT: Final = "10000"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A slice of a market.

    Attributes:
        name: short and stable, for the report.
        title: for people.
        source: where the prices come from.
        pairs: what the bot may trade.
        start: where the venue's clock stands when the stack starts.
        minutes: how long the bot runs, in venue time.
        market: settings of the simulator.
    """

    name: str
    title: str
    source: str
    pairs: tuple[str, ...]
    start: datetime
    minutes: int
    market: Mapping[str, str]

    @property
    def environment(self) -> Mapping[str, str]:
        """Settings of the stack that shows this slice."""
        return {
            "NIJA_VENUES": "simulated",
            "NIJA_SIMULATOR_MODE": "step",
            "NIJA_SIMULATOR_FEE_TIER": FEE_TIER,
            "NIJA_REPLAY_START": self.start.isoformat(),
            # The market waits for the watcher, so the watcher need not wait for the market.
            "NIJA_WATCH_INTERVAL_SECONDS": "0.03",
            **self.market,
        }


def recorded(folder: Path) -> Scenario:
    """Real candles of Coinbase, from the folder of candle files."""
    return Scenario(
        name="coinbase-2018-04-05-0840",
        title="Coinbase, 5 April 2018, 08:40 to 10:10 UTC",
        source="recorded one-minute candles",
        pairs=("BTC-USD", "ETH-USD", "LTC-USD"),
        start=datetime(2018, 4, 5, 8, 40, tzinfo=UTC),
        minutes=90,
        market={
            "NIJA_MARKET_DATA_DIR": str(folder.expanduser().resolve()),
            "NIJA_SIMULATOR_SYMBOLS": "BTC-USD,ETH-USD,LTC-USD",
            "NIJA_SIMULATOR_SEED": "7",
        },
    )


def seeded() -> Scenario:
    """The simulator's own market, a pure function of its seed."""
    return Scenario(
        name="seed-7-2026-03-25-0200",
        title="made-up market of seed 7, 25 March 2026, 02:00 to 03:30 UTC",
        source="generated from a seed",
        pairs=("BTC-USD", "ETH-USD", "LTC-USD"),
        start=datetime(2026, 3, 25, 2, 0, tzinfo=UTC),
        minutes=90,
        market={"NIJA_SIMULATOR_SEED": "7"},
    )


def chosen(market_data_dir: Path | None) -> Scenario:
    """Recorded candles where a folder of them is given, else the seeded market."""
    return seeded() if market_data_dir is None else recorded(market_data_dir)
