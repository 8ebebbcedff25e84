"""The ledger of a long run: what has a result is not run again, what broke a promise is."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation.ledger import CODE, BadLedger, Ledger, fingerprint
from simulation.scenario import Plan, Result
from simulation.violations import Violation

PLANS = [Plan(seed, hours=1.0, bots=3) for seed in (1, 2, 3)]


def _result(seed: int, violation: Violation | None = None) -> Result:
    return Result(seed, violation, [], "digest", {"orders": 10 * seed, "bot_hours": 0.5})


def test_an_interrupted_run_goes_on_with_the_seeds_without_a_result(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "runs", "code", "abc")
    assert ledger.left_of(PLANS) == (PLANS, {})

    for plan in PLANS[:2]:
        ledger.add(plan, _result(plan.seed))

    left, sums = Ledger(tmp_path / "runs", "code", "abd").left_of(PLANS)
    assert left == PLANS[2:]
    assert sums == {"orders": 30, "bot_hours": 1.0}


def test_a_seed_of_another_size_is_another_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "runs", "code", "abc")
    ledger.add(PLANS[0], _result(1))
    larger = [Plan(1, hours=1.0, bots=4)]

    assert ledger.left_of(larger) == (larger, {})


def test_a_violation_is_no_result(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "runs", "code", "abc")
    ledger.add(PLANS[0], _result(1, Violation("books", "they differ")))

    assert ledger.left_of(PLANS)[0] == PLANS


@pytest.mark.parametrize(
    "line", ["x", "[]", "{}", '{"seed": 1, "hours": 1, "bots": 1, "figures": 1}']
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "runs").write_text(line + "\n")

    with pytest.raises(BadLedger, match="runs"):
        Ledger(tmp_path / "runs", "code", "abc").left_of(PLANS)


def test_a_result_of_other_code_does_not_count(tmp_path: Path) -> None:
    Ledger(tmp_path / "runs", "before", "abc").add(PLANS[0], _result(1))

    assert Ledger(tmp_path / "runs", "after", "abc").left_of(PLANS) == (PLANS, {})


def test_the_fingerprint_changes_with_what_a_seed_runs_and_with_nothing_else(
    tmp_path: Path,
) -> None:
    for package in (*CODE, "docs"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "part.py").write_text("1")
    before = fingerprint(tmp_path)

    (tmp_path / "docs" / "part.py").write_text("2")
    assert fingerprint(tmp_path) == before

    changed = set()
    for package in CODE:
        (tmp_path / package / "part.py").write_text("2")
        changed.add(fingerprint(tmp_path))
    assert len(changed | {before}) == len(CODE) + 1
