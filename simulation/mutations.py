"""`python -m simulation.mutations`: break the product in one way at a time, and see it caught.

Each mutation is applied to a copy of the tree, never to the product itself. A seed of the
simulation has to end with a violation within `SEEDS_MAX` seeds, or the check fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEEDS_MAX = 50
SEED_SECONDS_MAX = 900
_VIOLATION = re.compile(r"^seed (\d+): VIOLATION (\w+): (.*)$", re.MULTILINE)
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "node_modules", "*.egg-info")


@dataclass(frozen=True, slots=True)
class Edit:
    """A text of a file and what takes its place."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Mutation:
    """One way to break the product."""

    name: str
    breaks: str
    edits: Sequence[Edit]


class Outdated(Exception):
    """The product does not contain what a mutation changes any more."""


MUTATIONS = (
    Mutation(
        "client-id",
        "the client order id depends on its intent",
        (
            Edit(
                "domain/orders.py",
                'f"{account_id}|{run_id}|{cause}|{leg}|{attempt}"',
                'f"{account_id}|{run_id}|{cause}|{leg}|{uuid.uuid4()}"',
            ),
        ),
    ),
    Mutation(
        "look-up",
        "an order whose answer was lost is looked up before another takes its place",
        (
            Edit(
                "services/orders/refusals.py",
                "        return OrderState.UNKNOWN, refusal\n",
                "        return OrderState.REFUSED, refusal\n",
            ),
        ),
    ),
    Mutation(
        "fills",
        "a fill is booked once",
        (
            Edit(
                "services/orders/booking.py",
                "venue_fill_id=report.venue_fill_id,",
                'venue_fill_id=f"{report.venue_fill_id}:{order.filled_quantity}",',
            ),
            Edit(
                "domain/reconciliation.py",
                " and fill.venue_fill_id not in recorded",
                "",
            ),
        ),
    ),
    Mutation(
        "gate",
        "an entry passes the gates again in the transaction that marks it as being sent",
        (
            Edit(
                "services/orders/placing.py",
                "            if refusal is not None:\n                state = OrderState.DENIED",
                "            if refusal is not None and terms is None:\n"
                "                state = OrderState.DENIED",
            ),
        ),
    ),
    Mutation(
        "mark",
        "an exit that the exits worker makes is marked as being sent before it leaves",
        (
            Edit(
                "services/orders/placing.py",
                "\n        await self._fit_to_market(session, key, position, order)\n"
                "        self._note_sending(order, venue_now)\n",
                "\n        await self._fit_to_market(session, key, position, order)\n",
            ),
        ),
    ),
    Mutation(
        "exits",
        "an exit waits for nothing but the database and the venue's answer to it",
        (
            Edit(
                "services/orders/placing.py",
                "        until = deadline(is_entry=sendable.is_entry)\n",
                "        await self._venues.market_data(sendable.key).order_book("
                "sendable.order.symbol)\n"
                "        until = deadline(is_entry=sendable.is_entry)\n",
            ),
            Edit(
                "services/orders/placing.py",
                "        until = deadline(is_entry=False)\n"
                "        key = VenueKey(ref.venue, ref.realm)\n",
                "        until = deadline(is_entry=False)\n"
                "        key = VenueKey(ref.venue, ref.realm)\n"
                "        await self._venues.market_data(key).order_book(order.symbol)\n",
            ),
        ),
    ),
)


def check(mutation: Mutation, seeds: int, options: Sequence[str]) -> str | None:
    """Run seeds over a broken copy; what caught it, None where nothing did.

    Raises:
        Outdated: there is nothing to break where it is looked for.
    """
    with tempfile.TemporaryDirectory(prefix="nija-mutation-") as folder:
        copy = Path(folder) / "nija"
        shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
        for edit in mutation.edits:
            path = copy / edit.file
            text = path.read_text(encoding="utf-8")
            if edit.before not in text:
                raise Outdated(f"{mutation.name}: {edit.file} has no {edit.before!r}")
            path.write_text(text.replace(edit.before, edit.after), encoding="utf-8")
        for seed in range(1, seeds + 1):
            ended = subprocess.run(  # noqa: S603 - our own module in a copy of our own tree
                [sys.executable, "-m", "simulation", "--seed", str(seed), *options],
                cwd=copy,
                env={**os.environ, "PYTHONPATH": str(copy), "PYTHONHASHSEED": "0"},
                capture_output=True,
                text=True,
                check=False,
                timeout=SEED_SECONDS_MAX,
            )
            if (found := _VIOLATION.search(ended.stdout)) is not None:
                return f"seed {found[1]}: {found[2]}: {found[3][:200]}"
            if ended.returncode:
                raise Outdated(f"{mutation.name}: the simulation ended\n{ended.stderr[-2000:]}")
    return None


def main() -> int:
    """Check what was asked for; 1 where a mutation was not caught."""
    parser = argparse.ArgumentParser(prog="python -m simulation.mutations", description=__doc__)
    names = [mutation.name for mutation in MUTATIONS]
    parser.add_argument("names", nargs="*", choices=[*names, []], help="all when left out")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX)
    parser.add_argument("--hours", default="1")
    parser.add_argument("--bots", default="8")
    wanted = parser.parse_args()
    missed = 0
    for mutation in MUTATIONS:
        if wanted.names and mutation.name not in wanted.names:
            continue
        caught = check(mutation, wanted.seeds, ("--hours", wanted.hours, "--bots", wanted.bots))
        missed += caught is None
        outcome = f"caught by {caught}" if caught else f"NOT CAUGHT by {wanted.seeds} seeds"
        sys.stdout.write(f"{mutation.name} ({mutation.breaks}): {outcome}\n")
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
