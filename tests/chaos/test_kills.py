"""Kill -9 of every process while bots trade: nothing doubled, nothing lost, nothing invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.run import Options, run

OPTIONS = Options(
    kills=12, bots=10, seed=8, alerts_per_second=6.0, warm_up_seconds=25.0, stop_seconds_max=20
)
"""The bound of stops is wide: other tests share the cores."""

PROCESSES = {"api", "postgres", "simulator", "temporal", "worker", "exits-worker"}

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(600)]


def test_every_process_may_die_while_bots_trade(tmp_path: Path) -> None:
    outcome = run(OPTIONS, tmp_path / "evidence", print)

    assert [str(violation) for violation in outcome.violations] == []
    killed = {name for name, times in outcome.figures["kills"].items() if times}
    assert killed >= PROCESSES
    # The books are worth comparing only if there is something in them, in both modes.
    assert outcome.figures["fills"]["live"] >= 8
    assert outcome.figures["fills"]["paper"] >= 8
    assert outcome.figures["alerts"]["executed"] >= 10
    assert outcome.figures["commands"]["promises"] >= 5
