"""What must hold at a quiet point: nothing goes wrong any more, and everything has had its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from domain.markets import Mode
from services.orders.comparing import SETTLED_AFTER
from simulation.books import Books, busy, read, read_books
from simulation.database import SteppedDatabase
from simulation.drill import drill
from simulation.invariants import (
    check_balances,
    check_fills,
    check_flat_exits,
    check_identity,
    check_orders,
    check_positions,
    check_profits,
    check_shortfalls,
    check_stops,
)
from simulation.processes import Process
from simulation.violations import Violation
from simulation.worth import check_worth

if TYPE_CHECKING:
    from simulation.scenario import Scenario

EXIT_SECONDS_MAX = 150.0
"""Virtual: an exit that is due is through so long after the venue and we are well again. The
longest pause between two attempts is a minute."""

SETTLE_SECONDS_MAX = 1_800.0
LOOK_SECONDS = 20.0


class Checks:
    """Waits until everything is quiet, then compares."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        ground = scenario.ground
        self._database = SteppedDatabase(ground.urls, ground.scheduler, Process("check", 1))
        self.points = 0
        self.paper_orders = 0

    async def quiet_point(self) -> None:
        """Settle, compare, go on.

        Raises:
            Violation: something does not hold.
        """
        await drill(self._scenario, self._database)
        await asyncio.sleep(EXIT_SECONDS_MAX)
        left = await busy(self._database)
        if left.get("due_exits"):
            await self._explain_exits()
        await self._settle()
        await self._reconcile()
        await asyncio.sleep(LOOK_SECONDS)  # what is missing is believed at the second look
        await self._reconcile()
        await self._settle()
        self._scenario.venue.catch_up()
        books = await read_books(self._database)
        self._compare(books)
        await check_worth(self._database, books, self._scenario.venue, self._scenario.users)
        self.points += 1
        self.paper_orders = len(books.paper_orders)

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_SECONDS_MAX
        while True:
            left = await busy(self._database)
            workflows = self._scenario.temporal.busy()
            if not left and not workflows:
                return
            if loop.time() >= deadline:
                raise Violation("does_not_settle", f"left after half an hour: {left} {workflows}")
            if left.get("due_exits"):
                await self._reconcile()
            await asyncio.sleep(LOOK_SECONDS)

    async def _reconcile(self) -> None:
        """Have what users moved a moment ago noticed now; else it is at the next interval."""
        await asyncio.sleep(
            SETTLED_AFTER.total_seconds()
        )  # sooner after a fill nothing is concluded
        worker = await self._scenario.workers.some_worker()
        for user in self._scenario.users:
            work = worker.services.reconciling.reconcile(user.user_id, user.account_ids[Mode.LIVE])
            await worker.process.spawn(work)

    async def _explain_exits(self) -> None:
        due = await read(
            self._database,
            """SELECT p.id, p.symbol, p.account_id, p.open_quantity, p.close_requested,
                      o.leg, o.state, o.attempt, o.refusal_code, o.refusal_reason, o.settled_at
               FROM positions p LEFT JOIN orders o ON o.position_id = p.id AND o.leg <> 'entry'
               WHERE p.state = 'open' AND p.open_quantity > 0
                 AND (p.close_requested IS NOT NULL OR EXISTS (
                      SELECT FROM triggers t WHERE t.position_id = p.id AND t.state = 'fired'))
               ORDER BY p.id, o.intended_at DESC, o.attempt DESC""",
        )
        taken = self._scenario.venue.taken()
        # An exit of coins that users have taken ends when two reconciliations have noticed it.
        check_flat_exits(
            [row for row in due if (str(row["account_id"]), row["symbol"][:-4]) not in taken]
        )

    def _compare(self, books: Books) -> None:
        venue = self._scenario.venue
        check_identity(books)
        check_orders(books, venue)
        check_fills(books, venue)
        check_balances(books, venue, self._scenario.users)
        check_positions(books)
        check_shortfalls(books, venue)
        check_profits(books)
        check_stops(books, venue)
