"""Notices become mails and messages: once each, in time, to whom wants them, and no further."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from uuid import uuid4

import pytest

from domain.notifications import LEASE, ChannelAddress, Letter, NotSent
from domain.principal import Principal
from services.notices import NoticeKind
from services.notifying.nowhere import settle_nowhere
from tests.analytics.trades import NOW, open_book
from tests.notify.harness import BASE_URL, Office
from tests.support.notifications import Hook, Mailbox, mail_server

pytestmark = pytest.mark.integration


async def test_a_notice_is_mailed_to_its_user_once(office: Office) -> None:
    who = await office.add_user()
    await office.tell(
        who, NoticeKind.STOP_HIT, symbol="BTC-USD", net_pnl="-12.4", reason="stop_loss"
    )

    result = await office.deliver(who)
    again = await office.deliver(who)

    assert (result.wait_seconds, again.wait_seconds) == (None, None)
    (mail,) = office.mailbox.mails
    assert mail["Subject"] == "Stop hit: BTC-USD, net -$12.40"
    assert mail["To"] == office.mailbox.receivers[0] == f"{who.user_id.hex}@example.com"
    assert mail["From"] == "NIJA <nija@nija.example>"
    (notice,) = await office.rows(
        "SELECT delivered_at FROM notices WHERE user_id = :user", user=who.user_id
    )
    assert notice["delivered_at"] is not None


async def test_a_paper_trade_is_named_one_in_mails_and_in_the_list(office: Office) -> None:
    book = await open_book(office.database)
    trade, who = await book.close(NOW), book.trader.principal
    await office.verify(who)
    await office.tell(who, NoticeKind.STOP_HIT, symbol="BTC-USD", position_id=trade.hex)

    await office.deliver(who)
    listed = await office.notifying.views.page(who, page=1, per_page=10)

    assert office.mailbox.subjects == ["[Paper] Stop hit: BTC-USD"]
    assert [one.title for one in listed.notifications] == office.mailbox.subjects


async def test_two_looks_at_once_send_once(office: Office) -> None:
    who = await office.add_user()
    await office.trade(who)

    await asyncio.gather(*(office.deliver(who) for _ in range(4)))

    assert len(office.mailbox.mails) == 1


async def test_a_server_that_was_down_gets_the_mail_when_it_is_back(office: Office) -> None:
    who = await office.add_user()
    office.mailbox.refuses = True
    await office.trade(who)

    first = await office.deliver(who)
    early = await office.deliver(who)
    office.mailbox.refuses = False
    office.wall.advance(seconds=6)
    last = await office.deliver(who)

    assert first.wait_seconds == pytest.approx(5, abs=0.1)
    assert early.wait_seconds == pytest.approx(5, abs=0.1)
    assert last.wait_seconds is None
    assert len(office.mailbox.mails) == 1
    (delivery,) = await office.deliveries(who)
    assert (delivery["state"], delivery["attempts"], delivery["last_error"]) == ("sent", 2, None)


async def test_a_server_that_cannot_be_reached_is_tried_again(office: Office) -> None:
    away = Mailbox()
    async with mail_server(away):
        pass
    who = await office.add_user()
    url = f"mailto://127.0.0.1:{away.port}?to=me@example.com&from=bot@example.com"
    channel = await office.add_channel(who, url)
    await office.trade(who)
    await office.deliver(who)
    failed = [row for row in await office.deliveries(who) if row["channel_id"] == channel.id]
    office.wall.advance(seconds=6)

    async with mail_server(away):
        await office.deliver(who)

    assert failed[0]["state"] == "pending"
    assert "cannot be reached" in failed[0]["last_error"]
    assert away.receivers == ["me@example.com"]
    assert len(office.mailbox.mails) == 1


@dataclass
class _Stalling:
    """A notifier whose first attempt fails after another process has made it anew, and sent."""

    office: Office
    who: Principal
    mailed: int = 0
    has_mail: bool = True

    async def mail(self, address: str, letter: Letter) -> None:
        self.mailed += 1
        if self.mailed == 1:
            self.office.wall.advance(seconds=LEASE.total_seconds() + 1)
            await self.office.deliver(self.who)
            raise NotSent("No answer")

    async def send(self, url: str, letter: Letter) -> None:
        raise NotImplementedError

    async def inspect(self, url: str) -> ChannelAddress:
        raise NotImplementedError


async def test_a_failure_that_comes_after_its_lease_repeats_nothing(office: Office) -> None:
    who = await office.add_user()
    stalling = _Stalling(office, who)
    office.notifying = replace(office.notifying, notifier=stalling)
    await office.trade(who)

    await office.deliver(who)
    office.wall.advance(hours=1)
    await office.deliver(who)

    assert stalling.mailed == 2
    (delivery,) = await office.deliveries(who)
    assert (delivery["state"], delivery["attempts"]) == ("sent", 2)


@pytest.mark.parametrize(
    ("answer", "attempts", "state"),
    [
        ("550 5.1.1 No such user here", 1, "failed"),
        ("550 5.7.1 Relaying denied", 2, "pending"),
        ("450 4.1.1 Come back later", 2, "pending"),
    ],
)
async def test_a_mailbox_that_does_not_exist_is_asked_for_once(
    office: Office, answer: str, attempts: int, state: str
) -> None:
    who = await office.add_user()
    office.mailbox.unknown = answer
    await office.trade(who)

    await office.deliver(who)
    office.wall.advance(seconds=6)
    await office.deliver(who)

    (delivery,) = await office.deliveries(who)
    assert (delivery["state"], office.mailbox.asked) == (state, attempts)
    assert "example.com" not in delivery["last_error"]


async def test_one_failing_channel_repeats_nothing_elsewhere(office: Office, hook: Hook) -> None:
    who = await office.add_user()
    channel = await office.add_channel(who, hook.url)
    hook.status = 500
    await office.trade(who)

    await office.deliver(who)
    office.wall.advance(seconds=6)
    await office.deliver(who)
    hook.status = 200
    office.wall.advance(seconds=16)
    await office.deliver(who)

    assert len(office.mailbox.mails) == 1
    assert len(hook.bodies) == 1
    rows = {row["channel_id"]: row for row in await office.deliveries(who)}
    assert (rows[None]["attempts"], rows[channel.id]["attempts"]) == (1, 3)
    (message,) = await office.messages(who)
    assert message["state"] == "sent"


async def test_it_is_given_up_after_a_day_and_the_user_can_see_why(
    office: Office, hook: Hook
) -> None:
    who = await office.add_user(email_enabled=False)
    await office.add_channel(who, hook.url)
    hook.status = 401
    await office.trade(who)

    for _ in range(60):
        result = await office.deliver(who)
        if result.wait_seconds is None:
            break
        office.wall.advance(seconds=result.wait_seconds)

    (delivery,) = await office.deliveries(who)
    assert (delivery["state"], delivery["message_state"]) == ("failed", "failed")
    assert 24 <= delivery["attempts"] <= 32
    page = await office.notifying.views.page(who, page=1, per_page=10)
    assert page.notifications[0].status == "failed"
    assert "401" in (page.notifications[0].deliveries[0].error or "")
    assert "s3cr3t" not in str(page)
    (channel,) = await office.notifying.channels.list(who)
    assert channel.last_error is not None


async def test_a_crash_between_sending_and_marking_repeats_once_with_the_same_id(
    office: Office,
) -> None:
    who = await office.add_user()
    await office.trade(who)
    await office.deliver(who)
    # What a process leaves that died right after the mail server said yes.
    await office.execute(
        "UPDATE deliveries SET state = 'sending', leased_until = :until WHERE user_id = :user",
        user=who.user_id,
        until=office.wall.now().replace(minute=2),
    )
    await office.execute(
        "UPDATE messages SET state = 'open' WHERE user_id = :user", user=who.user_id
    )

    during = await office.deliver(who)
    office.wall.advance(seconds=121)
    await office.deliver(who)
    await office.deliver(who)

    assert during.wait_seconds is not None
    assert len(office.mailbox.mails) == 2
    assert len({mail["Message-ID"] for mail in office.mailbox.mails}) == 1


async def test_a_burst_becomes_a_digest(office: Office) -> None:
    who = await office.add_user()
    for number in range(12):
        await office.trade(who, f"C{number}-USD")

    result = await office.deliver(who)

    assert result.wait_seconds is None
    assert office.mailbox.subjects == ["12 trade updates"]
    body = office.mailbox.mails[0].get_body(("plain",))
    assert body is not None
    assert all(f"C{number}-USD" in body.get_content() for number in range(12))


async def test_a_burst_after_single_mails_waits_for_the_end_of_the_minute(office: Office) -> None:
    who = await office.add_user()
    for _ in range(3):
        await office.trade(who)
    await office.deliver(who)
    office.wall.advance(seconds=20)
    for _ in range(3):
        await office.trade(who)
    waiting = await office.deliver(who)
    await office.trade(who, "LATE-USD")
    await office.deliver(who)
    office.wall.advance(seconds=41)
    await office.deliver(who)

    assert waiting.wait_seconds == pytest.approx(40, abs=0.1)
    assert len(office.mailbox.mails) == 4
    assert office.mailbox.subjects[-1] == "4 trade updates"


async def test_what_is_urgent_neither_waits_nor_drowns(office: Office) -> None:
    who = await office.add_user()
    for _ in range(8):
        await office.trade(who)
    await office.tell(who, NoticeKind.KILL_SWITCH, scope="global", reason="exchange trouble")
    await office.deliver(who)

    assert sorted(office.mailbox.subjects) == ["8 trade updates", "Kill switch engaged"]


@pytest.mark.parametrize(
    ("settings", "mails", "pushes"),
    [
        ({}, 2, 2),
        ({"email_enabled": False}, 0, 2),
        ({"push_enabled": False}, 2, 0),
        ({"trade_notifications": False}, 1, 1),
    ],
)
async def test_preferences_are_obeyed(
    office: Office, hook: Hook, settings: dict[str, bool], mails: int, pushes: int
) -> None:
    who = await office.add_user(**settings)
    await office.add_channel(who, hook.url)
    await office.trade(who)
    await office.tell(who, NoticeKind.EMERGENCY_STOP, reason="enough")

    await office.deliver(who)

    assert (len(office.mailbox.mails), len(hook.bodies)) == (mails, pushes)


async def test_a_channel_gets_only_the_news_it_is_for(office: Office, hook: Hook) -> None:
    who = await office.add_user()
    await office.add_channel(who, hook.url, ["alerts"])
    await office.trade(who)
    await office.tell(who, NoticeKind.EMERGENCY_STOP, reason="enough")

    await office.deliver(who)

    assert hook.titles == ["Emergency stop activated"]
    assert hook.bodies[0]["message_id"]


async def test_a_wish_changed_between_two_attempts_counts(office: Office) -> None:
    who = await office.add_user()
    office.mailbox.refuses = True
    await office.trade(who)
    await office.deliver(who)
    office.mailbox.refuses = False
    await office.execute(
        "UPDATE user_settings SET email_enabled = false WHERE user_id = :user", user=who.user_id
    )
    office.wall.advance(seconds=6)

    result = await office.deliver(who)

    assert office.mailbox.mails == []
    assert result.wait_seconds is None
    (delivery,) = await office.deliveries(who)
    assert delivery["state"] == "skipped"


async def test_account_mails_ignore_preferences_and_channels(office: Office, hook: Hook) -> None:
    who = await office.add_user(email_enabled=False)
    await office.add_channel(who, hook.url)
    await office.tell(who, NoticeKind.NEW_LOGIN, ip_address="203.0.113.7")

    await office.deliver(who)

    (mail,) = office.mailbox.mails
    assert mail["Subject"] == "New login to your account"
    assert mail["List-Unsubscribe"] is None
    assert hook.bodies == []


async def test_the_link_of_an_account_mail_is_made_when_it_is_sent(office: Office) -> None:
    who = await office.add_user()
    link_id, void = uuid4(), uuid4()
    office.links.void.add(void)
    new_address = "new@example.com"
    await office.tell(who, NoticeKind.CONFIRM_EMAIL_CHANGE, link_id=str(link_id), to=new_address)
    await office.tell(who, NoticeKind.RESET_PASSWORD, link_id=str(void))

    await office.deliver(who)

    (mail,) = office.mailbox.mails
    assert office.mailbox.receivers == [new_address]
    assert f"{BASE_URL}/links/test#{link_id.hex}-secret" in mail.as_string().replace("=\n", "")
    kept = await office.rows("SELECT * FROM notices WHERE user_id = :user", user=who.user_id)
    assert "secret" not in str(kept) + str(await office.messages(who))


async def test_an_address_nobody_confirmed_is_mailed_links_alone(
    office: Office, hook: Hook
) -> None:
    who = await office.add_user(is_verified=False)
    await office.add_channel(who, hook.url)
    link_id = uuid4()
    words_of_a_stranger = "Buy at https://attacker.example"
    await office.tell(who, NoticeKind.NEW_LOGIN, user_agent=words_of_a_stranger)
    await office.tell(who, NoticeKind.PASSWORD_CHANGED)
    await office.tell(who, NoticeKind.EMERGENCY_STOP, reason=words_of_a_stranger)
    await office.tell(who, NoticeKind.VERIFY_EMAIL, link_id=str(link_id))

    result = await office.deliver(who)

    assert office.mailbox.subjects == ["Confirm your email address"]
    assert len(hook.bodies) == 1, "what one has set up oneself goes on"
    assert result.wait_seconds is None
    mailed = [one["state"] for one in await office.deliveries(who) if one["channel_id"] is None]
    assert sorted(mailed) == ["sent", "skipped", "skipped", "skipped"]


async def test_only_mails_about_addresses_go_to_another_one(office: Office) -> None:
    who = await office.add_user()
    await office.tell(who, NoticeKind.PLAN_CHANGED, **{"from": "free", "to": "pro"})

    await office.deliver(who)

    assert office.mailbox.receivers == [f"{who.user_id.hex}@example.com"]


async def test_old_news_is_no_news(office: Office) -> None:
    who = await office.add_user()
    await office.trade(who)
    office.wall.advance(hours=25)

    await office.deliver(who)

    assert office.mailbox.mails == []
    (message,) = await office.messages(who)
    assert message["state"] == "stale"


async def test_without_anywhere_to_send_it_a_message_ends(office: Office) -> None:
    who = await office.add_user(email_enabled=False)
    await office.trade(who)

    result = await office.deliver(who)

    assert result.wait_seconds is None
    (message,) = await office.messages(who)
    assert message["state"] == "nowhere"


async def test_one_message_that_is_never_taken_holds_up_no_other(
    office: Office, hook: Hook
) -> None:
    who = await office.add_user(email_enabled=False)
    channel = await office.add_channel(who, hook.url)
    hook.status = 500
    await office.trade(who, "BAD-USD")
    await office.deliver(who)
    hook.status = 200
    await office.trade(who, "GOOD-USD")

    await office.deliver(who)

    assert hook.titles == ["Opened long GOOD-USD"]
    assert channel.enabled


async def test_removing_a_channel_takes_what_was_on_its_way_along(
    office: Office, hook: Hook
) -> None:
    who = await office.add_user(email_enabled=False)
    channel = await office.add_channel(who, hook.url)
    hook.status = 500
    await office.trade(who)
    await office.deliver(who)
    await office.notifying.channels.remove(who, channel.id)
    hook.status = 200
    office.wall.advance(seconds=10)

    result = await office.deliver(who)

    assert result.wait_seconds is None
    assert hook.bodies == []


async def test_the_pump_finds_users_with_news_and_users_left_alone(office: Office) -> None:
    new, waiting, done = [await office.add_user() for _ in range(3)]
    office.mailbox.refuses = True
    await office.trade(waiting)
    await office.deliver(waiting)
    office.mailbox.refuses = False
    await office.trade(done)
    await office.deliver(done)
    await office.trade(new)
    pump = office.notifying.pump(interval_seconds=1)

    await pump.look()
    first = set(office.workflows.woken)
    office.wall.advance(seconds=60)
    await pump.look()

    assert new.user_id in first
    assert waiting.user_id not in first
    assert waiting.user_id in office.workflows.woken
    assert done.user_id not in office.workflows.woken


async def test_the_pump_settles_what_goes_nowhere_and_wakes_nobody_for_it(
    office: Office, hook: Hook
) -> None:
    unreachable, hooked = [await office.add_user(email_enabled=False) for _ in range(2)]
    mailed = await office.add_user()
    await office.add_channel(hooked, hook.url)
    for who in (unreachable, hooked, mailed):
        await office.trade(who)
    await office.tell(unreachable, NoticeKind.PASSWORD_CHANGED)
    pump = office.notifying.pump(interval_seconds=1)

    await pump.look()

    (message,) = await office.messages(unreachable)
    assert (message["state"], message["category"]) == ("nowhere", "trades")
    assert message["finished_at"] is not None
    # Its account mail goes to the mailbox whatever the settings say.
    assert {unreachable.user_id, hooked.user_id, mailed.user_id} <= set(office.workflows.woken)
    await office.deliver(unreachable)
    office.workflows.woken.clear()
    await office.trade(unreachable)
    await pump.look()
    assert unreachable.user_id not in office.workflows.woken
    states = [message["state"] for message in await office.messages(unreachable)]
    assert sorted(states) == ["nowhere", "nowhere", "sent"]


async def test_what_is_being_settled_is_not_planned_a_second_time(office: Office) -> None:
    who = await office.add_user(email_enabled=False)
    await office.trade(who)
    async with office.database.as_system() as session:
        assert await settle_nowhere(session, office.wall.now(), has_mail=True) >= 1
        delivering = asyncio.create_task(office.deliver(who))
        await asyncio.sleep(0.3)
        assert not delivering.done()

    await delivering

    (message,) = await office.messages(who)
    assert message["state"] == "nowhere"
