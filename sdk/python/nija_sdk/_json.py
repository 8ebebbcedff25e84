"""JSON without floats for money, and typed objects out of it.

Numbers with a fraction become Decimal, and Decimal leaves as a plain JSON number; neither way goes
through a binary float.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from nija_sdk.errors import UnexpectedResponseError

T = TypeVar("T")

_UNIONS = (Union, types.UnionType)


def loads(content: bytes | str) -> Any:
    """Parse JSON; numbers with a fraction become Decimal.

    Raises:
        ValueError: this is not JSON.
    """
    return json.loads(content, parse_float=Decimal)


def dumps(value: Any) -> bytes:
    """Render JSON; times in ISO 8601.

    Raises:
        TypeError: something has no JSON form.
        ValueError: a number is not finite, or a time has no zone.
    """
    return _render(value).encode()


def to_text(value: Any) -> str:
    """A value as it stands in a query or path."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, date):
        return _moment(value)
    return str(value)


def _render(value: Any) -> str:
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, date):
        return json.dumps(_moment(value))
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(str(name))}:{_render(item)}" for name, item in value.items())
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ",".join(_render(item) for item in value) + "]"
    return json.dumps(value, allow_nan=False)


def _number(value: Decimal) -> str:
    if not value.is_finite():
        raise ValueError(f"{value} is not a finite number")
    return format(value, "f")


def _moment(value: date) -> str:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("Give the time a zone, such as datetime.UTC")
    return value.isoformat()


def decode(kind: type[T], value: Any, where: str = "data") -> T:
    """Make the typed object that `kind` describes; fields that it does not know are ignored.

    Raises:
        UnexpectedResponseError: a field is missing or of another type.
    """
    return cast(T, _decode(kind, value, where))


def _decode(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    origin = get_origin(kind)
    if origin in _UNIONS:
        return _decode_union(kind, value, where)
    if origin is list:
        (item_kind,) = get_args(kind)
        items = _expect(list, value, where)
        return [_decode(item_kind, item, f"{where}[{at}]") for at, item in enumerate(items)]
    if origin is dict:
        item_kind = get_args(kind)[1]
        pairs = _expect(dict, value, where).items()
        return {name: _decode(item_kind, item, f"{where}.{name}") for name, item in pairs}
    if is_dataclass(kind):
        return _decode_object(cast("type[Any]", kind), _expect(dict, value, where), where)
    return _decode_scalar(kind, value, where)


def _decode_union(kind: Any, value: Any, where: str) -> Any:
    choices = get_args(kind)
    if value is None and types.NoneType in choices:
        return None
    others = [choice for choice in choices if choice is not types.NoneType]
    return _decode(others[0], value, where) if len(others) == 1 else value


def _decode_object(kind: type[Any], value: Mapping[str, Any], where: str) -> Any:
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    known = {}
    for field in fields(kind):
        wire_name = field.name.removesuffix("_")
        if wire_name in value:
            known[field.name] = _decode(hints[field.name], value[wire_name], f"{where}.{wire_name}")
        elif field.default is MISSING:
            raise UnexpectedResponseError(f"The answer has no {where}.{wire_name}")
    return kind(**known)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is Decimal:
        # A whole amount arrives as an integer.
        return Decimal(_expect((int, Decimal), value, where))
    if kind in {datetime, date}:
        try:
            return kind.fromisoformat(_expect(str, value, where))
        except ValueError as error:
            raise UnexpectedResponseError(f"{where} is no {kind.__name__}: {value!r}") from error
    # Literals stay open: a newer server may know more of them.
    return _expect(kind, value, where) if kind in {str, int, bool} else value


def _expect(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UnexpectedResponseError(f"{where} is a {type(value).__name__}")
    return value


@cache
def _hints(kind: type[Any]) -> Mapping[str, Any]:
    return get_type_hints(kind)
