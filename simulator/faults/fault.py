"""One fault: its kind, whom it meets, how often and when; read from and written to JSON objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeVar

from simulator.faults.kinds import (
    DEFINITIONS,
    BadFaultError,
    CallName,
    Definition,
    Kind,
    Parameters,
    Value,
)

Member = TypeVar("Member", Kind, CallName)

_MOST_COUNT: Final = 10**9
_MOST_TIME_MS: Final = 2**53


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, for whom, how often and when. Empty filters meet everything.

    Attributes:
        account: Account id. Calls without a signature belong to no account.
        product: Product id.
        call: The call it acts on.
        count: How often it acts; None means without end.
        skip: How many matching questions pass before it may act.
        probability: Chance to act at each matching question, from 0 to 1. For candles: the share
            of candles met.
        from_ms: First venue instant at which it may act.
        until_ms: The first one at which it may not act any more.
        parameters: All parameters of the kind, defaults filled in; see `docs/simulator.md`.
    """

    kind: Kind
    account: str | None = None
    product: str | None = None
    call: CallName | None = None
    count: int | None = None
    skip: int = 0
    probability: float = 1.0
    from_ms: int | None = None
    until_ms: int | None = None
    parameters: Parameters = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in defaults and check everything.

        Raises:
            BadFaultError: A field makes no sense; the message names it.
        """
        definition = DEFINITIONS[self.kind]
        object.__setattr__(self, "parameters", _parameters(definition, self.parameters))
        if self.call is not None and definition.calls and self.call not in definition.calls:
            known = ", ".join(sorted(definition.calls))
            raise BadFaultError(f"call of {self.kind} must be one of {known}")
        _check_bounds(self)

    @property
    def definition(self) -> Definition:
        """The kind's definition."""
        return DEFINITIONS[self.kind]


def fault_of(source: Mapping[str, Any]) -> Fault:
    """Read a fault: its fields, and the parameters of its kind beside them.

    Raises:
        BadFaultError: An unknown kind or field, or a value that makes no sense.
    """
    kind = _member(Kind, "kind", source.get("kind"))
    definition = DEFINITIONS[kind]
    known = {*_FIELDS, *definition.parameters}
    if unknown := sorted(set(source) - known):
        raise BadFaultError(
            f"{kind} has no field {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    call = source.get("call")
    return Fault(
        kind=kind,
        account=_text("account", source.get("account")),
        product=_text("product", source.get("product")),
        call=None if call is None else _member(CallName, "call", call),
        count=_whole("count", source.get("count"), 1, _MOST_COUNT),
        skip=_whole("skip", source.get("skip"), 0, _MOST_COUNT) or 0,
        probability=_probability(source.get("probability", 1.0)),
        from_ms=_whole("from_ms", source.get("from_ms"), 0, _MOST_TIME_MS),
        until_ms=_whole("until_ms", source.get("until_ms"), 0, _MOST_TIME_MS),
        parameters={name: source[name] for name in definition.parameters if name in source},
    )


def json_of(fault: Fault) -> dict[str, Any]:
    """Write a fault as `fault_of` reads it."""
    fields = {name: getattr(fault, name) for name in _FIELDS}
    return {name: value for name, value in fields.items() if value is not None} | dict(
        fault.parameters
    )


_FIELDS: Final = (
    "kind",
    "account",
    "product",
    "call",
    "count",
    "skip",
    "probability",
    "from_ms",
    "until_ms",
)


def _parameters(definition: Definition, given: Parameters) -> Parameters:
    if unknown := sorted(set(given) - set(definition.parameters)):
        raise BadFaultError(f"unknown parameter {', '.join(unknown)}")
    values: dict[str, Value] = {
        name: parameter.read(name, given[name]) if name in given else parameter.default
        for name, parameter in definition.parameters.items()
    }
    return MappingProxyType(values)


def _check_bounds(fault: Fault) -> None:
    if fault.kind is Kind.SIGNATURE_CLOCK and fault.account is not None:
        # Whose call it is follows from the signature that it judges: it would never act.
        raise BadFaultError("signature_clock meets every account; leave account out")
    if not 0 <= fault.probability <= 1:
        raise BadFaultError("probability must be from 0 to 1")
    if fault.count is not None and fault.count < 1:
        raise BadFaultError("count must be at least 1")
    if fault.skip < 0:
        raise BadFaultError("skip must be at least 0")
    if fault.from_ms is not None and fault.until_ms is not None and fault.until_ms <= fault.from_ms:
        raise BadFaultError("until_ms must be later than from_ms")


def _member(type_: type[Member], name: str, value: object) -> Member:
    if not isinstance(value, str) or value not in list(type_):
        raise BadFaultError(f"{name} must be one of {', '.join(type_)}")
    return type_(value)


def _text(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise BadFaultError(f"{name} must be text")
    return value


def _whole(name: str, value: object, least: int, most: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not least <= value <= most:
        raise BadFaultError(f"{name} must be a whole number from {least} to {most}")
    return value


def _probability(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFaultError("probability must be a number")
    return float(value)
