"""A random mix of faults from a seed: for long runs that shall meet everything."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from simulator.faults.fault import Fault, fault_of
from simulator.faults.kinds import DEFINITIONS, CallName, Kind, Layer

_MINUTE_MS: Final = 60_000
# Faults that stop everything at once, or a whole market: only for minutes, not for hours.
_HEAVY: Final = frozenset(
    {
        Kind.MAINTENANCE,
        Kind.KEYS_REFUSED,
        Kind.CLOCK,
        Kind.SIGNATURE_CLOCK,
        Kind.PRODUCT_MALFORMED,
        Kind.PRODUCT_DELISTED,
        Kind.PRODUCT_MODE,
        Kind.PRODUCT_RULES,
    }
)
_OF_NO_PRODUCT: Final = frozenset({Kind.CLOCK, Kind.SIGNATURE_CLOCK, Kind.BALANCES_LATE})
_OF_NO_ACCOUNT: Final = frozenset({Kind.MAINTENANCE, Kind.SIGNATURE_CLOCK})
_MOST_HEAVY_MINUTES: Final = 10
_MOST_CHANCE: Final = 0.4
_SELDOM: Final = 0.3
_OFTEN: Final = 0.6
_APPLIED_CALLS: Final = (CallName.PLACE, CallName.PLACE, CallName.CANCEL)

_Draw = Callable[[Random], Mapping[str, Any]]


def _seconds(most: float) -> _Draw:
    return lambda rng: {"seconds": round(rng.uniform(0.5, most), 1)}


def _applied(rng: Random) -> Mapping[str, Any]:
    return {"applied": rng.choice((True, False))}


_PARAMETERS: Final[Mapping[Kind, _Draw]] = {
    Kind.TIMEOUT: lambda rng: {**_applied(rng), "late_seconds": rng.choice((0, 0, 2, 8))},
    Kind.RESET: _applied,
    Kind.SERVER_ERROR: lambda rng: {
        **_applied(rng),
        "status": rng.choice((500, 502, 503, 504)),
        "body": rng.choice(("json", "html", "empty")),
    },
    Kind.RATE_LIMITED: lambda rng: {"retry_after": rng.choice((None, 1, 5))},
    Kind.CUT_OFF: lambda rng: {"share": round(rng.uniform(0.05, 0.95), 2)},
    Kind.EMPTY_BODY: _applied,
    Kind.SLOW: _seconds(8),
    Kind.ORDER_STUCK: lambda rng: {
        "status": rng.choice(("PENDING", "QUEUED", "UNKNOWN_ORDER_STATUS")),
        "seconds": round(rng.uniform(1, 120), 1),
        "executed": rng.random() < _SELDOM,
    },
    Kind.IOC_RESTS: lambda rng: {
        "seconds": round(rng.uniform(5, 300), 1),
        "share": rng.choice((0, 0.3, 0.7)),
    },
    Kind.PARTIAL_FILL: lambda rng: {"share": round(rng.uniform(0.05, 0.95), 2)},
    Kind.CANCEL_LATE: _seconds(30),
    Kind.ORDER_LISTED_LATE: lambda rng: {
        "seconds": round(rng.uniform(1, 60), 1),
        "by_id": rng.random() < _SELDOM,
    },
    Kind.FILLS_LATE: _seconds(60),
    Kind.FILLS_IN_PIECES: lambda rng: {
        "pieces": rng.randint(2, 6),
        "seconds": round(rng.uniform(0, 20), 1),
    },
    Kind.COMMISSION_LATE: lambda rng: {
        "seconds": round(rng.uniform(1, 120), 1),
        "first": rng.choice(("0", "-0.01")),
    },
    Kind.BALANCES_LATE: _seconds(30),
    Kind.CANDLE_LATE: _seconds(180),
    Kind.CANDLE_REVISED: lambda rng: {
        "seconds": round(rng.uniform(10, 180), 1),
        "percent": rng.choice(("-3", "-1", "1", "3")),
    },
    Kind.CANDLE_MISSING: lambda rng: {"seconds": rng.choice((None, 600))},
    Kind.CANDLE_MALFORMED: lambda rng: {
        "form": rng.choice(
            ("low_zero", "high_below_low", "empty_cell", "not_a_number", "null_cell")
        ),
        "seconds": rng.choice((None, 120)),
    },
    Kind.PRODUCT_MALFORMED: lambda rng: {
        "field": rng.choice(("base_increment", "price_increment", "quote_min_size", "status")),
        "form": rng.choice(("empty", "missing", "null", "zero", "negative", "not_a_number")),
    },
    Kind.PRODUCT_DELISTED: lambda rng: {"form": rng.choice(("absent", "flagged"))},
    Kind.PRODUCT_MODE: lambda rng: {
        "mode": rng.choice(("limit_only", "auction_mode", "cancel_only", "trading_disabled"))
    },
    Kind.PRODUCT_RULES: lambda rng: rng.choice(
        (
            {"base_increment": "0.001", "base_min_size": "0.001"},
            {"price_increment": "1"},
            {"quote_min_size": "25"},
            {"quote_max_size": "500"},
        )
    ),
    Kind.SIGNATURE_CLOCK: lambda rng: {"offset_seconds": rng.choice((-300, -20, 20, 300))},
    Kind.CLOCK: lambda rng: {
        "offset_seconds": round(rng.uniform(-20, 20), 1),
        "jump_seconds": rng.choice((0, 5)),
    },
}


def draw_faults(
    seed: int | str,
    intensity: float,
    *,
    from_ms: int,
    until_ms: int,
    products: Sequence[str],
    accounts: Sequence[str] = (),
    kinds: Sequence[Kind] = tuple(Kind),
) -> list[Fault]:
    """Draw a mix of faults; the same arguments always give the same.

    Every fault has a time window inside the given one, so that whatever it blocks is free again at
    the end. Faults of a whole market or of the whole venue last ten minutes at most.

    Args:
        seed: What everything follows from.
        intensity: From 0 (none) to 1 (each kind, often): the chance that a kind is drawn in each
            hour, and the measure of how often it acts.
        from_ms: Venue time at which the first may begin.
        until_ms: Venue time at which all have ended.
        products: Products that the faults may be narrowed to.
        accounts: Accounts that they may be narrowed to.
        kinds: The kinds to draw from.

    Raises:
        ValueError: The intensity is not from 0 to 1, or the window is empty.
    """
    if not 0 <= intensity <= 1:
        raise ValueError("intensity must be from 0 to 1")
    if until_ms <= from_ms:
        raise ValueError("the window must not be empty")
    faults: list[Fault] = []
    hours = -(-(until_ms - from_ms) // (60 * _MINUTE_MS))
    for hour in range(hours):
        start_ms = from_ms + hour * 60 * _MINUTE_MS
        end_ms = min(until_ms, start_ms + 60 * _MINUTE_MS)
        for kind in kinds:
            # A generator each: leaving a kind out changes nothing for the others.
            rng = Random(f"{seed}:{hour}:{kind}")
            if rng.random() < intensity:
                faults.append(_draw(rng, kind, intensity, (start_ms, end_ms), products, accounts))
    return faults


def _draw(
    rng: Random,
    kind: Kind,
    intensity: float,
    window: tuple[int, int],
    products: Sequence[str],
    accounts: Sequence[str],
) -> Fault:
    start_ms, end_ms = window
    begin_ms = rng.randrange(start_ms, end_ms)
    most_ms = end_ms - begin_ms
    if kind in _HEAVY:
        most_ms = min(most_ms, _MOST_HEAVY_MINUTES * _MINUTE_MS)
    source: dict[str, Any] = {
        "kind": kind.value,
        "from_ms": begin_ms,
        "until_ms": begin_ms + max(1, round(most_ms * rng.uniform(0.2, 1))),
        "probability": 1.0
        if kind in _HEAVY
        else round(rng.uniform(0.05, _MOST_CHANCE) * max(intensity, 0.1), 4),
    }
    if accounts and rng.random() < _SELDOM and kind not in _OF_NO_ACCOUNT:
        source["account"] = rng.choice(accounts)
    is_of_a_product = DEFINITIONS[kind].layer is not Layer.TRANSPORT and kind not in _OF_NO_PRODUCT
    if products and is_of_a_product and rng.random() < _OFTEN:
        source["product"] = rng.choice(products)
    if kind in (Kind.TIMEOUT, Kind.RESET, Kind.SERVER_ERROR, Kind.CUT_OFF, Kind.EMPTY_BODY):
        source["call"] = rng.choice((*_APPLIED_CALLS, *CallName)).value
    elif kind in (Kind.RATE_LIMITED, Kind.SLOW):
        source["call"] = rng.choice(tuple(CallName)).value
    if draw := _PARAMETERS.get(kind):
        source |= draw(rng)
    return fault_of(source)
