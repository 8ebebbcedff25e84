"""Roll-ups kept trade by trade equal the full recomputation, whatever was taken off again."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from domain.markets import Realm
from services.analytics.recounting import count_differences, rebuild, recount_all
from services.database import Database
from services.paper_accounts import PaperAccounts
from tests.analytics.conftest import StandingClock
from tests.analytics.trades import NOW, Book, open_book, some_result, some_time
from tests.support.traders import OPENING

pytestmark = pytest.mark.integration

STEPS = 45


async def differences(book: Book) -> int:
    async with book.database.for_user(book.trader.user_id) as session:
        return await count_differences(session, book.trader.account_id)


@pytest.mark.parametrize("seed", range(3))
async def test_random_trades_taken_off_and_changed_again(book: Book, seed: int) -> None:
    chance = random.Random(seed)

    for _ in range(STEPS):
        known = list(book.closed)
        step = chance.random()
        if step < 0.55 or not known:
            await book.close(some_time(chance), **some_result(chance))
        elif step < 0.75:
            await book.reopen(chance.choice(known))
        else:
            moved = {"closed_at": some_time(chance)} if chance.random() < 0.5 else {}
            result = {"realized_pnl": Decimal(chance.randrange(-500, 500)), "fees": Decimal(1)}
            await book.change(chance.choice(known), **result, **moved)

    assert await differences(book) == 0
    assert (await _total(book))["trades"] == len(book.closed)


async def test_what_is_taken_off_entirely_leaves_zeros(book: Book) -> None:
    best = await book.close(NOW, realized_pnl=Decimal(50))
    await book.close(NOW - timedelta(hours=1), realized_pnl=Decimal(20))

    await book.reopen(best)

    assert await differences(book) == 0
    row = await _total(book)
    assert (row["trades"], row["best_net"], row["worst_net"]) == (
        1,
        Decimal("19.75"),
        Decimal("19.75"),
    )


async def test_trades_that_close_at_once_are_all_counted(book: Book) -> None:
    chance = random.Random(7)
    results = [some_result(chance) for _ in range(24)]

    ids = await asyncio.gather(*(book.close(NOW, **result) for result in results))
    await asyncio.gather(*(book.reopen(one) for one in ids[:8]))

    assert await differences(book) == 0
    assert (await _total(book))["trades"] == 16


async def test_a_difference_is_found_and_mended(database: Database, book: Book) -> None:
    await book.close(NOW, realized_pnl=Decimal(5))
    other = await open_book(database)
    await other.close(NOW, realized_pnl=Decimal(7))
    await _spoil(book)
    assert await differences(book) > 0

    found = await recount_all(database, mend=True)

    assert found.wrong == (book.trader.account_id,)
    assert await differences(book) == await differences(other) == 0
    assert (await recount_all(database, mend=False)).wrong == ()


async def test_somebody_else_cannot_rebuild(database: Database, book: Book) -> None:
    await book.close(NOW, realized_pnl=Decimal(5))
    other = await open_book(database)

    async with database.for_user(other.trader.user_id) as session:
        await rebuild(session, book.trader.account_id)

    assert await differences(book) == 0
    assert (await _total(book))["trades"] == 1


@pytest.mark.parametrize("balance", [Decimal(5_000), OPENING])
async def test_a_reset_begins_anew(database: Database, book: Book, balance: Decimal) -> None:
    before = await book.close(NOW - timedelta(hours=1), realized_pnl=Decimal(5))
    await book.database_execute("UPDATE bot_runs SET state = 'ended' WHERE id = :id", book.run_id)
    paper = PaperAccounts(database, StandingClock(), realm=Realm.SIMULATED, opening_balance=balance)

    await paper.reset(book.trader.principal, "coinbase")

    assert await differences(book) == 0
    assert await _total(book) == {}
    # A fee found late belongs to a trade of before: it counts no more.
    await book.change(before, fees=Decimal(3))
    await book.close(NOW + timedelta(hours=1), realized_pnl=Decimal(8))
    assert await differences(book) == 0
    assert (await _total(book))["trades"] == 1


async def _total(book: Book) -> dict[str, object]:
    async with book.database.for_user(book.trader.user_id) as session:
        found = await (await session.connection()).execute(
            text(
                "SELECT sum(trades)::int AS trades, max(best_net) AS best_net,"
                " min(worst_net) AS worst_net FROM trade_rollups"
                " WHERE account_id = :id AND hour = -1 AND symbol = '' AND grain = 'month'"
                " HAVING count(*) > 0"
            ),
            {"id": book.trader.account_id},
        )
        row = found.mappings().first()
        return {} if row is None else dict(row)


async def _spoil(book: Book) -> None:
    await book.database_execute(
        "UPDATE trade_rollups SET trades = trades + 1 WHERE account_id = :id",
        book.trader.account_id,
    )
