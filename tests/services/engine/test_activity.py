"""What the operator's terminal shows: each thing that happened once, in the order it happened."""

from __future__ import annotations

import pytest

from services.activity import Activity, recent
from supervisor.activity import Feed
from tests.support.engine import Engine

pytestmark = pytest.mark.integration


def system_url(engine: Engine) -> str:
    url = engine.database._system.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


async def test_a_bot_whose_row_changes_is_told_of_once(alone: Engine) -> None:
    bot = await alone.start_bot()
    before = await recent(system_url(alone), 50)

    await alone.execute("UPDATE bots SET revision = revision + 1 WHERE id = :id", id=bot.bot_id)
    after = await recent(system_url(alone), 50)

    assert [it["id"] for it in after["events"]] == [it["id"] for it in before["events"]]


async def test_of_one_moment_an_order_comes_before_its_fill(alone: Engine) -> None:
    bot = await alone.start_bot()
    await alone.place(bot, await alone.intend_entry(bot))
    await alone.execute("UPDATE orders SET venue_sent_at = (SELECT min(filled_at) FROM fills)")

    events = (await recent(system_url(alone), 50))["events"]

    kinds = [it["kind"] for it in events if it["kind"] != "bot"]
    assert kinds == ["order", *["fill"] * (len(kinds) - 1)]
    assert len(kinds) > 1


async def test_what_happened_before_the_start_is_not_told_as_if_it_were_now() -> None:
    events = iter([["old"], ["old", "new"], ["old", "new"]])

    async def source(system_database_url: str, limit: int) -> Activity:
        del system_database_url, limit
        told = [{"id": it, "at": None, "kind": "order", "text": it} for it in next(events)]
        return {"bots": {}, "equity": None, "events": told}  # type: ignore[typeddict-item]

    looks = Feed(source, "").looks()

    told = [[it["id"] for it in (await anext(looks))["events"]] for _ in range(3)]
    assert told == [[], ["new"], []]
