"""What documents say about tests is true, and what they claim about the code holds."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache

import pytest

from api.nija.errors import BY_CODE
from domain.alerts import AlertState
from domain.markets import MarketStatus
from domain.strategies.apex import ExitReason, ReasonCode
from models.trading import ExitState
from tests.architecture.product import ROOT, in_packages

RELIABILITY = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NIJA = (ROOT / "docs" / "nija.md").read_text(encoding="utf-8")
SIMULATOR = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
ROWS = [line for line in RELIABILITY.splitlines() if re.match(r"\| [A-Z]-\d\d ", line)]
FAILURE_MODES = [f"F-{number:02}" for number in range(1, 62)]
CITATION = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@cache
def functions_of(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_test_that_is_cited_exists() -> None:
    cited = CITATION.findall(RELIABILITY)
    missing = [
        f"{path}::{name}"
        for path, name in cited
        if not (ROOT / path).exists() or name not in functions_of(path)
    ]

    assert len(cited) > len(FAILURE_MODES)
    assert missing == []


def test_every_failure_mode_has_one_row() -> None:
    named = Counter(row.split()[1] for row in ROWS)

    assert [name for name, times in named.items() if times > 1] == []
    assert [name for name in FAILURE_MODES if name not in named] == []


def test_every_row_cites_a_test_or_says_who_will_own_it() -> None:
    empty = [row for row in ROWS if not CITATION.search(row) and not row.split("|")[-2].strip()]

    assert empty == []


@pytest.mark.parametrize("package", ["domain", "services", "activities", "workflows"])
def test_nothing_that_decides_reads_the_environment(package: str) -> None:
    """No setting or environment variable can turn a gate off: they are given to none."""
    reading = [
        f"{source.name}:{node.lineno}"
        for source in in_packages(package)
        for node in ast.walk(source.tree)
        if (isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"})
        or (isinstance(node, ast.ImportFrom) and node.module == "settings")
        or (isinstance(node, ast.Import) and "settings" in {name.name for name in node.names})
    ]

    assert reading == []


def test_every_code_and_reason_that_a_client_can_meet_is_in_the_dialects_page() -> None:
    """A client that meets one has to find what it means."""
    words = set(re.findall(r"\w+", NIJA))
    reasons = [*ReasonCode, *ExitReason, *AlertState, *MarketStatus, *ExitState]
    said = {wire.code for wire in BY_CODE.values()} | {reason.value for reason in reasons}

    assert sorted(said - words) == []


def test_examples_use_no_variable_that_the_page_does_not_set() -> None:
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", SIMULATOR, re.DOTALL))
    used = set(re.findall(r"\$\{?([A-Z_]+)", blocks))
    made = set(re.findall(r"\b([A-Z_]+)=", blocks))

    assert used - made == set()
    assert "…" not in blocks, "an example that cannot be run as it is written"
