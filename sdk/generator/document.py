"""The OpenAPI document as the SDKs see it: groups of operations, and the shapes they use."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

NAMES = Path(__file__).resolve().parents[1] / "operations.toml"
METHODS = ("get", "post", "put", "patch", "delete")
JSON = "application/json"
KEY_HEADER = "idempotency-key"
_REFERENCE = "#/components/schemas/"
_PLACE = re.compile(r"{(\w+)}")


class Drift(Exception):
    """The document and the table of names do not agree, or the document needs what we lack."""


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a property of a shape; `name` is the one on the wire."""

    name: str
    schema: Schema
    required: bool

    @property
    def description(self) -> str:
        """What it means, or failing that an example of it."""
        if told := self.schema.get("description"):
            return str(told)
        examples = self.schema.get("examples") or [None]
        if isinstance(examples[0], str | int | float) and not isinstance(examples[0], bool):
            return f"Such as `{examples[0]}`."
        words = self.name.replace("_", " ").capitalize()
        default = self.schema.get("default")
        return f"{words}." if default is None else f"{words}, `{str(default).lower()}` by default."


@dataclass(frozen=True, slots=True)
class Paging:
    """How to go through the pages of an answer: the list in it, and what tells its items apart."""

    items: str
    item_shape: str
    key: str


@dataclass(frozen=True, slots=True)
class Operation:
    """An endpoint and its name in the SDKs."""

    group: str
    name: str
    method: str
    path: str
    summary: str
    places: Sequence[str]
    query: Sequence[Field]
    body: Sequence[Field]
    headers: Sequence[Field]
    takes_raw_body: bool
    keyed: bool
    public: bool
    result: str
    paging: Paging | None


class Document:
    """The document with the names that the SDKs give to its operations.

    Raises:
        Drift: an operation has no name, or a name no operation.
    """

    def __init__(self, document: Mapping[str, Any], names: Path = NAMES) -> None:
        self._document = document
        self.schemas: Mapping[str, Schema] = document["components"]["schemas"]
        table = tomllib.loads(names.read_text(encoding="utf-8"))
        named = {
            line: (group, name) for group, lines in table.items() for line, name in lines.items()
        }
        found = {f"{method.upper()} {path}": item for method, path, item in self._items()}
        if unnamed := sorted(found.keys() - named.keys()):
            raise Drift(f"Name these in {names.name}: {', '.join(unnamed)}")
        if gone := sorted(named.keys() - found.keys()):
            raise Drift(f"Remove these from {names.name}, the API has no such call: {gone}")
        self.operations = [
            self._operation(line, *where, found[line]) for line, where in named.items()
        ]

    def groups(self) -> Mapping[str, Sequence[Operation]]:
        """Operations by group, in the order of the table."""
        grouped: dict[str, list[Operation]] = {}
        for operation in self.operations:
            grouped.setdefault(operation.group, []).append(operation)
        return grouped

    def answered(self) -> Sequence[str]:
        """Shapes that answers are made of, sorted."""
        return self._reached([operation.result for operation in self.operations])

    def sent(self) -> Sequence[str]:
        """Shapes inside request bodies, sorted."""
        fields = [field for it in self.operations for field in (*it.body, *it.query)]
        return self._reached([name for field in fields for name in references(field.schema)])

    def fields(self, name: str) -> Sequence[Field]:
        """The properties of a shape."""
        return _properties(self.schemas[name])

    def opaque_names(self) -> Sequence[str]:
        """Properties whose value is a mapping with names of its own, which nobody may rename.

        Raises:
            Drift: a name means such a mapping here and a known shape there.
        """
        opaque: set[str] = set()
        known: set[str] = set()
        for name in {*self.answered(), *self.sent()}:
            for field in self.fields(name):
                self._sort_out(field, opaque, known)
        for operation in self.operations:
            for field in operation.body:
                self._sort_out(field, opaque, known)
        if both := opaque & known:
            raise Drift(f"These are free mappings here and known shapes there: {sorted(both)}")
        return sorted(opaque)

    def _sort_out(self, field: Field, opaque: set[str], known: set[str]) -> None:
        if is_mapping(field.schema):
            opaque.add(field.name)
        elif any("properties" in self.schemas[name] for name in references(field.schema)):
            known.add(field.name)

    def _items(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        for path, item in self._document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, path, item[method]

    def _operation(self, line: str, group: str, name: str, item: Mapping[str, Any]) -> Operation:
        method, path = line.split(" ")
        parameters = item.get("parameters", [])
        headers = [_field(it) for it in parameters if it["in"] == "header"]
        query = [_field(it) for it in parameters if it["in"] == "query"]
        body, takes_raw_body = self._body(line, item)
        result = self._result(line, item)
        places = _PLACE.findall(path)
        if any(field.schema.get("type") == "array" for field in query):
            raise Drift(f"{line}: lists in a query have no form in the SDKs yet")
        taken = [*places, *(field.name for field in (*query, *body))]
        if len(taken) != len(set(taken)):
            raise Drift(f"{line}: two parameters share a name: {taken}")
        return Operation(
            group=group,
            name=name,
            method=method,
            path=path,
            summary=str(item.get("description") or item["summary"]),
            places=places,
            query=query,
            body=body,
            headers=[field for field in headers if field.name != KEY_HEADER],
            takes_raw_body=takes_raw_body,
            keyed=any(field.name == KEY_HEADER for field in headers),
            public="security" not in item,
            result=result,
            paging=self._paging(query, result),
        )

    def _body(self, line: str, item: Mapping[str, Any]) -> tuple[Sequence[Field], bool]:
        content = item.get("requestBody", {}).get("content", {})
        if not content:
            return (), False
        schema = content[JSON]["schema"]
        if "properties" in schema:
            return _properties(schema), False
        names = references(schema)
        if not names:
            return (), True
        if len(names) > 1:
            raise Drift(f"{line}: the body has several shapes")
        return self.fields(names[0]), False

    def _result(self, line: str, item: Mapping[str, Any]) -> str:
        content = next(
            answer.get("content", {})
            for status, answer in item["responses"].items()
            if status.startswith("2")
        )
        if JSON not in content:
            raise Drift(f"{line}: the answer is no JSON")
        envelope = self.schemas[references(content[JSON]["schema"])[0]]
        return references(envelope["properties"]["data"])[0]

    def _paging(self, query: Sequence[Field], result: str) -> Paging | None:
        fields = {field.name: field for field in self.fields(result)}
        if "pagination" not in fields or not any(field.name == "page" for field in query):
            return None
        lists = [field for field in fields.values() if field.schema.get("type") == "array"]
        if len(lists) != 1:
            raise Drift(f"{result}: which of {[field.name for field in lists]} is paged?")
        (item_shape,) = references(lists[0].schema)
        key = next(field.name for field in self.fields(item_shape) if field.name.endswith("_id"))
        return Paging(lists[0].name, item_shape, key)

    def _reached(self, names: Sequence[str]) -> Sequence[str]:
        reached: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in reached:
                reached.add(name)
                waiting += references(self.schemas[name])
        return sorted(reached)


def references(schema: Any) -> list[str]:
    """Names of the shapes that a schema mentions, in order, each once."""
    found: dict[str, None] = {}
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            found[str(schema["$ref"]).removeprefix(_REFERENCE)] = None
        for part in schema.values():
            found |= dict.fromkeys(references(part))
    elif isinstance(schema, list):
        for part in schema:
            found |= dict.fromkeys(references(part))
    return list(found)


def variants(schema: Schema) -> tuple[Sequence[Schema], bool]:
    """The alternatives of a schema without null, and whether null is one."""
    if "anyOf" not in schema:
        return ([], True) if schema.get("type") == "null" else ([schema], False)
    others: list[Schema] = []
    nullable = False
    for part in schema["anyOf"]:
        more, is_null = variants(part)
        others += more
        nullable |= is_null
    return others, nullable


def is_mapping(schema: Schema) -> bool:
    """Whether a value, or each item of a list, is a mapping with names of its own."""
    parts, _ = variants(schema)
    return any(
        (part.get("type") == "object" and "properties" not in part)
        or (part.get("type") == "array" and is_mapping(part["items"]))
        for part in parts
    )


def _properties(shape: Schema) -> Sequence[Field]:
    required = shape.get("required", ())
    return [
        Field(name, schema, name in required)
        for name, schema in shape.get("properties", {}).items()
    ]


def _field(parameter: Mapping[str, Any]) -> Field:
    schema = {"description": parameter.get("description"), **parameter["schema"]}
    return Field(parameter["name"], schema, parameter.get("required", False))
