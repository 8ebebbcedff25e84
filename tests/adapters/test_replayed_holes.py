"""A replay with holes: minutes without trades do not exist, and nothing is made up for them."""

import gzip
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.venues.coinbase import CoinbaseMarketData
from domain.markets import Timeframe
from tests.support.simulator_process import Simulator, running_simulator

pytestmark = pytest.mark.integration

SYMBOL = "LTC-USD"
FIRST = datetime(2026, 2, 1, tzinfo=UTC)
COUNT = 2_000
# One long hole, and one of every third minute before it.
HOLES = {*range(1_000, 1_450), *range(400, 700, 3)}
NOW = FIRST + timedelta(minutes=1_460)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("candles")
    write_candles(folder / f"coinbase-{SYMBOL}-1m-2026-02-01.csv.gz")
    with running_simulator(
        NIJA_MARKET_DATA_DIR=str(folder), NIJA_REPLAY_START=NOW.isoformat()
    ) as simulator:
        yield simulator


def write_candles(path: Path) -> None:
    rows = ["time_ms,open,high,low,close,volume"]
    for minute in range(COUNT):
        if minute not in HOLES:
            opened = int((FIRST + timedelta(minutes=minute)).timestamp()) * 1000
            price = 100 + minute % 7
            rows.append(f"{opened},{price},{price + 1},{price - 1},{price},5")
    with gzip.open(path, "wt") as file:
        file.write("\n".join(rows) + "\n")


async def test_candles_since_skip_what_does_not_exist(replay: Simulator) -> None:
    data = CoinbaseMarketData(simulator_url=replay.url)
    try:
        now = (await data.clock()).now
        candles = await data.candles(SYMBOL, Timeframe.M1, since=FIRST, until=now)
        bars = await data.last_bars(SYMBOL, Timeframe.M1, count=300, until=now)
    finally:
        await data.close()

    minutes = [(candle.opened_at - FIRST) // timedelta(minutes=1) for candle in candles]
    last = (now - FIRST) // timedelta(minutes=1)
    assert minutes == [minute for minute in range(last) if minute not in HOLES]
    assert list(bars) == list(candles)[-300:]
