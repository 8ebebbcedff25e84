"""Writes `nija_sdk/models.py` and `nija_sdk/resources/*.py`."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sdk.generator.document import Document, Drift, Field, Operation, Schema, references, variants

MARK = "Generated from the OpenAPI document by sdk/generate.py; do not edit."
_WIDTH = 96
_ANY = ("Any", "Any")
_SCALARS = {
    ("integer", None): ("int", "int"),
    ("boolean", None): ("bool", "bool"),
    ("null", None): ("None", "None"),
    ("number", None): ("Decimal", "Number"),
    ("string", None): ("str", "str"),
    ("string", "date"): ("date", "Moment"),
    ("string", "date-time"): ("datetime", "Moment"),
}
"""Type and format: what it is in an answer, and what may be given for it."""

_TITLES = {"config": "Settings and brokers"}


def python_files(document: Document) -> Mapping[str, str]:
    """Every generated file by its path in the package."""
    groups = document.groups()
    files = {f"resources/{name}.py": _resource(name, them) for name, them in groups.items()}
    files["resources/__init__.py"] = _groups(list(groups))
    files["models.py"] = _models(document)
    return files


# --- shapes ---------------------------------------------------------------------------------------


def _models(document: Document) -> str:
    answered, sent = set(document.answered()), set(document.sent())
    parts = [
        f'"""What requests and answers are made of.\n\n{MARK}\n"""\n',
        "from __future__ import annotations\n",
        "from dataclasses import dataclass, field",
        "from datetime import date, datetime",
        "from decimal import Decimal",
        "from typing import Any, Literal, NotRequired, TypeAlias, TypedDict\n",
        "from nija_sdk._resource import Moment, Number",
    ]
    for name in sorted(answered | sent):
        shape = document.schemas[name]
        if "enum" in shape:
            parts.append(f"\n{name}: TypeAlias = {_literal(shape['enum'])}")
        elif name in answered and name in sent:
            raise Drift(f"{name} is asked for and answered: give the request a shape of its own")
        elif name in answered:
            parts.append(_dataclass(name, document))
        else:
            parts.append(_typed_dict(name, document))
    return "\n".join(parts)


_SECRETS = re.compile(r"(token|secret|password|codes|_key|download_url|_uri)$")


def _dataclass(name: str, document: Document) -> str:
    lines = ["", "@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}:"]
    lines.append(_docstring(_summary(document.schemas[name], name), indent=4))
    for prop in document.fields(name):
        kind = python_type(prop.schema)
        hidden = bool(_SECRETS.search(prop.name))
        default = ""
        if not prop.required:
            kind = kind if kind.endswith("| None") else f"{kind} | None"
            default = " = field(default=None, repr=False)" if hidden else " = None"
        elif hidden:
            default = " = field(repr=False)"
        lines.append(f"    {identifier(prop.name)}: {kind}{default}")
        if told := prop.schema.get("description"):
            lines.append(_docstring(str(told), indent=4))
    return "\n".join(lines) + "\n"


def _typed_dict(name: str, document: Document) -> str:
    lines = ["", f"class {name}(TypedDict):"]
    lines.append(_docstring(_summary(document.schemas[name], name), indent=4))
    for prop in document.fields(name):
        kind = python_type(prop.schema, sent=True)
        lines.append(f"    {prop.name}: {kind if prop.required else f'NotRequired[{kind}]'}")
        if told := prop.schema.get("description"):
            lines.append(_docstring(str(told), indent=4))
    return "\n".join(lines) + "\n"


def python_type(schema: Schema, *, sent: bool = False) -> str:
    """The annotation for a schema; numbers and times may be given in more forms than they come."""
    parts, nullable = variants(schema)
    names = list(dict.fromkeys(_one_type(part, sent=sent) for part in parts))
    return " | ".join([*names, "None"] if nullable else names)


def _one_type(schema: Schema, *, sent: bool) -> str:
    kind = str(schema.get("type"))
    if "$ref" in schema:
        return references(schema)[0]
    if "enum" in schema or "const" in schema:
        return _literal(schema.get("enum") or [schema["const"]])
    if kind == "array":
        return f"list[{python_type(schema['items'], sent=sent)}]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"dict[str, {python_type(more, sent=sent) if isinstance(more, dict) else 'Any'}]"
    answered, given = _SCALARS.get((kind, schema.get("format")), _SCALARS.get((kind, None), _ANY))
    return given if sent else answered


def _literal(values: Sequence[object]) -> str:
    return f"Literal[{', '.join(repr(value) for value in values)}]"


def identifier(name: str) -> str:
    """A wire name as Python can write it."""
    plain = name.replace("-", "_")
    return f"{plain}_" if keyword.iskeyword(plain) else plain


# --- methods --------------------------------------------------------------------------------------


def _groups(names: Sequence[str]) -> str:
    lines = [f'"""All groups of methods. {MARK}"""\n']
    lines += [
        f"from nija_sdk.resources.{name} import {_class(name)}, Async{_class(name)}"
        for name in names
    ]
    for prefix, base, transport in (
        ("", "Groups", "Transport"),
        ("Async", "AsyncGroups", "AsyncTransport"),
    ):
        lines += ["", f"class {base}:"]
        lines.append(_docstring("One attribute for each group of endpoints.", indent=4))
        lines.append(f"    def __init__(self, transport: {transport}) -> None:")
        lines += [f"        self.{it} = {prefix}{_class(it)}(transport)" for it in names]
    lines.insert(1, "from nija_sdk._transport import AsyncTransport, Transport")
    return "\n".join(lines) + "\n"


def _resource(group: str, operations: Sequence[Operation]) -> str:
    lines = [
        f'"""{_title(group)}. {MARK}"""\n',
        "from __future__ import annotations\n",
        "from collections.abc import AsyncIterator, Iterator",
        "from typing import Any, Literal\n",
        "from nija_sdk import models",
        "from nija_sdk._calls import Operation",
        "from nija_sdk._resource import (",
        "    AsyncResource, Moment, Number, Resource, iterate, iterate_async",
        ")",
        "",
    ]
    lines += [_operation_constant(operation) for operation in operations]
    for is_async in (False, True):
        prefix = "Async" if is_async else ""
        lines += ["", f"class {prefix}{_class(group)}({prefix}Resource):"]
        lines.append(_docstring(f"{_title(group)}.", indent=4))
        for operation in operations:
            lines += ["", *_method(operation, is_async=is_async)]
            if operation.paging is not None:
                lines += ["", *_iterator(operation, is_async=is_async)]
    return "\n".join(lines) + "\n"


def _operation_constant(operation: Operation) -> str:
    flags = "".join(f", {name}=True" for name in ("keyed", "public") if getattr(operation, name))
    return f'{_constant(operation)} = Operation("{operation.method}", "{operation.path}"{flags})'


def _method(operation: Operation, *, is_async: bool) -> Iterator[str]:
    yield f"    {'async ' if is_async else ''}def {operation.name}("
    yield f"        self{_parameters(operation, skip=())}"
    yield f"    ) -> models.{operation.result}:"
    yield _docstring(operation.summary, indent=8, arguments=_described(operation, skip=()))
    yield f"        return {'await ' if is_async else ''}self._call("
    yield f"            {_constant(operation)}, models.{operation.result},"
    yield from _parts(operation)
    yield "        )"


def _parts(operation: Operation) -> Iterator[str]:
    if operation.places:
        yield f"            path={_mapping(operation.places)},"
    for part, fields in (
        ("query", operation.query),
        ("body", operation.body),
        ("headers", operation.headers),
    ):
        if fields:
            yield f"            {part}={_mapping([field.name for field in fields])},"
    if operation.takes_raw_body:
        yield "            raw=payload,"
    if operation.keyed:
        yield "            idempotency_key=idempotency_key,"


def _iterator(operation: Operation, *, is_async: bool) -> Iterator[str]:
    paging = operation.paging
    assert paging is not None
    skip = ("page",)
    kind = "AsyncIterator" if is_async else "Iterator"
    given = ", ".join(
        [*operation.places]
        + [
            f"{identifier(it.name)}={identifier(it.name)}"
            for it in operation.query
            if it.name != "page"
        ]
    )
    yield f"    def iter_{operation.name}("
    yield f"        self{_parameters(operation, skip=skip)}"
    yield f"    ) -> {kind}[models.{paging.item_shape}]:"
    summary = f"{operation.summary.rstrip('.')}: every item of every page."
    yield _docstring(summary, indent=8, arguments=_described(operation, skip=skip))
    yield f"        return {'iterate_async' if is_async else 'iterate'}("
    yield f"            lambda page: self.{operation.name}({given}, page=page),"
    yield f"            lambda found: found.{identifier(paging.items)},"
    yield f"            lambda item: item.{identifier(paging.key)},"
    yield "        )"


def _parameters(operation: Operation, *, skip: Sequence[str]) -> str:
    listed = [f", {place}: str" for place in operation.places]
    named = [
        field
        for field in (*operation.query, *operation.body, *operation.headers)
        if field.name not in skip
    ]
    if operation.takes_raw_body:
        listed.append(", payload: bytes")
    if named or operation.keyed:
        listed.append(", *")
    ordered = [it for it in named if it.required] + [it for it in named if not it.required]
    listed += [f", {identifier(it.name)}: {_parameter_type(it)}" for it in ordered]
    if operation.keyed:
        listed.append(", idempotency_key: str | None = None")
    return "".join(listed)


def _parameter_type(field: Field) -> str:
    kind = re.sub(
        r"\b(?!Any\b|Literal\b|Number\b|Moment\b|None\b)([A-Z]\w+)(?![\w']*')",
        r"models.\1",
        python_type(field.schema, sent=True),
    )
    if field.required:
        return kind
    return f"{kind} = None" if kind.endswith("None") else f"{kind} | None = None"


def _described(operation: Operation, *, skip: Sequence[str]) -> Mapping[str, str]:
    told = {place: f"Which one: `{place}` of an earlier answer." for place in operation.places}
    if operation.takes_raw_body:
        told["payload"] = "The body, byte for byte."
    for field in (*operation.query, *operation.body, *operation.headers):
        if field.name not in skip:
            told[identifier(field.name)] = field.description
    if operation.keyed:
        told["idempotency_key"] = (
            "A repeat with the same key within 24 hours gets the first answer; by default every"
            " call has a key of its own, which its retries keep."
        )
    return told


def _mapping(names: Sequence[str]) -> str:
    return "{" + ", ".join(f'"{name}": {identifier(name)}' for name in names) + "}"


def _constant(operation: Operation) -> str:
    return f"_{operation.name.upper()}"


def _class(group: str) -> str:
    return group.title().replace("_", "")


def _title(group: str) -> str:
    return _TITLES.get(group, group.replace("_", " ").capitalize())


# --- text -----------------------------------------------------------------------------------------


def _summary(schema: Schema, name: str) -> str:
    return str(schema.get("description") or f"{name}.")


def _docstring(text: str, *, indent: int, arguments: Mapping[str, str] | None = None) -> str:
    """A docstring whose first line is one sentence."""
    pad = " " * indent
    words = " ".join(text.split())
    first, _, rest = words.partition(". ")
    if len(first) >= _WIDTH - indent:
        # The clause before a colon or the like stands for the sentence.
        end = max(first.rfind(mark, 0, _WIDTH - indent - 1) for mark in (": ", "; ", ", "))
        if end < 0:
            raise Drift(f"The first sentence is too long: {first}")
        more = first[end + 2 :]
        first, rest = first[:end], f"{more[0].upper()}{more[1:]}. {rest}".strip()
    first = first if first.endswith((".", "!", "?")) else f"{first}."
    blocks = [first]
    if rest:
        blocks.append(textwrap.fill(rest, _WIDTH - indent))
    if arguments:
        blocks.append("\n".join(["Args:", *_argument_lines(arguments, _WIDTH - indent)]))
    text = "\n\n".join(blocks)
    if "\n" not in text:
        return f'{pad}"""{text}"""'
    return f'{pad}"""' + textwrap.indent(text, pad).lstrip() + f'\n{pad}"""'


def _argument_lines(arguments: Mapping[str, str], width: int) -> Iterator[str]:
    for name, told in arguments.items():
        text = " ".join(f"{name}: {told}".split())
        yield from textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="        ")
