"""How values look on the wire: numbers, ids, texts, and JSON itself.

Money stays Decimal to the last byte: it leaves as a plain JSON number, never in exponent form, and
never through a binary float.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Annotated, Any
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from domain.money import WIDE, unending_rounded

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
_PLACES_MIN, _PLACES_MAX = 2, 8
_TINY = -5
"""Amounts with no digit down to this power of ten would be little but zeros after 8 places."""
_CENT = Decimal(1).scaleb(-_PLACES_MIN)
_RATIO = Decimal(1).scaleb(-4)
_SYMBOL = "^[A-Za-z0-9]{1,20}-[A-Za-z0-9]{2,10}$"
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def to_json(value: Any) -> bytes:
    """Render plain values, models and decimals; times in UTC with `Z`, to the second.

    What a caller sent may hold half of a surrogate pair, which no UTF-8 can say: shown as U+FFFD.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except orjson.JSONEncodeError:
        return orjson.dumps(_sayable(value), default=_plain, option=_OPTIONS)


def _sayable(value: Any) -> Any:
    """The same value with every lone surrogate replaced."""
    match value:
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case BaseModel():
            return _sayable(value.__dict__)
        case Mapping():
            return {_sayable(name): _sayable(its) for name, its in value.items()}
        case list() | tuple():
            return [_sayable(item) for item in value]
        case _:
            return value


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        text = str(value)  # three times as fast as `format`, but may come out in exponent form
        return orjson.Fragment((format(value, "f") if "E" in text else text).encode())
    if isinstance(value, BaseModel):
        return value.__dict__
    raise TypeError(f"{type(value).__name__} has no wire form")


def quote_amount(value: Decimal) -> Decimal:
    """An amount in a quote currency: 2 to 8 decimal places, tiny ones with 8 digits that count."""
    try:
        coarse = value.quantize(_CENT, ROUND_HALF_EVEN)
        if coarse == value:  # most amounts are whole cents; long lists are full of them
            return coarse
    except InvalidOperation:  # too long for the usual precision, and only for that
        coarse = value.quantize(_CENT, context=WIDE)
    places = _PLACES_MAX if value.adjusted() >= _TINY else 7 - value.adjusted()
    fine = value.quantize(Decimal(1).scaleb(-places), context=WIDE)
    return coarse if coarse == fine else fine.normalize(WIDE)


def quote_price(value: Decimal) -> Decimal:
    """A price: exactly as it is, with 2 places at least; averages without an end are rounded."""
    coarse = value.quantize(_CENT, context=WIDE)
    return coarse if coarse == value else unending_rounded(value)


def base_quantity(value: Decimal) -> Decimal:
    """A quantity of a base currency, without trailing zeros."""
    return value.normalize(WIDE)


def ratio(value: Decimal) -> Decimal:
    """A rate or a percentage: at most 4 decimal places."""
    return value.quantize(_RATIO, context=WIDE).normalize(WIDE)


_NUMBER = WithJsonSchema({"type": "number"})

Amount = Annotated[Decimal, AfterValidator(quote_amount), _NUMBER]
"""An amount of money."""

VenueTime = Annotated[datetime, Field(description="Venue time.")]
"""A time by the clock of the venue: on a replay it is years from the wall's."""

WallTime = Annotated[datetime, Field(description="Wall time.")]
"""A time by the clock on the wall."""

ShownPrice = Annotated[Decimal, AfterValidator(quote_price), _NUMBER]
"""A price of a market."""

Quantity = Annotated[Decimal, AfterValidator(base_quantity), _NUMBER]
"""A quantity of a base currency."""

Ratio = Annotated[Decimal, AfterValidator(ratio), _NUMBER]
"""A percentage (`*_pct`) or a fraction of one."""


def _only_numbers(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("Input should be a number")  # noqa: TRY004 - pydantic wants ValueError
    return value


def _printable(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("Control characters are not allowed")
    return text


Price = Annotated[
    Decimal,
    BeforeValidator(_only_numbers),
    Field(gt=0, max_digits=24, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "examples": [42800.0]}),
]
"""A price in a request."""

BaseQuantity = Annotated[
    Decimal,
    BeforeValidator(_only_numbers),
    Field(gt=0, max_digits=40, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "examples": [0.01157]}),
]
"""A quantity of a base currency in a request."""

WholeOrPart = Annotated[
    Decimal,
    BeforeValidator(_only_numbers),
    Field(gt=0, le=100, max_digits=24, allow_inf_nan=False),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 100, "examples": [50]}),
]
"""Percent of something in a request; 100 is all of it."""

Money = Annotated[
    Decimal,
    BeforeValidator(_only_numbers),
    Field(max_digits=24, allow_inf_nan=False),
    WithJsonSchema({"type": "number"}),
]
"""An amount in a request; its range is the service's business."""

Text = Annotated[str, StringConstraints(strict=True, max_length=500), AfterValidator(_printable)]
"""Some words in a request."""

SecretText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=8_192)]
"""A password, key or token in a request."""

NewPassword = Annotated[str, StringConstraints(strict=True, max_length=8_192)]
"""A password that somebody chooses; whether it is good enough is the service's business."""


def _market(text: str) -> str:
    # In our own words: pydantic's would be the expression itself.
    if not re.fullmatch(_SYMBOL, text):
        raise ValueError("Name a market like BTC-USD")
    return text.upper()


Symbol = Annotated[
    str,
    StringConstraints(strict=True),
    AfterValidator(_market),
    WithJsonSchema({"type": "string", "pattern": _SYMBOL}),
]
"""A market: `BTC-USD`."""


class Request(BaseModel):
    """A request body or query. Unknown names are refused: a typo must not silently do nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class View(BaseModel):
    """Part of an answer."""

    model_config = ConfigDict(frozen=True)


def wire_id(prefix: str, value: UUID) -> str:
    """`usr_` and the like: a prefix and 32 hexadecimal digits."""
    return f"{prefix}_{value.hex}"


def parse_wire_id(prefix: str, text: str) -> UUID | None:
    """The id behind a prefixed one; None for anything else."""
    head, _, digits = text.partition("_")
    if head != prefix or not re.fullmatch(r"[0-9a-f]{32}", digits):
        return None
    return UUID(hex=digits)
