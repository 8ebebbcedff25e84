"""Faults by request: put in force, show with what they have done, lift, draw a mix from a seed."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.routing import Route

from simulator.control.calls import BadControlCallError, body_of, exchange_of, loopback_only
from simulator.exchange import Exchange
from simulator.faults import (
    BadFaultError,
    Entry,
    Fault,
    Kind,
    UnknownFaultError,
    draw_faults,
    fault_of,
    json_of,
)

_MOST_SECONDS: Final = 366 * 86_400
_MOST_HOURS: Final = 24 * 31
_SEED_FIELDS: Final = frozenset({"seed", "intensity", "hours", "kinds", "products", "accounts"})


async def add_fault(request: Request) -> dict[str, Any]:
    """Put one fault in force, or all of a list (`faults`) or none of them."""
    body = await body_of(request)
    exchange = exchange_of(request)
    sources = body["faults"] if set(body) == {"faults"} else [body]
    if not isinstance(sources, list) or not all(isinstance(one, dict) for one in sources):
        raise _bad("faults must be a list of objects")
    faults = [_fault(exchange, source) for source in sources]
    entries = [exchange.add_fault(fault) for fault in faults]
    return _json(entries[0]) if "faults" not in body else _list_json(entries)


async def list_faults(request: Request) -> dict[str, Any]:
    """Show all faults in force with how often each was asked and has acted."""
    return _list_json(exchange_of(request).faults.entries)


async def lift_fault(request: Request) -> dict[str, Any]:
    """Lift one fault."""
    try:
        return _json(exchange_of(request).lift_fault(request.path_params["fault_id"]))
    except UnknownFaultError as error:
        raise BadControlCallError(f"no fault {error}", 404) from error


async def lift_all_faults(request: Request) -> dict[str, Any]:
    """Lift all faults."""
    return _list_json(exchange_of(request).lift_all_faults())


async def draw_mix(request: Request) -> dict[str, Any]:
    """Draw a random mix from a seed and put it in force, from now on for some hours."""
    body = await body_of(request)
    exchange = exchange_of(request)
    if unknown := sorted(set(body) - _SEED_FIELDS):
        raise _bad(f"no field {', '.join(unknown)}; known: {', '.join(sorted(_SEED_FIELDS))}")
    seed, intensity, hours = body.get("seed"), body.get("intensity", 0.3), body.get("hours", 1)
    if type(seed) is not int:
        raise _bad("seed must be a whole number")
    if not _is_number(hours) or not 0 < hours <= _MOST_HOURS:
        raise _bad(f"hours must be a number up to {_MOST_HOURS}")
    if not _is_number(intensity):
        raise _bad("intensity must be a number from 0 to 1")
    products = _names(body, "products", exchange.engine.books)
    try:
        faults = draw_faults(
            seed,
            float(intensity),
            from_ms=exchange.now_ms,
            until_ms=exchange.now_ms + max(1, round(hours * 3_600_000)),
            products=products or sorted(exchange.engine.books),
            accounts=_names(body, "accounts", exchange.accounts),
            kinds=[Kind(name) for name in _names(body, "kinds", list(Kind))] or tuple(Kind),
        )
    except ValueError as error:
        raise _bad(str(error)) from error
    exchange.faults.reseed(seed)
    return _list_json([exchange.add_fault(fault) for fault in faults])


def _fault(exchange: Exchange, source: Mapping[str, Any]) -> Fault:
    fields = dict(source)
    start_ms = exchange.now_ms + _milliseconds(fields.pop("after_seconds", 0), "after_seconds")
    if "after_seconds" in source:
        fields.setdefault("from_ms", start_ms)
    if "for_seconds" in source:
        lasting = _milliseconds(fields.pop("for_seconds"), "for_seconds")
        fields.setdefault("until_ms", start_ms + lasting)
    try:
        fault = fault_of(fields)
    except BadFaultError as error:
        raise _bad(f"{error} (from_ms and until_ms also as after_seconds, for_seconds)") from error
    if fault.kind is Kind.PRODUCT_RULES and not any(fault.parameters.values()):
        raise _bad(f"product_rules needs one of {', '.join(fault.parameters)}")
    if fault.account is not None and fault.account not in exchange.accounts:
        raise _bad(f"no account {fault.account}")
    if fault.product is not None and fault.product not in exchange.engine.books:
        raise _bad(f"no product {fault.product}")
    return fault


def _milliseconds(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(f"{name} must be a number")
    if not 0 <= value <= _MOST_SECONDS:
        raise _bad(f"{name} must be from 0 to {_MOST_SECONDS}")
    return round(value * 1000)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(body: Mapping[str, Any], field: str, known: Iterable[str]) -> list[str]:
    names = body.get(field, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _bad(f"{field} must be a list of names")
    if unknown := sorted(set(names) - set(known)):
        raise _bad(f"{field}: no {', '.join(unknown)}")
    return names


def _bad(message: str) -> BadControlCallError:
    return BadControlCallError(message, 400)


def _list_json(entries: Iterable[Entry]) -> dict[str, Any]:
    return {"faults": [_json(entry) for entry in entries]}


def _json(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.fault_id,
        **json_of(entry.fault),
        "asked": entry.asked,
        "hits": entry.hits,
        "hits_by_call": entry.hits_by_call,
        "is_used_up": entry.is_used_up,
    }


ROUTES: Final = [
    Route("/control/faults", loopback_only(add_fault, 201), methods=["POST"]),
    Route("/control/faults", loopback_only(list_faults), methods=["GET"]),
    Route("/control/faults", loopback_only(lift_all_faults), methods=["DELETE"]),
    Route("/control/faults/seed", loopback_only(draw_mix, 201), methods=["POST"]),
    Route("/control/faults/{fault_id}", loopback_only(lift_fault), methods=["DELETE"]),
]
