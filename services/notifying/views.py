"""What a user was told, newest first, and what became of it on each channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select

from domain.principal import Principal
from models.billing import Notice
from models.notifications import Delivery, Message, MessageState, NotificationChannel
from services.database import Database, all_rows
from services.notifying.kinds import category_of
from services.notifying.letters import position_of, with_accounts
from services.notifying.wording import words_of

_OWN_MAILBOX = "mail"


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A message at one channel."""

    channel: str
    status: str
    attempts: int
    error: str | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class NotificationView:
    """A notice; `status` is `new` until somebody looked at it.

    Attributes:
        text: its sentences, as a mail says them.
        figures: names and values that a mail shows with them.
        position_id: the position that it is about.
    """

    id: UUID
    kind: str
    category: str
    title: str
    text: str
    figures: tuple[tuple[str, str], ...]
    position_id: UUID | None
    status: str
    created_at: datetime
    delivered_at: datetime | None
    deliveries: tuple[DeliveryView, ...]


@dataclass(frozen=True, slots=True)
class NotificationPage:
    """One page, and how many there are in all."""

    notifications: tuple[NotificationView, ...]
    total: int


class NotificationViews:
    """Reads of a user's notices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, principal: Principal, *, page: int, per_page: int) -> NotificationPage:
        """A page of notices, newest first; reports are mails, not notices, and not among them."""
        async with self._database.for_user(principal.user_id) as session:
            total = (
                await session.exec(
                    select(func.count())
                    .select_from(Notice)
                    .where(Notice.user_id == principal.user_id)
                )
            ).one()
            notices = (
                await session.exec(
                    select(Notice)
                    .where(Notice.user_id == principal.user_id)
                    .order_by(col(Notice.created_at).desc(), col(Notice.id).desc())
                    .limit(per_page)
                    .offset((page - 1) * per_page)
                )
            ).all()
            told = await with_accounts(session, notices)
            wanted = {notice.message_id for notice in notices if notice.message_id is not None}
            states = dict(
                await all_rows(
                    session,
                    select(col(Message.id), col(Message.state)).where(col(Message.id).in_(wanted)),
                )
            )
            rows = await all_rows(
                session,
                select(Delivery, col(NotificationChannel.name))
                .join(
                    NotificationChannel,
                    col(NotificationChannel.id) == col(Delivery.channel_id),
                    isouter=True,
                )
                .where(col(Delivery.message_id).in_(wanted))
                .order_by(col(NotificationChannel.name).nulls_first()),
            )
        shown = tuple(_view(notice, facts, states, rows) for notice, facts in told)
        return NotificationPage(shown, total)


def _view(
    notice: Notice,
    facts: Mapping[str, Any],
    states: dict[UUID, str],
    rows: Sequence[tuple[Delivery, str | None]],
) -> NotificationView:
    state = states.get(notice.message_id) if notice.message_id else None
    words = words_of(notice.kind, facts)
    return NotificationView(
        id=notice.id,
        kind=notice.kind,
        category=category_of(notice.kind).value,
        title=words.subject,
        text=" ".join(words.section.sentences),
        figures=words.section.figures,
        position_id=position_of(notice),
        status={None: "new", MessageState.OPEN.value: "on_its_way"}.get(state, str(state)),
        created_at=notice.created_at,
        delivered_at=notice.delivered_at,
        deliveries=tuple(
            DeliveryView(
                channel=name or _OWN_MAILBOX,
                status=delivery.state,
                attempts=delivery.attempts,
                error=delivery.last_error,
                finished_at=delivery.finished_at,
            )
            for delivery, name in rows
            if delivery.message_id == notice.message_id
        ),
    )
