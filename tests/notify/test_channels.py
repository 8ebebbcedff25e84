"""Channels: their secrets are sealed and never shown, and nobody sees or uses another's."""

from __future__ import annotations

import asyncio

import pytest

from services.errors import InvalidRequest, ObjectNotFound
from services.notifying.channels import CHANNELS_MAX
from services.notifying.errors import ChannelNameTaken, InvalidChannel, TooManyChannels
from tests.notify.harness import Office
from tests.support.notifications import Hook

pytestmark = pytest.mark.integration


async def test_an_address_is_sealed_and_shown_masked(office: Office, hook: Hook) -> None:
    who = await office.add_user()

    channel = await office.add_channel(who, hook.url)

    assert channel.service == "JSON"
    assert channel.address_masked == "json://127.0.0.1/***"
    (row,) = await office.rows("SELECT * FROM notification_channels WHERE id = :id", id=channel.id)
    audit = await office.rows("SELECT * FROM audit_log WHERE user_id = :user", user=who.user_id)
    assert b"s3cr3t" not in row["sealed"]
    assert "s3cr3t" not in str(row) + str(audit) + str(channel)
    assert audit[0]["event_type"] == "notification_channel_added"


async def test_a_copied_address_does_not_open_for_another_user(office: Office, hook: Hook) -> None:
    mallory, alice = await office.add_user(), await office.add_user()
    hers = await office.add_channel(alice, hook.url)
    his = await office.add_channel(mallory, "json://127.0.0.1:1/")
    await office.execute(
        "UPDATE notification_channels SET sealed ="
        " (SELECT sealed FROM notification_channels WHERE id = :hers) WHERE id = :his",
        hers=hers.id,
        his=his.id,
    )

    result = await office.notifying.channels.test(mallory, his.id)

    assert not result.sent
    assert hook.bodies == []


async def test_a_test_notification_tells_what_became_of_it(office: Office, hook: Hook) -> None:
    who = await office.add_user(is_verified=False)
    channel = await office.add_channel(who, hook.url)
    stranger = await office.notifying.channels.test_mail(who)
    await office.execute("UPDATE users SET email_verified_at = now()")

    good = await office.notifying.channels.test(who, channel.id)
    hook.status = 403
    bad = await office.notifying.channels.test(who, channel.id)
    mail = await office.notifying.channels.test_mail(who)

    assert (good.sent, good.error, bad.sent, mail.sent) == (True, None, False, True)
    assert "403" in (bad.error or "")
    assert not stranger.sent, "nobody has anybody's address mailed to at will"
    assert "s3cr3t" not in (bad.error or "")
    assert len(hook.bodies) == len(office.mailbox.mails) == 1


async def test_another_users_channel_does_not_exist(office: Office, hook: Hook) -> None:
    alice, mallory = await office.add_user(), await office.add_user()
    channel = await office.add_channel(alice, hook.url)
    channels = office.notifying.channels

    for attempt in (
        channels.test(mallory, channel.id),
        channels.change(mallory, channel.id, {"enabled": False}),
        channels.remove(mallory, channel.id),
    ):
        with pytest.raises(ObjectNotFound):
            await attempt

    assert await channels.list(mallory) == []
    assert [one.id for one in await channels.list(alice)] == [channel.id]
    assert hook.bodies == []


async def test_a_channel_is_changed_in_part(office: Office, hook: Hook) -> None:
    who = await office.add_user()
    channel = await office.add_channel(who, "json://127.0.0.1:1/", ["alerts"])

    changed = await office.notifying.channels.change(
        who, channel.id, {"url": hook.url, "name": "  At   home "}
    )

    assert (changed.name, changed.categories, changed.enabled) == ("At home", ["alerts"], True)
    assert (await office.notifying.channels.test(who, channel.id)).sent


async def test_bad_wishes_are_refused(office: Office, hook: Hook) -> None:
    who = await office.add_user()
    channels = office.notifying.channels
    await channels.add(who, name="one", url=hook.url, categories=None)

    with pytest.raises(ChannelNameTaken):
        await channels.add(who, name="one", url=hook.url, categories=None)
    with pytest.raises(InvalidChannel):
        await channels.add(who, name="two", url="syslog://localhost", categories=None)
    with pytest.raises(InvalidRequest):
        await channels.add(who, name="  ", url=hook.url, categories=None)
    with pytest.raises(InvalidRequest):
        await channels.add(who, name="two", url=hook.url, categories=["account"])

    assert len(await channels.list(who)) == 1


async def test_nobody_has_more_channels_than_anybody_may(office: Office, hook: Hook) -> None:
    who = await office.add_user()

    results = await asyncio.gather(
        *(office.add_channel(who, hook.url) for _ in range(CHANNELS_MAX + 3)),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, TooManyChannels)]
    assert len(refused) == 3
    assert len(await office.notifying.channels.list(who)) == CHANNELS_MAX
