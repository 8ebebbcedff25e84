"""The reference of faults names every kind, call and parameter, and its examples are valid."""

import json
import re
from pathlib import Path

from simulator.faults import CallName, Kind, fault_of
from simulator.faults.kinds import DEFINITIONS

TEXT = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()


def test_every_kind_has_a_row_with_its_parameters() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXT, re.MULTILINE))

    for kind in Kind:
        assert kind in rows, kind
        for parameter in DEFINITIONS[kind].parameters:
            assert f"`{parameter}`" in rows[kind], (kind, parameter)


def test_every_call_is_named() -> None:
    assert all(f"`{call}`" in TEXT for call in CallName)


def test_every_kind_has_a_valid_example() -> None:
    examples = [json.loads(text) for text in re.findall(r"^fault '(\{.*\})'$", TEXT, re.MULTILINE)]

    faults = [
        fault_of({name: value for name, value in one.items() if name != "for_seconds"})
        for one in examples
    ]
    assert {fault.kind for fault in faults} == set(Kind)
