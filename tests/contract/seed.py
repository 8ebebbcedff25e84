"""The published document, as data: its calls with their samples, and its table of error codes.

The document is not part of this project; `NIJA_CONTRACTS_DIR` names the folder that holds it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER_VARIABLE = "NIJA_CONTRACTS_DIR"
_CALL = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)")
_CODE = re.compile(r"([A-Z][A-Z_]+) (\d{3}) \S")
_PAGINATION = json.dumps(
    {
        "page": 1,
        "per_page": 50,
        "total_items": 234,
        "total_pages": 5,
        "has_next": True,
        "has_prev": False,
    }
)


@dataclass(frozen=True)
class SeedCall:
    """A call as published."""

    method: str
    path: str
    request: Any
    response: Any

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def document() -> list[str] | None:
    """The lines of the document; None where nobody said where it is."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    return (Path(folder) / "seeds" / "nija.txt").read_text(encoding="utf-8").splitlines()


def calls(lines: list[str]) -> list[SeedCall]:
    """Every call, in the order of the document."""
    starts = [number for number, line in enumerate(lines) if _CALL.fullmatch(line)]
    ends = [*starts[1:], len(lines)]
    return [_call(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


def codes(lines: list[str]) -> dict[str, int]:
    """The table of error codes: each with its HTTP status."""
    found = (_CODE.match(line) for line in lines)
    return {match[1]: int(match[2]) for match in found if match}


def frames(lines: list[str]) -> dict[str, Any]:
    """The messages of the live updates, the client's and the server's, by type and channel."""
    section = lines[lines.index("WebSocket APIs") : lines.index("Webhook Endpoints")]
    found = {}
    for number, line in enumerate(section):
        if line == "{":
            frame = json.loads("\n".join(_block(section[number:])))
            found[" ".join(filter(None, (frame["type"], frame.get("channel"))))] = frame
    return found


def _call(lines: list[str]) -> SeedCall:
    matched = _CALL.fullmatch(lines[0])
    assert matched is not None
    if "Response:" not in lines:
        return SeedCall(matched[1], matched[2], None, None)
    answer = lines.index("Response:")
    request = _sample(lines[:answer], "Request:")
    return SeedCall(matched[1], matched[2], request, _sample(lines[answer:], "Response:"))


def _sample(lines: list[str], title: str) -> Any:
    if title not in lines:
        return None
    text = "\n".join(_block(lines[lines.index(title) + 1 :]))
    return json.loads(text.replace("{...}", _PAGINATION))


def _block(lines: list[str]) -> Iterator[str]:
    """The first JSON object of some lines."""
    is_inside = False
    for line in lines:
        is_inside = is_inside or line == "{"
        if is_inside:
            yield line
        if line == "}":
            return


def differences(sample: Any, live: Any, at: str = "") -> list[str]:
    """What of a sample a live answer lacks, or shows as another JSON type."""
    if sample is None:
        return []
    if _type(sample) != _type(live):
        return [f"{at or '.'}: {_type(live)} instead of {_type(sample)}"]
    if isinstance(sample, dict):
        missing = [f"{at}.{name}: missing" for name in sample if name not in live]
        return missing + [
            found
            for name in sample
            if name in live
            for found in differences(sample[name], live[name], f"{at}.{name}")
        ]
    if isinstance(sample, list) and sample:
        if not live:
            return [f"{at}: empty, so nothing is shown"]
        return [
            found
            for number, element in enumerate(live)
            for found in differences(_like(sample, element, number), element, f"{at}[{number}]")
        ]
    return []


def _like(samples: list[Any], element: Any, number: int) -> Any:
    """The sample that an element of a list corresponds to."""
    name = _name_of(element)
    named = [sample for sample in samples if name is not None and _name_of(sample) == name]
    return named[0] if named else samples[min(number, len(samples) - 1)]


def _name_of(element: Any) -> str | None:
    """What tells the elements of one list apart in kind; None in most lists."""
    if not isinstance(element, dict):
        return None
    name: str | None = element.get("tier") or element.get("event_type")
    return name


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {dict: "object", list: "array", str: "string", type(None): "null"}[type(value)]
