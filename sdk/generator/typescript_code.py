"""Writes `src/generated/models.ts` and `src/generated/resources.ts`."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sdk.generator.document import Document, Drift, Field, Operation, Schema, references, variants

_MARK = "// Generated from the OpenAPI document by sdk/generate.py; do not edit.\n"
_WIDTH = 100
_SCALARS = {
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
    "string": "string",
}


def typescript_files(document: Document) -> Mapping[str, str]:
    """Every generated file by its name."""
    return {"models.ts": _models(document), "resources.ts": _resources(document)}


# --- shapes ---------------------------------------------------------------------------------------


def _models(document: Document) -> str:
    answered, sent = set(document.answered()), set(document.sent())
    lines = [_MARK]
    opaque = json.dumps(document.opaque_names())
    lines += [
        "/** Properties that hold mappings with names of their own, which stay as they are. */",
        f"export const OPAQUE: ReadonlySet<string> = new Set({opaque});",
    ]
    for name in sorted(answered | sent):
        shape = document.schemas[name]
        lines += ["", *_comment(str(shape.get("description") or f"{name}."), "")]
        if "enum" in shape:
            lines.append(f"export type {name} = {_literal(shape['enum'])};")
            continue
        lines.append(f"export interface {name} {{")
        for field in document.fields(name):
            lines += _property(field, sent=name in sent)
        lines.append("}")
    return "\n".join(lines) + "\n"


def _property(field: Field, *, sent: bool) -> Iterator[str]:
    if told := field.schema.get("description"):
        yield from _comment(str(told), "  ")
    mark = "" if field.required else "?"
    name = _sent_name(field.name) if sent else camel(field.name)
    yield f"  {name}{mark}: {typescript_type(field.schema, sent=sent)};"


def typescript_type(schema: Schema, *, sent: bool = False, prefix: str = "") -> str:
    """The type for a schema."""
    parts, nullable = variants(schema)
    names = list(dict.fromkeys(_one_type(part, sent=sent, prefix=prefix) for part in parts))
    return " | ".join([*names, "null"] if nullable else names)


def _one_type(schema: Schema, *, sent: bool, prefix: str) -> str:
    kind = str(schema.get("type"))
    if "$ref" in schema:
        return f"{prefix}{references(schema)[0]}"
    if "enum" in schema or "const" in schema:
        return _literal(schema.get("enum") or [schema["const"]])
    if kind == "array":
        return f"Array<{typescript_type(schema['items'], sent=sent, prefix=prefix)}>"
    if kind == "object":
        more = schema.get("additionalProperties")
        value = typescript_type(more if isinstance(more, dict) else {}, sent=sent, prefix=prefix)
        return f"Record<string, {value}>"
    if sent and schema.get("format") in {"date", "date-time"}:
        return "string | Date"
    return _SCALARS.get(kind, "unknown")


def _literal(values: Sequence[object]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def camel(name: str) -> str:
    """A wire name as JavaScript writes it."""
    return re.sub(r"[_-]([a-z0-9])", lambda match: match[1].upper(), name)


def _sent_name(name: str) -> str:
    """A name that the runtime can turn back into the one on the wire.

    Raises:
        Drift: it cannot.
    """
    written = camel(name)
    if re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", written) != name:
        raise Drift(f"{name} cannot be told from {written}")
    return written


# --- methods --------------------------------------------------------------------------------------


def _resources(document: Document) -> str:
    lines = [
        _MARK,
        'import type { CallOptions, KeyedCallOptions, Operation } from "../calls.js";',
        'import { Resource } from "../resource.js";',
        'import type { Transport } from "../transport.js";',
        'import type * as models from "./models.js";',
        "",
        "/** Every endpoint by the name of its method. */",
        "export const OPERATIONS = {",
        *(_operation_entry(operation) for operation in document.operations),
        "} as const satisfies Record<string, Operation>;",
    ]
    for group, operations in document.groups().items():
        for operation in operations:
            lines += _params_interface(operation)
        lines += [
            "",
            f"/** {_title(group)}. */",
            f"export class {_class(group)} extends Resource {{",
        ]
        for number, operation in enumerate(operations):
            lines += [*([""] if number else []), *_method(operation)]
            if operation.paging is not None:
                lines += ["", *_iterator(operation)]
        lines.append("}")
    groups = list(document.groups())
    lines += ["", "/** One attribute for each group of endpoints. */", "export class Groups {"]
    lines += [f"  readonly {camel(it)}: {_class(it)};" for it in groups]
    lines += ["", "  constructor(transport: Transport) {"]
    lines += [f"    this.{camel(it)} = new {_class(it)}(transport);" for it in groups]
    lines += ["  }", "}"]
    return "\n".join(lines) + "\n"


def _operation_entry(operation: Operation) -> str:
    parts: dict[str, object] = {"method": operation.method, "path": operation.path}
    if operation.query:
        parts["query"] = [_sent_name(field.name) for field in operation.query]
    if operation.headers:
        parts["headers"] = {camel(field.name): field.name for field in operation.headers}
    if operation.body:
        parts["body"] = True
    for flag in ("keyed", "public"):
        if getattr(operation, flag):
            parts[flag] = True
    return f"  {json.dumps(_key(operation))}: {json.dumps(parts)},"


def _params_interface(operation: Operation) -> Iterator[str]:
    fields = _fields(operation)
    if not fields:
        return
    yield ""
    yield f"/** Parameters of `{_key(operation)}`. */"
    yield f"export interface {_params(operation)} {{"
    for field in fields:
        yield from _comment(field.description, "  ")
        mark = "" if field.required else "?"
        name = camel(field.name) if field in operation.headers else _sent_name(field.name)
        yield f"  {name}{mark}: {typescript_type(field.schema, sent=True, prefix='models.')};"
    yield "}"


def _method(operation: Operation) -> Iterator[str]:
    yield from _comment(operation.summary, "  ")
    yield f"  {camel(operation.name)}("
    yield from (f"    {parameter}," for parameter in _parameters(operation))
    yield f"  ): Promise<models.{operation.result}> {{"
    given = [
        f"OPERATIONS[{json.dumps(_key(operation))}]",
        "{ " + ", ".join(map(camel, operation.places)) + " }" if operation.places else "{}",
        "params" if _fields(operation) else "{}",
        "options",
        *(["payload"] if operation.takes_raw_body else []),
    ]
    yield f"    return this.send({', '.join(given)});"
    yield "  }"


def _iterator(operation: Operation) -> Iterator[str]:
    paging = operation.paging
    assert paging is not None
    given = "".join(f"{camel(place)}, " for place in operation.places)
    yield from _comment(f"{operation.summary.rstrip('.')}: every item of every page.", "  ")
    yield f"  {camel(f'iter_{operation.name}')}("
    yield from (f"    {camel(place)}: string," for place in operation.places)
    yield f'    params: Omit<{_params(operation)}, "page"> = {{}},'
    yield "    options: CallOptions = {},"
    yield f"  ): AsyncGenerator<models.{paging.item_shape}> {{"
    yield "    return this.iterate("
    yield f"      (page) => this.{camel(operation.name)}({given}{{ ...params, page }}, options),"
    yield f"      (found) => found.{camel(paging.items)},"
    yield f"      (item) => item.{camel(paging.key)},"
    yield "    );"
    yield "  }"


def _parameters(operation: Operation) -> Iterator[str]:
    for place in operation.places:
        yield f"{camel(place)}: string"
    if operation.takes_raw_body:
        yield "payload: string | Uint8Array"
    fields = _fields(operation)
    if fields:
        default = "" if any(field.required for field in fields) else " = {}"
        yield f"params: {_params(operation)}{default}"
    yield f"options: {'Keyed' if operation.keyed else ''}CallOptions = {{}}"


def _fields(operation: Operation) -> Sequence[Field]:
    return [*operation.query, *operation.body, *operation.headers]


def _params(operation: Operation) -> str:
    return f"{_class(operation.group)}{_class(operation.name)}Params"


def _key(operation: Operation) -> str:
    return f"{camel(operation.group)}.{camel(operation.name)}"


def _class(name: str) -> str:
    written = camel(name)
    return written[0].upper() + written[1:]


def _title(group: str) -> str:
    return {"config": "Settings and brokers"}.get(group, group.replace("_", " ").capitalize())


def _comment(text: str, pad: str) -> Sequence[str]:
    words = " ".join(text.split()).replace("*/", "* /")
    if len(pad) + len(words) + 7 <= _WIDTH:
        return [f"{pad}/** {words} */"]
    wrapped = textwrap.wrap(words, _WIDTH - len(pad) - 3)
    return [f"{pad}/**", *(f"{pad} * {line}" for line in wrapped), f"{pad} */"]
