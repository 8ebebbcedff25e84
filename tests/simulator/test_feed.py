import numpy as np
import pytest

from simulator.market.candles import (
    COLUMNS,
    DAY_MS,
    DEFAULT_SCALE,
    MINUTE_MS,
    MINUTES_PER_DAY,
    IntArray,
    Scale,
)
from simulator.market.feed import Listing, MarketFeed
from simulator.market.seeded import Profile, SeededMarket

DAY = 20_500
NOW_MS = DAY * DAY_MS + 700 * MINUTE_MS
PROFILE = Profile(price=100, turnover=10_000, price_step=1_000_000, volume_step=1)


class MarketWithHole:
    """A seeded market without trades in some minutes of the day."""

    def __init__(self, hole: range) -> None:
        self._market = SeededMarket(1, "BTC-USD", PROFILE)
        self._hole = hole

    def day(self, day: int) -> IntArray:
        rows = self._market.day(day)
        if day == DAY:
            rows[list(self._hole)] = 0
        return rows

    @property
    def scale(self) -> Scale:
        return DEFAULT_SCALE


def feed(hole: range = range(0)) -> MarketFeed:
    return MarketFeed({"BTC-USD": Listing(MarketWithHole(hole), 1_000_000, 1)})


class MarketThatChanges:
    """The seeded market up to an instant, another one afterwards."""

    def __init__(self, change_ms: int) -> None:
        self._market = SeededMarket(1, "BTC-USD", PROFILE)
        self._change_ms = change_ms

    def day(self, day: int) -> IntArray:
        rows = self._market.day(day)
        minute = (self._change_ms - day * DAY_MS) // MINUTE_MS
        rows[max(minute, 0) :] *= 3
        return rows

    @property
    def scale(self) -> Scale:
        return DEFAULT_SCALE


@pytest.mark.parametrize("width", [1, 5, 60, 1440])
def test_the_future_changes_nothing_that_is_shown(width: int) -> None:
    listing = Listing(MarketThatChanges(NOW_MS), PROFILE.price_step, PROFILE.volume_step)
    real, changed = feed(), MarketFeed({"BTC-USD": listing})
    span = ("BTC-USD", width, NOW_MS - 2 * DAY_MS, 2**62)

    for now_ms in (NOW_MS, NOW_MS + 7_499):  # the first tick of the next minute is not out yet
        assert real.candles(*span, now_ms) == changed.candles(*span, now_ms)
        assert real.day_figures("BTC-USD", now_ms) == changed.day_figures("BTC-USD", now_ms)
        assert real.last_tick("BTC-USD", now_ms) == changed.last_tick("BTC-USD", now_ms)
    later_ms = NOW_MS + MINUTE_MS
    assert real.candles(*span, later_ms) != changed.candles(*span, later_ms)


def test_forming_candle_shows_only_what_has_happened() -> None:
    shown = feed()
    [final] = shown.candles("BTC-USD", 1, NOW_MS, NOW_MS, NOW_MS + MINUTE_MS)

    assert shown.candles("BTC-USD", 1, NOW_MS, NOW_MS, NOW_MS) == []
    [young] = shown.candles("BTC-USD", 1, NOW_MS, NOW_MS, NOW_MS + 7_500)
    assert young.open == young.high == young.low == young.close == final.open
    assert young.volume < final.volume
    [done] = shown.candles("BTC-USD", 1, NOW_MS, NOW_MS, NOW_MS + MINUTE_MS - 1)
    assert done == final


def test_last_tick_is_the_close_of_the_last_minute() -> None:
    shown = feed()
    [candle] = shown.candles("BTC-USD", 1, NOW_MS - MINUTE_MS, NOW_MS - 1, NOW_MS)

    assert shown.last_tick("BTC-USD", NOW_MS).price == candle.close


def test_silence_leaves_the_last_trade_and_no_candles() -> None:
    shown = feed(hole=range(600, 900))

    assert shown.candles("BTC-USD", 5, NOW_MS - 100 * MINUTE_MS, NOW_MS, NOW_MS) == []
    assert list(shown.ticks("BTC-USD", NOW_MS - 50 * MINUTE_MS, NOW_MS)) == []
    last = shown.last_tick("BTC-USD", NOW_MS)
    assert last.time_ms < DAY * DAY_MS + 600 * MINUTE_MS


def test_market_that_never_traded_has_no_last_trade() -> None:
    class Silence:
        def day(self, day: int) -> IntArray:
            return np.zeros((MINUTES_PER_DAY, COLUMNS), dtype=np.int64)

        @property
        def scale(self) -> Scale:
            return DEFAULT_SCALE

    silent = MarketFeed({"BTC-USD": Listing(Silence(), 1, 1)})

    with pytest.raises(LookupError):
        silent.last_tick("BTC-USD", NOW_MS)


def test_ticks_of_two_spans_are_those_of_the_whole() -> None:
    shown = feed()
    middle = NOW_MS + 22_500

    parts = [
        *shown.ticks("BTC-USD", NOW_MS, middle),
        *shown.ticks("BTC-USD", middle, NOW_MS + 3 * MINUTE_MS),
    ]

    assert parts == list(shown.ticks("BTC-USD", NOW_MS, NOW_MS + 3 * MINUTE_MS))
    assert len(parts) == 21


def test_recent_ticks_are_newest_first_with_stable_numbers() -> None:
    shown = feed()

    now = shown.recent_ticks("BTC-USD", NOW_MS, 10)
    later = shown.recent_ticks("BTC-USD", NOW_MS + MINUTE_MS, 17)

    assert [number for number, _ in now] == sorted((n for n, _ in now), reverse=True)
    assert later[7:] == now


def test_day_figures_cover_the_last_closed_day() -> None:
    shown = feed()
    figures = shown.day_figures("BTC-USD", NOW_MS)
    candles = shown.candles("BTC-USD", 1, NOW_MS - DAY_MS, NOW_MS - 1, NOW_MS)

    assert len(candles) == MINUTES_PER_DAY
    assert figures.volume == sum(candle.volume for candle in candles)
    assert figures.open == candles[0].open
