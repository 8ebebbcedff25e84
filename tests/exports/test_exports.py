"""Asking for a file, what is in it, and who can have it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest

from domain.exports import ExportData, ExportFormat, ExportState, ObjectStoreUnavailable
from models.trading import Order
from services.account_views.choice import AccountChoice
from services.audit import AuditEvent, record
from services.errors import ExceedsTierLimit, InvalidRequest, ObjectNotFound
from services.exports.errors import ExportFailed, ExportsUnavailable
from services.exports.requests import ExportView, ExportWish
from services.exports.sweeping import ExportSweep
from services.exports.writing import PAGE
from tests.analytics.trades import NOW, Book, open_book
from tests.exports.conftest import Stage

pytestmark = pytest.mark.integration

ANY = AccountChoice()
CSV = ExportWish(ExportFormat.CSV, ExportData.TRADES)
JSON = ExportWish(ExportFormat.JSON, ExportData.TRADES)


async def ask(stage: Stage, wish: ExportWish = CSV, book: Book | None = None) -> ExportView:
    return await stage.exports.request((book or stage.book).trader.principal, ANY, wish)


def parts(view: ExportView) -> tuple[str, int, str]:
    """Name, end and signature of a link."""
    assert view.download_url is not None
    link = urlsplit(view.download_url)
    query = parse_qs(link.query)
    return link.path.removeprefix("/exports/"), int(query["expires"][0]), query["signature"][0]


async def content(stage: Stage, view: ExportView) -> bytes:
    found = await stage.exports.follow(*parts(view))
    return b"".join([chunk async for chunk in found.opened.content])


async def table(stage: Stage, view: ExportView) -> list[dict[str, str]]:
    text = (await content(stage, view)).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_a_command_is_one_export_however_often_it_is_given(stage: Stage) -> None:
    principal, command_id = stage.book.trader.principal, uuid4()

    views = [
        await stage.exports.request(principal, ANY, CSV, command_id=command_id) for _ in range(2)
    ]

    assert [view.id for view in views] == [command_id] * 2
    assert len(await stage.exports.recent(principal)) == 1


# --- what is in a file ----------------------------------------------------------------------------


async def test_trades_as_csv(stage: Stage) -> None:
    trade = await stage.book.close(
        NOW,
        realized_pnl=Decimal("-12.50"),
        exit_notional=Decimal("87.50"),
        entry_quantity=Decimal("0.00000300"),
        exit_quantity=Decimal("0.00000300"),
        fees=Decimal("0.10"),
    )
    await stage.book.close(NOW - timedelta(days=9), realized_pnl=Decimal(1))

    view = await ask(stage, ExportWish(CSV.format, CSV.data, start=NOW - timedelta(days=1)))

    assert (view.state, view.row_count) == (ExportState.READY, 1)
    raw = await content(stage, view)
    assert view.file_size_bytes == len(raw)
    assert raw.startswith(b"trade_id,symbol,side,status,entry_price,")
    assert raw.count(b"\r\n") == 2
    (row,) = await table(stage, view)
    expected = {
        "trade_id": f"trd_{trade.hex}",
        "status": "closed",
        "quantity": "0.000003",
        "realized_pnl": "-12.5",
        "realized_pnl_pct": "-12.5",
        "net_pnl": "-12.6",
        "closed_at": "2026-03-15T18:30:00Z",
        "duration_minutes": "45",
        "mode": "paper",
    }
    assert {name: row[name] for name in expected} == expected
    assert float(row["realized_pnl"]) < 0, "a negative number stays a number"


async def test_trades_as_json(stage: Stage) -> None:
    for pnl in ("-1.10", "2"):
        await stage.book.close(NOW, realized_pnl=Decimal(pnl))

    view = await ask(stage, JSON)

    read = json.loads(await content(stage, view), parse_float=Decimal)
    assert (read["data_type"], read["mode"], read["row_count"]) == ("trades", "paper", 2)
    assert {row["realized_pnl"] for row in read["rows"]} == {Decimal("-1.1"), 2}


async def test_an_empty_file_is_one_too(stage: Stage) -> None:
    assert await table(stage, await ask(stage)) == []
    assert json.loads(await content(stage, await ask(stage, JSON)))["rows"] == []


async def test_open_and_closed_positions(stage: Stage) -> None:
    closed = await stage.book.close(NOW, realized_pnl=Decimal(1))
    opened = await stage.book.close(NOW, realized_pnl=Decimal(1), symbol="ETH-USD")
    await stage.book.reopen(opened)

    async def ids(*, with_closed: bool, with_open: bool) -> set[str]:
        wish = ExportWish(
            ExportFormat.CSV,
            ExportData.POSITIONS,
            with_closed=with_closed,
            with_open=with_open,
        )
        return {row["position_id"] for row in await table(stage, await ask(stage, wish))}

    assert await ids(with_closed=True, with_open=False) == {f"pos_{closed.hex}"}
    assert await ids(with_closed=False, with_open=True) == {f"pos_{opened.hex}"}
    assert len(await ids(with_closed=True, with_open=True)) == 2


async def test_orders(stage: Stage) -> None:
    position_id = await stage.book.close(NOW, realized_pnl=Decimal(1))
    await _add_order(stage, position_id, refusal_reason="=HYPERLINK(1)")

    (row,) = await table(stage, await ask(stage, ExportWish(CSV.format, ExportData.ORDERS)))

    assert (row["position_id"], row["quantity"], row["limit_price"]) == (
        f"pos_{position_id.hex}",
        "1.5",
        "",
    )
    assert row["refusal_reason"] == "'=HYPERLINK(1)"


@pytest.mark.parametrize("kind", ExportFormat)
async def test_numbers_are_written_digit_by_digit(stage: Stage, kind: ExportFormat) -> None:
    quantity, price, later = "1234567890123.00000001", "0.000000001234", "0.000000001235"
    coins = {"entry_quantity": Decimal(quantity), "exit_quantity": Decimal(quantity)}
    position_id = await stage.book.close(
        NOW,
        **coins,
        entry_notional=Decimal(quantity) * Decimal(price),
        exit_notional=Decimal(quantity) * Decimal(later),
        realized_pnl=Decimal("1.23456789012300000001"),
        fees=Decimal("0.000000001"),
    )
    await _add_order(
        stage,
        position_id,
        quantity=Decimal(quantity),
        type="limit",
        limit_price=Decimal(price),
    )

    trades = await content(stage, await ask(stage, ExportWish(kind, ExportData.TRADES)))
    orders = await content(stage, await ask(stage, ExportWish(kind, ExportData.ORDERS)))

    for number in (quantity, price, later, "0.000000001"):
        assert number.encode() in trades
    assert b"1.23456789012" in trades
    for number in (quantity, price):
        assert number.encode() in orders
    assert b"E-" not in trades + orders


async def test_orders_are_chosen_and_dated_by_the_venues_clock(stage: Stage) -> None:
    """On a replay the two clocks are years apart."""
    stage.clock.moment = NOW + timedelta(days=3_000)
    position_id = await stage.book.close(NOW, realized_pnl=Decimal(1))
    made = {"intended_at": stage.clock.moment, "cause": "bar:1", "venue_sent_at": NOW}
    await _add_order(stage, position_id, **made)
    long_ago = NOW - timedelta(days=9)
    await _add_order(stage, position_id, **made, created_at=long_ago, leg="stop")
    wish = ExportWish(CSV.format, ExportData.ORDERS, start=NOW - timedelta(days=1))

    view = await ask(stage, replace(wish, end=NOW + timedelta(days=1)))

    (row,) = await table(stage, view)
    assert (row["leg"], row["intended_at"], row["sent_at"]) == (
        "entry",
        "2026-03-15T18:30:00Z",
        "2026-03-15T18:30:00Z",
    )
    assert (await ask(stage, replace(wish, start=NOW + timedelta(days=1)))).row_count == 0
    assert (await ask(stage, wish)).file_name == "nija_orders_2026-03-14_2026-03-15.csv"


async def test_the_audit_log_and_its_formulas(stage: Stage) -> None:
    other = await open_book(stage.database)
    agents = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", 'Mozilla/5.0, "x"\nä']
    async with stage.database.as_system() as session:
        for user_id in (stage.book.trader.user_id, other.trader.user_id):
            for agent in agents:
                record(session, AuditEvent.USER_LOGIN, user_id=user_id, user_agent=agent, at=NOW)

    export = await ask(stage, ExportWish(CSV.format, ExportData.AUDIT))
    rows = await table(stage, export)

    logins = [row for row in rows if row["event_type"] == AuditEvent.USER_LOGIN]
    assert sorted(row["user_agent"] for row in logins) == sorted(
        agent if agent.startswith("M") else f"'{agent}" for agent in agents
    )
    (asking,) = [row for row in rows if row not in logins]
    assert asking["event_type"] == "export_requested"
    assert json.loads(asking["metadata"]) == {
        "export_id": str(export.id),
        "data_type": "audit",
        "format": "csv",
    }


async def test_what_an_administrator_did_names_no_address_and_no_note(stage: Stage) -> None:
    user_id = stage.book.trader.user_id
    async with stage.database.as_system() as session:
        for actor_id in (user_id, uuid4()):
            record(
                session,
                AuditEvent.USER_UPDATED,
                user_id=user_id,
                actor_id=actor_id,
                ip="203.0.113.7",
                user_agent="a browser",
                meta={"note": "a suspicion", "changed": {"size": 0.00001}},
                at=NOW,
            )

    rows = await table(stage, await ask(stage, ExportWish(CSV.format, ExportData.AUDIT)))

    told = sorted(
        (row["ip_address"], row["user_agent"], row["metadata"])
        for row in rows
        if row["event_type"] == AuditEvent.USER_UPDATED
    )
    changed = '{"changed":{"size":0.00001}}'
    assert told == [("", "", changed), ("203.0.113.7", "a browser", changed)]


async def test_many_rows_are_written_page_by_page(stage: Stage) -> None:
    await _multiply(stage)

    rows = await table(stage, await ask(stage))

    assert len({row["trade_id"] for row in rows}) == COPIES + 1


# --- who can have it ------------------------------------------------------------------------------


async def test_somebody_else_s_export_is_not_there(stage: Stage) -> None:
    view = await ask(stage)
    other = (await open_book(stage.database)).trader.principal

    with pytest.raises(ObjectNotFound):
        await stage.exports.find(other, view.id)
    assert await stage.exports.recent(other) == []
    assert [one.id for one in await stage.exports.recent(stage.book.trader.principal)] == [view.id]


async def test_a_file_holds_its_owner_s_rows_alone(stage: Stage) -> None:
    await stage.book.close(NOW, realized_pnl=Decimal(1))
    other = await open_book(stage.database)
    theirs = await other.close(NOW, realized_pnl=Decimal(2))

    (row,) = await table(stage, await ask(stage, book=other))

    assert row["trade_id"] == f"trd_{theirs.hex}"


async def test_a_link_is_of_one_file_and_ends(stage: Stage) -> None:
    mine, second = await ask(stage), await ask(stage, JSON)
    name, expires, signature = parts(mine)
    forged = [
        (parts(second)[0], expires, signature),
        (name, expires + 1, signature),
        (name, expires, "0" * 64),
        (name, expires, "ä"),
        ("../" + name, expires, signature),
    ]

    for link in forged:
        with pytest.raises(ObjectNotFound):
            await stage.exports.follow(*link)
    assert await content(stage, mine)
    stage.clock.advance(hours=1)
    with pytest.raises(ObjectNotFound):
        await stage.exports.follow(name, expires, signature)
    fresh = await stage.exports.find(stage.book.trader.principal, mine.id)
    assert await content(stage, fresh), "a new link can be had while the file stays"


async def test_a_suspended_user_s_links_lead_nowhere(stage: Stage) -> None:
    view = await ask(stage)
    await stage.book.database_execute(
        "UPDATE users SET status = 'suspended' WHERE id = :id", stage.book.trader.user_id
    )

    with pytest.raises(ObjectNotFound):
        await stage.exports.follow(*parts(view))


# --- what can go wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wish",
    [
        ExportWish(CSV.format, CSV.data, start=NOW, end=NOW),
        ExportWish(CSV.format, CSV.data, with_closed=False),
    ],
)
async def test_nonsense_is_refused(stage: Stage, wish: ExportWish) -> None:
    with pytest.raises(InvalidRequest):
        await ask(stage, wish)
    assert await stage.exports.recent(stage.book.trader.principal) == []


async def test_the_plan_limits_exports_a_day(stage: Stage) -> None:
    book = await open_book(stage.database, tier="free")

    asked = await asyncio.gather(*(ask(stage, book=book) for _ in range(7)), return_exceptions=True)

    assert len([one for one in asked if isinstance(one, ExportView)]) <= 5
    while len(await stage.exports.recent(book.trader.principal)) < 5:
        await ask(stage, book=book)
    with pytest.raises(ExceedsTierLimit):
        await ask(stage, book=book)
    stage.clock.advance(days=1)
    assert (await ask(stage, book=book)).state is ExportState.READY


async def test_the_plan_says_how_far_back_exports_go(stage: Stage) -> None:
    book = await open_book(stage.database, tier="free")
    await book.close(NOW - timedelta(days=31), realized_pnl=Decimal(1))
    kept = await book.close(NOW - timedelta(days=29), realized_pnl=Decimal(1))

    rows = await table(stage, await ask(stage, book=book))

    assert [row["trade_id"] for row in rows] == [f"trd_{kept.hex}"]


async def test_what_nobody_carried_out_is_found_by_the_sweeper(stage: Stage) -> None:
    stage.workflows.is_down = True
    view = await ask(stage)
    assert view.state is ExportState.PENDING
    with pytest.raises(ObjectNotFound):
        await stage.exports.follow(*parts(view))
    stage.workflows.is_down = False
    sweep = _sweep(stage)
    stage.clock.advance(seconds=31)

    await sweep.sweep()

    assert view.id in stage.workflows.started
    found = await stage.exports.find(stage.book.trader.principal, view.id)
    assert found.state is ExportState.READY
    assert await content(stage, view) == await content(stage, found), "the first link works now"


async def test_too_many_under_way(stage: Stage) -> None:
    stage.workflows.is_held = True
    for _ in range(3):
        await ask(stage)

    with pytest.raises(ExceedsTierLimit):
        await ask(stage)


async def test_an_attempt_may_run_again_at_any_point(stage: Stage) -> None:
    """A crash before the row says ready leaves a file that the next attempt replaces."""
    stage.workflows.is_held = True
    view = await ask(stage)
    writing, user_id = stage.workflows.writing, stage.book.trader.user_id
    name = parts(view)[0]
    stage.store.files[name] = b"what a dead attempt left", NOW
    with pytest.raises(ObjectNotFound):
        await stage.exports.follow(*parts(view))

    results = [await writing.write(user_id, view.id) for _ in range(2)]

    assert [result.state for result in results] == ["ready", "ready"]
    assert (await content(stage, view)).startswith(b"trade_id,")


async def test_a_store_without_room(stage: Stage) -> None:
    stage.workflows.is_held = True
    view = await ask(stage)
    stage.store.is_down = True
    writing, user_id = stage.workflows.writing, stage.book.trader.user_id

    with pytest.raises(ObjectStoreUnavailable):
        await writing.write(user_id, view.id)
    await writing.give_up(user_id, view.id)

    found = await stage.exports.find(stage.book.trader.principal, view.id)
    assert (found.state, found.download_url) == (ExportState.FAILED, None)
    assert (await writing.give_up(user_id, view.id)).state == "over"


async def test_a_request_says_that_its_file_failed(stage: Stage) -> None:
    class Failing:
        async def start_export(self, user_id: UUID, export_id: UUID) -> None:
            await stage.workflows.writing.give_up(user_id, export_id)

    stage.exports._workflows = Failing()

    with pytest.raises(ExportFailed):
        await ask(stage)


async def test_a_store_that_cannot_be_read(stage: Stage) -> None:
    view = await ask(stage)
    stage.store.is_down = True

    with pytest.raises(ExportsUnavailable):
        await stage.exports.follow(*parts(view))
    stage.workflows.is_held = True
    await _sweep(stage).sweep()  # a round goes on without the store


async def test_a_store_that_stands_still_keeps_nobody_waiting(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.exports.sweeping.PURGE_SECONDS_MAX", 0.1)
    stage.workflows.is_down = True
    view = await ask(stage)
    stage.workflows.is_down = False
    stage.store.stands_still = True
    sweep = _sweep(stage)
    stage.clock.advance(seconds=31)

    await asyncio.wait_for(sweep.sweep(), timeout=30)

    assert view.id in stage.workflows.started


# --- the end --------------------------------------------------------------------------------------


async def test_old_files_and_those_of_nobody_are_purged(stage: Stage) -> None:
    old = await ask(stage)
    stage.clock.advance(hours=23)
    young = await ask(stage)
    stage.store.files["trades_of_somebody_deleted.csv"] = b"x", stage.clock.now()
    stage.clock.advance(hours=1)

    await _sweep(stage).purge()

    assert set(stage.store.files) >= {parts(young)[0]}
    assert parts(old)[0] not in stage.store.files
    assert "trades_of_somebody_deleted.csv" not in stage.store.files
    found = await stage.exports.find(stage.book.trader.principal, old.id)
    assert (found.state, found.download_url) == (ExportState.EXPIRED, None)


async def test_a_file_that_is_not_removed_keeps_no_other(stage: Stage) -> None:
    for name in ("trades_1.csv", "trades_2.csv", "trades_3.csv"):
        stage.store.files[name] = b"x", stage.clock.now()
    stage.store.kept.add("trades_1.csv")

    assert await _sweep(stage).purge() == 2

    assert "trades_1.csv" in stage.store.files
    stage.store.kept.clear()
    assert await _sweep(stage).purge() == 1


def _sweep(stage: Stage) -> ExportSweep:
    return ExportSweep(stage.database, stage.store, stage.workflows, stage.clock)


async def _add_order(stage: Stage, position_id: UUID, **changes: Any) -> None:
    trader = stage.book.trader
    values: dict[str, Any] = {
        "user_id": trader.user_id,
        "account_id": trader.account_id,
        "bot_id": await _bot_of(stage),
        "run_id": stage.book.run_id,
        "position_id": position_id,
        "cause": "signal:1",
        "leg": "entry",
        "client_order_id": uuid4().hex,
        "symbol": "BTC-USD",
        "side": "buy",
        "type": "market",
        "quantity": Decimal("1.50"),
        "state": "filled",
        "created_at": NOW,
        "intended_at": NOW,
        **changes,
    }
    async with stage.database.as_system() as session:
        session.add(Order(**values))


async def _bot_of(stage: Stage) -> UUID:
    from sqlmodel import select  # noqa: PLC0415 - one helper needs it

    from models.bots import BotRun  # noqa: PLC0415 - the same

    async with stage.database.as_system() as session:
        run = (await session.exec(select(BotRun).where(BotRun.id == stage.book.run_id))).one()
        return run.bot_id


COPIES = 1002
assert COPIES > 2 * PAGE


async def _multiply(stage: Stage) -> None:
    """One trade, and copies of it."""
    position_id = await stage.book.close(NOW, realized_pnl=Decimal(1))
    await stage.book.database_execute(
        "INSERT INTO positions SELECT (jsonb_populate_record(p, jsonb_build_object("
        "'id', gen_random_uuid()))).* FROM positions p, generate_series(1, 1002) WHERE p.id = :id",
        position_id,
    )
