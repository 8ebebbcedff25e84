"""`python -m chaos --kills N`: run, show the figures.

Exit code 1 where something was wrong, 2 where the run shows nothing: the stack did not get ready,
or nothing was traded.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from math import inf
from pathlib import Path

from rich.console import Console

from bench.figures import show
from chaos.delays import STOP_SECONDS_MAX
from chaos.run import Options, run

SHOWN_MAX = 40


def main() -> int:
    """Run one session."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--kills", type=int, required=True, help="how many processes are killed")
    parser.add_argument("--bots", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=inf, help="kill no longer than that")
    parser.add_argument(
        "--stop-seconds",
        type=float,
        default=STOP_SECONDS_MAX,
        help="bound of a crossed stop; wider where other work shares the cores",
    )
    parser.add_argument("--seed", type=int, help="drawn from the clock where left out")
    parser.add_argument(
        "--evidence", type=Path, help="folder for logs and books if something is wrong"
    )
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else time.time_ns() % 1_000_000
    evidence = given.evidence or Path("chaos-evidence") / f"{seed}-{time.time_ns()}"
    console = Console(highlight=False)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # connections to killed servers are usual
    console.print(f"Seed {seed}: {given.kills} kills among {given.bots} bots")
    options = Options(
        given.kills,
        given.bots,
        seed,
        minutes_max=given.minutes,
        stop_seconds_max=given.stop_seconds,
    )
    try:
        outcome = run(options, evidence, console.print)
    except AssertionError as failure:
        console.print(f"Nothing was shown: {failure}", style="red", markup=False)
        return 2
    show(console, "Chaos", outcome.figures)
    fills = outcome.figures["fills"]
    if not outcome.violations and not all(fills.values()):
        console.print(f"Nothing was shown: fills {fills}; is the machine too busy?", style="red")
        return 2
    if not outcome.violations:
        console.print("Nothing doubled, nothing lost, nothing invented.")
        return 0
    console.print(f"{len(outcome.violations)} violations with seed {seed}:", style="red")
    for violation in outcome.violations[:SHOWN_MAX]:
        console.print(f"  {violation}", markup=False)
    console.print(f"Logs and books are in {outcome.evidence}.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
