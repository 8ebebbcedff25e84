"""The SDKs' methods and the API's calls are the same list, and each method makes its call."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import jsonschema
import pytest

import nija_sdk
from api.nija.surface import build_surface
from nija_sdk import AsyncNIJAClient, NIJAClient
from nija_sdk._resource import AsyncResource, Resource
from sdk.generate import differences
from sdk.generator.document import Document, Drift, Operation
from sdk.generator.python_code import identifier

SPECIFICATION = build_surface().openapi()


def document() -> Document:
    try:
        return Document(SPECIFICATION)
    except Drift as drift:
        pytest.fail(f"{drift}\nThen run .venv/bin/python sdk/generate.py")


def test_generated_files_are_those_of_the_document() -> None:
    document()

    assert differences() == [], "Run .venv/bin/python sdk/generate.py"


@pytest.mark.parametrize(
    ("client", "kind"),
    [
        (NIJAClient("token", base_url="http://localhost"), Resource),
        (AsyncNIJAClient("token", base_url="http://localhost"), AsyncResource),
    ],
)
def test_every_call_has_a_method_and_every_method_a_call(client: object, kind: type) -> None:
    methods = {
        f"{group}.{name}"
        for group, resource in vars(client).items()
        if isinstance(resource, kind)
        for name, _ in inspect.getmembers(resource, inspect.ismethod)
        if not name.startswith(("_", "iter_"))
    }

    assert methods == {f"{it.group}.{it.name}" for it in document().operations}


def test_a_call_without_a_name_and_a_name_without_a_call_are_refused() -> None:
    paths = dict(SPECIFICATION["paths"])
    paths["/account/news"] = paths["/account/balance"]
    with pytest.raises(Drift, match="GET /account/news"):
        Document({**SPECIFICATION, "paths": paths})

    del paths["/account/news"], paths["/account/balance"]
    with pytest.raises(Drift, match="GET /account/balance"):
        Document({**SPECIFICATION, "paths": paths})


def test_the_python_package_needs_nothing_of_the_server() -> None:
    allowed = {"httpx", "nija_sdk", "websockets", *sys.stdlib_module_names}
    found = {
        name.split(".")[0]
        for path in Path(nija_sdk.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert found - allowed == set()


# --- what the methods send ------------------------------------------------------------------------


SIMPLE = {"integer": 1, "number": 1, "boolean": True}
TEXTS = {"date": "2026-01-29", "date-time": "2026-01-29T10:42:00Z"}


def example(schema: dict[str, Any]) -> Any:
    """A value of a schema."""
    if "$ref" in schema:
        return example(SPECIFICATION["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in schema:
        return example(schema["anyOf"][0])
    if given := schema.get("enum") or schema.get("examples"):
        return given[0]
    if schema.get("type") == "object":
        return {name: example(part) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [example(schema["items"])]
    text = "pm_1" if str(schema.get("pattern")).startswith("^pm_") else "BTC-USD"
    return SIMPLE.get(schema.get("type", ""), TEXTS.get(schema.get("format", ""), text))


def arguments(operation: Operation) -> tuple[list[Any], dict[str, Any]]:
    """Something for every parameter of a method."""
    given: list[Any] = [f"{place}/1" for place in operation.places]
    if operation.takes_raw_body:
        given.append(b'{"raw": true}')
    fields = (*operation.query, *operation.body, *operation.headers)
    named = {identifier(field.name): example(dict(field.schema)) for field in fields}
    return given, named


def check_request(operation: Operation, request: httpx.Request, named: dict[str, Any]) -> None:
    """The request is the call that the document describes, with everything that was given."""
    places = [f"{place}%2F1" for place in operation.places]
    template = re.sub(r"{\w+}", "{}", operation.path)
    assert request.method == operation.method
    assert request.url.raw_path.decode().split("?")[0] == f"/api/v1{template.format(*places)}"
    assert set(parse_qs(request.url.query.decode())) == {field.name for field in operation.query}
    assert ("authorization" in request.headers) == (not operation.public)
    assert ("idempotency-key" in request.headers) == operation.keyed
    for field in operation.headers:
        assert request.headers[field.name] == named[identifier(field.name)]
    content = SPECIFICATION["paths"][operation.path][operation.method.lower()].get("requestBody")
    if content and not operation.takes_raw_body:
        body = json.loads(request.content)
        schema = content["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": SPECIFICATION["components"]})
        assert set(body) == {field.name for field in operation.body}


def answer(operation: Operation) -> httpx.Response:
    """A success made of the document's own shapes."""
    data = example({"$ref": f"#/components/schemas/{operation.result}"})
    return httpx.Response(200, json={"success": True, "data": data, "timestamp": "now"})


OPERATIONS = [pytest.param(it, id=f"{it.method} {it.path}") for it in document().operations]


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_method_makes_its_call(operation: Operation) -> None:
    requests: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return answer(operation)

    given, named = arguments(operation)
    blocking = NIJAClient("token", http_client=httpx.Client(transport=httpx.MockTransport(serve)))
    asynchronous = AsyncNIJAClient(
        "token", http_client=httpx.AsyncClient(transport=httpx.MockTransport(serve))
    )

    found = getattr(getattr(blocking, operation.group), operation.name)(*given, **named)
    again = await getattr(getattr(asynchronous, operation.group), operation.name)(*given, **named)

    assert found == again
    assert type(found).__name__ == operation.result
    assert len(requests) == 2
    for request in requests:
        check_request(operation, request, named)
