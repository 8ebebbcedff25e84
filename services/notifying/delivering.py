"""Delivering a user's messages: planned, sent to each destination, tried again, given up.

Each destination has a row of its own, so one that fails repeats nothing elsewhere. An attempt is
marked before it begins and marked again when it ended; a process that dies in between leaves one
whose outcome nobody knows, which is made again when its lease is over. That is the only way in
which a receiver gets a message twice, and both have the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

import structlog
from sqlmodel import col, or_, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.notifications import DeliverResult
from domain.notifications import (
    GIVE_UP_AFTER,
    LEASE,
    Category,
    MailedLinks,
    Notifier,
    NotSent,
    ReceiverUnknown,
    next_attempt,
)
from domain.ports import Vault, WallClock
from models.billing import Notice
from models.connections import UserSettings
from models.notifications import (
    Delivery,
    DeliveryState,
    Message,
    MessageState,
    NotificationChannel,
)
from models.people import User
from services.database import Database, all_rows
from services.notifying.channels import open_url
from services.notifying.destinations import Wishes, destinations
from services.notifying.kinds import ADDRESSED, LINKED
from services.notifying.letters import Draft, draft, unsubscription
from services.notifying.planning import lock_preferences, plan_messages
from services.notifying.unsubscribing import Unsubscribing

AT_ONCE = 60
"""Deliveries of one look."""
SOONEST_SECONDS = 0.5

_log = structlog.get_logger("nija.notify")


@dataclass(frozen=True, slots=True)
class _Task:
    delivery_id: UUID
    channel_id: UUID | None


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt that was marked as begun."""

    delivery: Delivery
    draft: Draft
    address: str
    is_verified: bool
    channel: NotificationChannel | None


class Delivering:
    """Delivers.

    Args:
        database: where notices and messages live.
        notifier: sends letters.
        links: makes the links of account mails.
        unsubscribing: makes the links to get no more.
        vault: opens the addresses of channels.
        clock: wall time.
    """

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        links: MailedLinks,
        unsubscribing: Unsubscribing,
        vault: Vault,
        clock: WallClock,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._links = links
        self._unsubscribing = unsubscribing
        self._vault = vault
        self._clock = clock

    async def deliver(self, user_id: UUID) -> DeliverResult:
        """Do everything that is due for a user; tell when to look again."""
        async with self._database.for_user(user_id) as session:
            if (await session.exec(select(User.id).where(User.id == user_id))).first() is None:
                return DeliverResult(summary="the user is gone")
            now = self._clock.now()
            await lock_preferences(session, user_id, now)
            await plan_messages(session, user_id, now)
            await self._open(session, user_id, now)
            tasks = await _due(session, user_id, now)
        by_channel = groupby(
            sorted(tasks, key=lambda task: str(task.channel_id)), key=lambda task: task.channel_id
        )
        sent = await asyncio.gather(
            *(self._deliver_to_channel(user_id, list(group)) for _, group in by_channel)
        )
        return await self._conclude(user_id, sum(sent))

    async def _open(self, session: AsyncSession, user_id: UUID, now: datetime) -> None:
        """Decide the destinations of messages that are due and have none yet."""
        has_none = ~select(Delivery.id).where(col(Delivery.message_id) == col(Message.id)).exists()
        messages = (
            await session.exec(
                select(Message).where(
                    Message.user_id == user_id,
                    Message.state == MessageState.OPEN.value,
                    Message.send_at <= now,
                    has_none,
                )
            )
        ).all()
        if not messages:
            return
        wishes = await _wishes(session, user_id)
        for message in messages:
            chosen = list(destinations(message, wishes, has_mail=self._notifier.has_mail))
            for channel_id in chosen:
                session.add(
                    Delivery(
                        user_id=user_id,
                        message_id=message.id,
                        channel_id=channel_id,
                        next_attempt_at=now,
                    )
                )
            if not chosen:
                message.state, message.finished_at = MessageState.NOWHERE, now
                session.add(message)
                if message.category == Category.ACCOUNT:
                    await _note_undeliverable(session, message)

    async def _deliver_to_channel(self, user_id: UUID, tasks: Sequence[_Task]) -> int:
        """Send to one destination, in order; after a failure the rest waits with it."""
        sent = 0
        for number, task in enumerate(tasks):
            attempt = await self._begin(user_id, task)
            if attempt is None:
                continue
            try:
                if not await self._send(user_id, attempt):
                    continue
            except NotSent as failure:
                retry_at = await self._note_failure(user_id, attempt, failure)
                waiting = [other.delivery_id for other in tasks[number + 1 :]]
                await self._postpone(user_id, waiting, retry_at)
                break
            await self._note_sent(user_id, attempt)
            sent += 1
        return sent

    async def _begin(self, user_id: UUID, task: _Task) -> _Attempt | None:
        """Mark an attempt as begun; None when it is not to be made any more."""
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            delivery = (
                await session.exec(
                    select(Delivery).where(Delivery.id == task.delivery_id).with_for_update()
                )
            ).first()
            if delivery is None or not _is_due(delivery, now):
                return None
            message = await session.get_one(Message, delivery.message_id)
            wishes = await _wishes(session, user_id)
            wanted = destinations(message, wishes, has_mail=self._notifier.has_mail)
            session.add(delivery)
            if now - message.created_at > GIVE_UP_AFTER:
                _finish(delivery, DeliveryState.FAILED, now)
                return None
            if delivery.channel_id not in set(wanted):
                _finish(delivery, DeliveryState.SKIPPED, now)
                return None
            channel = next((it for it in wishes.channels if it.id == delivery.channel_id), None)
            delivery.state, delivery.attempts = DeliveryState.SENDING, delivery.attempts + 1
            delivery.leased_until = now + LEASE
            words = await draft(session, message)
        user = wishes.user
        is_verified = user.email_verified_at is not None
        return _Attempt(delivery, words, user.email, is_verified, channel)

    async def _send(self, user_id: UUID, attempt: _Attempt) -> bool:
        """Make an attempt; False when it was not made: a void link, or an unverified address."""
        words = attempt.draft
        if attempt.channel is not None:
            url = open_url(self._vault, attempt.channel)
            await self._notifier.send(url, words.letter())
            return True
        address = _address(attempt)
        if address is None:
            await self._note_skipped(user_id, attempt)
            return False
        if words.kind in LINKED:
            link = await self._links.url_for(_link_id(words))
            if link is None:
                await self._note_skipped(user_id, attempt)
                return False
            await self._notifier.mail(address, words.letter(link_url=link))
            return True
        way_out = unsubscription(words.message, self._unsubscribing)
        await self._notifier.mail(address, words.letter(unsubscribe=way_out))
        return True

    # --- what became of it ------------------------------------------------------------------

    async def _note_sent(self, user_id: UUID, attempt: _Attempt) -> None:
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            await session.exec(
                update(Delivery)
                .where(col(Delivery.id) == attempt.delivery.id)
                .values(
                    state=DeliveryState.SENT.value,
                    finished_at=now,
                    leased_until=None,
                    next_attempt_at=None,
                    last_error=None,
                )
            )
            await _note_on_channel(session, attempt.channel, now, error=None)

    async def _note_skipped(self, user_id: UUID, attempt: _Attempt) -> None:
        async with self._database.for_user(user_id) as session:
            delivery = await session.get_one(Delivery, attempt.delivery.id)
            _finish(delivery, DeliveryState.SKIPPED, self._clock.now())
            session.add(delivery)

    async def _note_failure(
        self, user_id: UUID, attempt: _Attempt, failure: NotSent
    ) -> datetime | None:
        """Keep why it failed, and when the next attempt is; None when there is none."""
        message, error = attempt.draft.message, str(failure)
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            retry_at = None
            if not isinstance(failure, ReceiverUnknown):
                retry_at = next_attempt(attempt.delivery.attempts, message.created_at, now)
            delivery = (
                await session.exec(
                    select(Delivery).where(Delivery.id == attempt.delivery.id).with_for_update()
                )
            ).first()
            # One that outlived its lease was made anew, and what became of that one counts.
            if delivery is not None and _is_under_way(delivery, attempt):
                delivery.last_error = error
                if retry_at is None:
                    _finish(delivery, DeliveryState.FAILED, now)
                else:
                    delivery.state, delivery.leased_until = DeliveryState.PENDING, None
                    delivery.next_attempt_at = retry_at
                session.add(delivery)
            await _note_on_channel(session, attempt.channel, now, error=error)
        _log.warning(
            "notify.not_sent",
            user_id=str(user_id),
            message_id=str(message.id),
            service=attempt.channel.service if attempt.channel else "mail",
            attempts=attempt.delivery.attempts,
            is_given_up=retry_at is None,
        )
        return retry_at

    async def _postpone(
        self, user_id: UUID, deliveries: Sequence[UUID], until: datetime | None
    ) -> None:
        if not deliveries or until is None:
            return
        async with self._database.for_user(user_id) as session:
            await session.exec(
                update(Delivery)
                .where(
                    col(Delivery.id).in_(deliveries),
                    col(Delivery.state) == DeliveryState.PENDING.value,
                )
                .values(next_attempt_at=until)
            )

    async def _conclude(self, user_id: UUID, sent: int) -> DeliverResult:
        """End messages that are through, and say when something is due again."""
        async with self._database.for_user(user_id) as session:
            now = self._clock.now()
            row = await lock_preferences(session, user_id, now)
            moments = [now] if await _has_new(session, user_id) else []
            for message, deliveries in await _open_messages(session, user_id):
                if not deliveries:
                    moments.append(message.send_at)
                elif all(DeliveryState(it.state).is_final for it in deliveries):
                    await _end(session, message, deliveries, now)
                else:
                    moments += [at for it in deliveries if (at := _moment(it)) is not None]
            row.next_look_at = min(moments, default=None)
            session.add(row)
        if row.next_look_at is None:
            return DeliverResult(summary=f"{sent} sent, nothing left")
        wait = max((row.next_look_at - now).total_seconds(), SOONEST_SECONDS)
        return DeliverResult(wait_seconds=wait, summary=f"{sent} sent, more to do")


def _address(attempt: _Attempt) -> str | None:
    """Where a mail goes; None for one that would go to an address nobody has confirmed.

    Anybody can register anybody's address, and much of what is told are words of whoever did: the
    client of a login, the reason of a stop. So an address is sent links until one was opened.
    """
    words = attempt.draft
    if words.kind in ADDRESSED:
        return str((words.facts or {}).get("to") or attempt.address)
    return attempt.address if attempt.is_verified or words.kind in LINKED else None


def _link_id(words: Draft) -> UUID:
    return UUID(hex=str((words.facts or {})["link_id"]))


def _is_due(delivery: Delivery, now: datetime) -> bool:
    at = _moment(delivery)
    return at is not None and at <= now


def _moment(delivery: Delivery) -> datetime | None:
    """When there is something to do about a delivery."""
    match DeliveryState(delivery.state):
        case DeliveryState.PENDING:
            return delivery.next_attempt_at
        case DeliveryState.SENDING:
            return delivery.leased_until
        case _:
            return None


def _is_under_way(delivery: Delivery, attempt: _Attempt) -> bool:
    is_this_one = delivery.attempts == attempt.delivery.attempts
    return delivery.state == DeliveryState.SENDING and is_this_one


def _finish(delivery: Delivery, state: DeliveryState, now: datetime) -> None:
    delivery.state, delivery.finished_at = state, now
    delivery.leased_until = delivery.next_attempt_at = None


async def _due(session: AsyncSession, user_id: UUID, now: datetime) -> list[_Task]:
    """What to attempt: first what was never tried, so that one bad message holds nobody up."""
    rows = await all_rows(
        session,
        select(col(Delivery.id), col(Delivery.channel_id))
        .join(Message, col(Message.id) == col(Delivery.message_id))
        .where(
            col(Delivery.user_id) == user_id,
            col(Message.state) == MessageState.OPEN.value,
            or_(
                (col(Delivery.state) == DeliveryState.PENDING.value)
                & (col(Delivery.next_attempt_at) <= now),
                (col(Delivery.state) == DeliveryState.SENDING.value)
                & (col(Delivery.leased_until) <= now),
            ),
        )
        .order_by(col(Delivery.attempts), col(Message.created_at), col(Message.id))
        .limit(AT_ONCE),
    )
    return [_Task(row.id, row.channel_id) for row in rows]


async def _wishes(session: AsyncSession, user_id: UUID) -> Wishes:
    channels = await session.exec(
        select(NotificationChannel).where(NotificationChannel.user_id == user_id)
    )
    return Wishes(
        user=await session.get_one(User, user_id),
        settings=await session.get(UserSettings, user_id) or UserSettings(user_id=user_id),
        channels=channels.all(),
    )


async def _has_new(session: AsyncSession, user_id: UUID) -> bool:
    """Whether notices came while messages were being sent."""
    found = await session.exec(
        select(Notice.id)
        .where(Notice.user_id == user_id, col(Notice.message_id).is_(None))
        .limit(1)
    )
    return found.first() is not None


async def _open_messages(
    session: AsyncSession, user_id: UUID
) -> Sequence[tuple[Message, Sequence[Delivery]]]:
    messages = (
        await session.exec(
            select(Message).where(
                Message.user_id == user_id, Message.state == MessageState.OPEN.value
            )
        )
    ).all()
    deliveries = (
        await session.exec(
            select(Delivery).where(
                col(Delivery.message_id).in_([message.id for message in messages])
            )
        )
    ).all()
    return [
        (message, [it for it in deliveries if it.message_id == message.id]) for message in messages
    ]


async def _end(
    session: AsyncSession, message: Message, deliveries: Sequence[Delivery], now: datetime
) -> None:
    states = {DeliveryState(it.state) for it in deliveries}
    message.state = MessageState.NOWHERE
    if DeliveryState.SENT in states:
        message.state = MessageState.SENT
        await session.exec(
            update(Notice).where(col(Notice.message_id) == message.id).values(delivered_at=now)
        )
    elif DeliveryState.FAILED in states:
        message.state = MessageState.FAILED
    message.finished_at = now
    session.add(message)


async def _note_on_channel(
    session: AsyncSession, channel: NotificationChannel | None, now: datetime, *, error: str | None
) -> None:
    if channel is None:
        return
    noted = (
        {"last_sent_at": now, "last_error": None, "last_error_at": None}
        if error is None
        else {"last_error": error, "last_error_at": now}
    )
    await session.exec(
        update(NotificationChannel).where(col(NotificationChannel.id) == channel.id).values(**noted)
    )


async def _note_undeliverable(session: AsyncSession, message: Message) -> None:
    kinds = await session.exec(select(Notice.kind).where(Notice.message_id == message.id))
    _log.warning(
        "notify.undeliverable",
        user_id=str(message.user_id),
        kinds=sorted(kinds.all()),
        why="no mail server is set up",
    )
