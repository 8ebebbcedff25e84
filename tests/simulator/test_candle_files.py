"""Candle files: any number a symbol, any usual unit of time, and no bad row taken in silence."""

import gzip
import logging
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from simulator.market.candle_files import CandleSeries, MarketDataUnusableError
from simulator.market.candles import DAY_MS, MINUTE_MS, Scale
from simulator.market.replay import load_folder

START_MS = 20_500 * DAY_MS
HEADER = "time_ms,open,high,low,close,volume"
ROW = "100,101,99,100.5,2"


def write(folder: Path, name: str, *rows: str, header: str | None = HEADER) -> None:
    text = "\n".join([*([header] if header else []), *rows]) + "\n"
    content = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (folder / name).write_bytes(content)


def rows(first_ms: int, number: int, cells: str = ROW) -> list[str]:
    return [f"{first_ms + index * MINUTE_MS},{cells}" for index in range(number)]


def load(folder: Path) -> CandleSeries:
    [series] = load_folder(folder)
    return series


def refusal(folder: Path) -> str:
    with pytest.raises(MarketDataUnusableError) as refused:
        load_folder(folder)
    return str(refused.value)


def test_several_files_of_one_symbol_are_one_series(tmp_path: Path) -> None:
    for day in (2, 0, 1):
        write(tmp_path, f"BTC-USD-1m-{day}.csv.gz", *rows(START_MS + day * DAY_MS, 1_440))
    write(tmp_path, "BTC-USD-1m-plain.csv", *rows(START_MS + 9 * DAY_MS, 10))

    series = load(tmp_path)

    assert len(series.times) == 3 * 1_440 + 10
    assert series.first_ms == START_MS
    assert series.end_ms == START_MS + 9 * DAY_MS + 10 * MINUTE_MS
    assert (series.times[1:] > series.times[:-1]).all()


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_unit_of_time_is_recognised(tmp_path: Path, unit: int) -> None:
    instants = [START_MS // 1000 * unit, (START_MS // 1000 + 60) * unit]
    write(tmp_path, "BTC-USD-1m-x.csv", *(f"{instant},{ROW}" for instant in instants))

    assert load(tmp_path).times.tolist() == [START_MS, START_MS + MINUTE_MS]


@pytest.mark.parametrize("zone", ["Z", "+00:00", ""])
def test_iso_times_are_recognised(tmp_path: Path, zone: str) -> None:
    start = datetime.fromtimestamp(START_MS / 1000, UTC)
    text = start.strftime("%Y-%m-%dT%H:%M:%S") + zone
    write(tmp_path, "BTC-USD-1m-x.csv", f"{text},{ROW}", header=None)

    assert load(tmp_path).times.tolist() == [START_MS]


def test_tiny_prices_and_huge_volumes_are_exact(tmp_path: Path) -> None:
    write(
        tmp_path,
        "SATS-USD-1m-x.csv",
        f"{START_MS},0.000000001,0.0000000010001,0.0000000009999,0.000000001,"
        "1234567890123.12345678",
        f"{START_MS + MINUTE_MS},1e-9,1E-9,1e-9,1e-9,1e12",
    )

    series = load(tmp_path)

    assert series.scale == Scale(13, 8)
    assert series.values.tolist() == [
        [10_000, 10_001, 9_999, 10_000, 123456789012312345678],
        [10_000, 10_000, 10_000, 10_000, 10**20],
    ]
    assert series.scale.price(10_001) == Decimal("0.0000000010001")


def test_files_of_different_precision_share_one_scale(tmp_path: Path) -> None:
    write(tmp_path, "A-USD-1m-1.csv", f"{START_MS},1,1,1,1,1")
    write(tmp_path, "A-USD-1m-2.csv", f"{START_MS + MINUTE_MS},1,1.0000000001,1,1.0000000001,1")

    series = load(tmp_path)

    assert series.values[:, 3].tolist() == [10**10, 10**10 + 1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{START_MS},100,101,99,100.5", "it has 5 cells, not 6"),
        (f"{START_MS},100,101,99,100.5,2,7", "it has 7 cells, not 6"),
        (f"{START_MS},100,101,0,100.5,2", "a price is not more than 0"),
        (f"{START_MS},100,101,-1,100.5,2", "a price is not more than 0"),
        (f"{START_MS},100,99,101,100.5,2", "the high is below the low"),
        (f"{START_MS},102,101,99,100.5,2", "open and close are not between low and high"),
        (f"{START_MS},100,101,99,98,2", "open and close are not between low and high"),
        (f"{START_MS},100,101,99,100.5,-2", "the volume is less than 0"),
        (f"{START_MS},100,,99,100.5,2", "high '' is not a number"),
        (f"{START_MS},100,NaN,99,100.5,2", "high 'NaN' is not a number"),
        (f"{START_MS},100,inf,99,100.5,2", "high 'inf' is not a number"),
        (f"{START_MS},100,1e18,99,100.5,2", "high '1e18' has too many digits"),
        (f"{START_MS},100,101,99,100.5,1e-19", "volume '1e-19' has too many digits"),
        (f"{START_MS + 1},{ROW}", "is not the beginning of a minute"),
        (f"{START_MS // 1000},{ROW}", "its time is in seconds, those before are in milliseconds"),
        (f"12345,{ROW}", "'12345' is not a time from 2001 to 2099"),
        (f"-5,{ROW}", "'-5' is not a time"),
        (f"yesterday,{ROW}", "'yesterday' is not a time"),
        (HEADER, "'time_ms' is not a time"),
    ],
)
def test_bad_row_is_refused_with_file_row_and_reason(tmp_path: Path, row: str, reason: str) -> None:
    write(tmp_path, "BTC-USD-1m-x.csv.gz", *rows(START_MS + MINUTE_MS, 2), row)

    message = refusal(tmp_path)

    assert message.startswith("BTC-USD-1m-x.csv.gz, row 4: ")
    assert reason in message


def test_repeated_rows_are_taken_once_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "BTC-USD-1m-1.csv", *rows(START_MS, 10))
    write(tmp_path, "BTC-USD-1m-2.csv", *rows(START_MS + 5 * MINUTE_MS, 10), "")

    with caplog.at_level(logging.WARNING):
        series = load(tmp_path)

    assert len(series.times) == 15
    assert "BTC-USD: 5 rows of the candle files repeat another one" in caplog.text


def test_contradicting_rows_are_refused_with_both_places(tmp_path: Path) -> None:
    write(tmp_path, "BTC-USD-1m-1.csv", *rows(START_MS, 10))
    write(tmp_path, "BTC-USD-1m-2.csv", *rows(START_MS + 9 * MINUTE_MS, 3, "100,101,99,100.4,2"))

    message = refusal(tmp_path)

    assert message.startswith("BTC-USD-1m-2.csv, row 2: another candle for 2026-02-16T00:09:00")
    assert message.endswith("than in BTC-USD-1m-1.csv, row 11")


def test_a_silence_of_weeks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "BTC-USD-1m-x.csv", *rows(START_MS, 2), *rows(START_MS + 40 * DAY_MS, 2))

    assert "BTC-USD has no candle for more than 28 days after 2026-02-16T00:01" in refusal(tmp_path)


def test_broken_and_empty_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "BTC-USD-1m-x.csv.gz"
    whole = gzip.compress("\n".join(rows(START_MS, 1_000)).encode())
    for content in (whole[:-100], b"not gzip", whole[:50] + b"\x00" * 50 + whole[100:]):
        path.write_bytes(content)
        assert "the file is broken" in refusal(tmp_path)
    path.write_bytes(gzip.compress(b"\xff\xfe\x00"))
    assert "BTC-USD-1m-x.csv.gz, row 1: the file is broken" in refusal(tmp_path)
    write(tmp_path, path.name)
    assert refusal(tmp_path) == "BTC-USD-1m-x.csv.gz is empty"


def test_the_process_says_which_row_it_refuses(tmp_path: Path) -> None:
    write(tmp_path, "BTC-USD-1m-x.csv", *rows(START_MS, 2), f"{START_MS},1,1,0,1,1")

    command = (sys.executable, "-m", "simulator", "--port", "0", "--market-data-dir")

    done = subprocess.run(  # noqa: S603 (our own module)
        [*command, str(tmp_path), "--database", str(tmp_path / "simulator.sqlite3")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert done.stderr.strip() == ("simulator: BTC-USD-1m-x.csv, row 4: a price is not more than 0")
