import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from simulator.config import read_config
from simulator.market.candle_files import CandleSeries, MarketDataUnusableError
from simulator.market.candles import (
    CLOSE,
    DAY_MS,
    HIGH,
    LOW,
    MINUTE_MS,
    OPEN,
    VOLUME,
    IntArray,
)
from simulator.market.market import build_market
from simulator.market.replay import ReplayedMarket, default_start_ms, load_folder
from simulator.market.seeded import FIRST_DAY, LAST_DAY, Profile, SeededMarket

PROFILE = Profile(price=60_000, turnover=400_000, price_step=10**8 // 100, volume_step=1)
DAY = 20_500
START_MS = DAY * DAY_MS


def market(seed: int = 1, symbol: str = "BTC-USD") -> SeededMarket:
    return SeededMarket(seed, symbol, PROFILE)


def write_candles(folder: Path, name: str, opens: Sequence[int], price: str = "100") -> None:
    rows = [f"{time_ms},{price},{price},{price},{price},2" for time_ms in opens]
    text = "\n".join(["time_ms,open,high,low,close,volume", *rows]) + "\n"
    (folder / name).write_bytes(gzip.compress(text.encode()))


def minutes(first_ms: int, number: int) -> list[int]:
    return [first_ms + index * MINUTE_MS for index in range(number)]


def assert_well_formed(rows: IntArray) -> None:
    assert (rows[:, LOW] > 0).all()
    assert (rows[:, LOW] <= rows[:, [OPEN, CLOSE]].min(axis=1)).all()
    assert (rows[:, HIGH] >= rows[:, [OPEN, CLOSE]].max(axis=1)).all()
    assert (rows[:, VOLUME] > 0).all()
    assert (rows[:, :VOLUME] % PROFILE.price_step == 0).all()


def test_seeded_market_is_a_pure_function_of_seed_symbol_and_day() -> None:
    one, other = market(), market()
    other.day(DAY + 3)

    assert (one.day(DAY) == other.day(DAY)).all()
    assert (one.day(DAY) != market(seed=2).day(DAY)).any()
    assert (one.day(DAY) != market(symbol="ETH-USD").day(DAY)).any()


def test_seeded_market_is_well_formed_and_continuous_over_midnight() -> None:
    today, tomorrow = market().day(DAY), market().day(DAY + 1)

    assert_well_formed(today)
    assert (today[1:, OPEN] == today[:-1, CLOSE]).all()
    assert tomorrow[0, OPEN] == today[-1, CLOSE]


def test_seeded_market_stays_in_sight_of_its_typical_price() -> None:
    closes = [market().day(day)[-1, CLOSE] / 10**8 for day in range(FIRST_DAY, LAST_DAY, 90)]

    assert 60_000 / 5 < min(closes) < max(closes) < 60_000 * 5


def test_seeded_market_ends_outside_its_years() -> None:
    assert not market().day(FIRST_DAY - 1).any()
    assert not market().day(LAST_DAY).any()


def test_seeded_market_has_trends_that_last_for_hours() -> None:
    closes = np.concatenate([market().day(DAY + n)[:, CLOSE] for n in range(20)])
    hours = np.diff(np.log(closes[::60].astype(float)))

    same_direction = (hours[1:] * hours[:-1] > 0).mean()
    assert same_direction > 0.53


def test_replay_shows_the_file_and_continues_on_both_sides(tmp_path: Path) -> None:
    opens = minutes(START_MS + 600 * MINUTE_MS, 100)
    opens.remove(START_MS + 650 * MINUTE_MS)
    write_candles(tmp_path, "coinbase-BTC-USD-1m-x.csv.gz", opens, price="123.45")
    [file] = load_folder(tmp_path)

    replayed = ReplayedMarket(file, 1, PROFILE)
    rows = replayed.day(DAY)

    assert rows[600].tolist() == [12_345_000_000] * 4 + [200_000_000]
    assert rows[650].tolist() == [0] * 5
    assert rows[599, CLOSE] == 12_345_000_000
    assert rows[700, OPEN] == 12_345_000_000
    assert_well_formed(np.vstack([rows[:600], rows[700:]]))
    assert replayed.day(DAY + 1)[0, OPEN] == rows[-1, CLOSE]
    assert replayed.day(DAY - 1)[-1, CLOSE] == rows[0, OPEN]


def test_replay_takes_the_spot_symbols_that_share_a_clock(tmp_path: Path) -> None:
    write_candles(tmp_path, "coinbase-BTC-USD-1m-x.csv.gz", minutes(START_MS, 10))
    write_candles(tmp_path, "coinbase-ETH-USD-1m-x.csv.gz", minutes(START_MS + 5 * MINUTE_MS, 10))
    write_candles(tmp_path, "coinbase-SOL-USD-1m-x.csv.gz", minutes(START_MS + DAY_MS, 10))
    write_candles(tmp_path, "BTC-PERP-1m-x.csv.gz", minutes(START_MS, 10))

    assert [file.symbol for file in load_folder(tmp_path)] == ["BTC-USD", "ETH-USD"]
    assert [file.symbol for file in load_folder(tmp_path, ["BTC-PERP"])] == ["BTC-PERP"]
    with pytest.raises(MarketDataUnusableError, match="do not share a clock"):
        load_folder(tmp_path, ["BTC-USD", "SOL-USD"])
    with pytest.raises(MarketDataUnusableError, match="no candle file for XRP-USD"):
        load_folder(tmp_path, ["XRP-USD"])


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MarketDataUnusableError, match=r"no spot candle file.* named like coinbase-BTC-USD-1m"
    ):
        load_folder(tmp_path)


@pytest.mark.parametrize("symbols", ["BTC", "BTC-USD,ETH/USD", "BTC-USD-X", "-USD"])
def test_what_is_no_symbol_makes_no_market(symbols: str) -> None:
    with pytest.raises(ValidationError, match="are named like BTC-USD"):
        read_config({"symbols": symbols})


def test_replay_starts_with_enough_history() -> None:
    times = np.array(minutes(START_MS, 5_000))
    file = CandleSeries("BTC-USD", times, np.ones((5_000, 5), dtype=np.int64))

    assert default_start_ms([file]) == START_MS + 321 * 5 * MINUTE_MS


def test_start_can_be_minutes_or_an_instant(tmp_path: Path) -> None:
    write_candles(tmp_path, "BTC-USD-1m-x.csv.gz", minutes(START_MS, 50))
    instant = datetime.fromtimestamp(START_MS / 1000 + 90, UTC)

    by_minutes = read_config({"market_data_dir": tmp_path, "start": "7"})
    by_instant = read_config({"market_data_dir": tmp_path, "start": instant.isoformat()})

    assert build_market(by_minutes, {}).start_ms == START_MS + 7 * MINUTE_MS
    assert build_market(by_instant, {}).start_ms == START_MS + MINUTE_MS


def test_unset_settings_are_taken_from_the_last_start() -> None:
    first = build_market(read_config({"seed": 9, "start": "2026-03-02T12:00:30Z"}), {})
    remembered = {"seed": "9", "identity": first.identity, "start_ms": str(first.start_ms)}

    again = build_market(read_config({}), remembered)

    assert (again.identity, again.start_ms) == (first.identity, first.start_ms)
