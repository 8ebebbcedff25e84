"""`python -m simulation`: run seeds, print what they were made of, and every violation.

python -m simulation --seed 7 --hours 2            one seed
python -m simulation --seed 1 --seeds 200          200 seeds, on two processes
python -m simulation --seeds 200 --ledger runs     the same, and on again where it was interrupted
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

# Sets of names must have the same order in every process, or a seed would not reproduce.
if os.environ.get("PYTHONHASHSEED") != "0":
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]])  # noqa: S606 - ourselves

from simulation.ledger import Ledger, fingerprint
from simulation.runs import run_seeds
from simulation.scenario import Plan

TRACE_SHOWN = 60


def main() -> int:
    """Run what was asked for; 1 where an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--hours", type=float, default=1.0, help="virtual hours a seed")
    parser.add_argument("--bots", type=int, default=100, help="bots a seed")
    parser.add_argument(
        "--quiet-minutes", type=float, default=60.0, help="trouble between two quiet points"
    )
    parser.add_argument("--processes", type=int, default=2, help="seeds at once")
    parser.add_argument("--trace", help="a file for every line of one seed's trace")
    parser.add_argument(
        "--ledger", type=Path, help="a file of results: seeds in it are not run again"
    )
    wanted = parser.parse_args()
    plans = [
        Plan(
            seed,
            wanted.hours,
            wanted.bots,
            wanted.quiet_minutes,
            keeps_trace=wanted.trace is not None,
        )
        for seed in range(wanted.seed, wanted.seed + wanted.seeds)
    ]
    # Ended early, it still takes its server down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = 0
    totals: dict[str, float] = {}
    left, ledger = plans, None
    if wanted.ledger is not None:
        ledger = Ledger(wanted.ledger, fingerprint(), _commit())
        left, totals = ledger.left_of(plans)
    of_seed = {plan.seed: plan for plan in plans}
    for result in run_seeds(left, wanted.processes):
        if ledger is not None:
            ledger.add(of_seed[result.seed], result)
        for name, figure in result.figures.items():
            totals[name] = totals.get(name, 0) + figure
        outcome = "ok" if result.violation is None else f"VIOLATION {result.violation}"
        _say(f"seed {result.seed}: {outcome} ({_listed(result.figures)}) {result.digest[:16]}")
        if result.violation is not None:
            failed += 1
            _say("\n".join(result.trace[-TRACE_SHOWN:]))
            _say(f"Again: make simulate SEED={result.seed} {_shape(wanted)}")
        if wanted.trace is not None:
            with open(wanted.trace, "w", encoding="utf-8") as file:  # noqa: PTH123 - a user's path
                file.write("\n".join(result.trace))
    seeds = "1 seed" if len(plans) == 1 else f"{len(plans)} seeds"
    _say(f"{seeds}, {failed} with a violation: {_listed(totals)}")
    return 1 if failed else 0


def _shape(wanted: argparse.Namespace) -> str:
    return f"HOURS={wanted.hours} BOTS={wanted.bots} QUIET={wanted.quiet_minutes}"


def _commit() -> str:
    """The code that runs, as git names it; empty outside a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - git is where PATH says
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip()


def _listed(figures: dict[str, float]) -> str:
    def written(figure: float) -> str:
        return f"{figure:.0f}" if figure == int(figure) else f"{figure:.1f}"

    return ", ".join(f"{name.replace('_', ' ')} {written(it)}" for name, it in figures.items())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
