"""From a message to a letter: its words, its link, and how to get no more of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.notifications import Category, Letter, Section
from models.billing import Notice
from models.connections import Account
from models.notifications import Message, MessageKind
from models.trading import Position
from services.database import all_rows
from services.notifying.kinds import is_urgent
from services.notifying.unsubscribing import Unsubscribing
from services.notifying.wording import Words, words_of

SECTIONS_MAX = 40
_NOUNS: Mapping[Category, str] = {
    Category.TRADES: "trade updates",
    Category.ALERTS: "alerts",
    Category.BILLING: "news about your plan",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A letter without what depends on its receiver.

    Attributes:
        kind: of the notice, where the message is a single one.
        facts: of that notice.
    """

    message: Message
    subject: str
    sections: tuple[Section, ...]
    kind: str | None = None
    facts: Mapping[str, Any] | None = None
    link_text: str | None = None
    curve: tuple[tuple[date, Decimal], ...] = ()

    def letter(
        self, *, link_url: str | None = None, unsubscribe: tuple[str, str] | None = None
    ) -> Letter:
        """The letter for a receiver.

        Args:
            link_url: where its link leads.
            unsubscribe: address and words of the way to get no more of these.
        """
        url, words = unsubscribe or (None, "")
        is_about_account = self.message.category == Category.ACCOUNT
        return Letter(
            id=self.message.id,
            made_at=self.message.created_at,
            subject=self.subject,
            sections=self.sections,
            is_urgent=self.kind is not None and is_urgent(self.kind) and not is_about_account,
            link=(self.link_text, link_url) if self.link_text and link_url else None,
            curve=self.curve,
            unsubscribe_url=url,
            unsubscribe_from=words,
            is_about_account=is_about_account,
        )


def unsubscription(message: Message, unsubscribing: Unsubscribing) -> tuple[str, str] | None:
    """The way out of mails like this one; there is none for account mails."""
    match message.category, message.kind:
        case Category.ACCOUNT.value, _:
            return None
        case Category.TRADES.value, _:
            setting, words = "trade_notifications", "notifications about trades"
        case _, MessageKind.DAILY_SUMMARY.value:
            setting, words = "daily_summary", "daily summaries"
        case _, MessageKind.WEEKLY_REPORT.value:
            setting, words = "weekly_report", "weekly reports"
        case _:
            setting, words = "email_enabled", "mails but those about your account"
    return unsubscribing.url(message.user_id, setting), words


async def draft(session: AsyncSession, message: Message) -> Draft:
    """Put a message into words."""
    if message.kind in {MessageKind.DAILY_SUMMARY, MessageKind.WEEKLY_REPORT}:
        return _report(message)
    notices = (
        await session.exec(
            select(Notice)
            .where(Notice.message_id == message.id)
            .order_by(col(Notice.created_at), col(Notice.id))
        )
    ).all()
    told = await with_accounts(session, notices)
    words = [words_of(notice.kind, facts) for notice, facts in told]
    if len(told) == 1:
        (notice, facts), said = told[0], words[0]
        return Draft(
            message, said.subject, (said.section,), notice.kind, facts, link_text=said.link_text
        )
    return Draft(message, *_digest(message, words))


def _digest(message: Message, words: Sequence[Words]) -> tuple[str, tuple[Section, ...]]:
    noun = _NOUNS.get(Category(message.category), "notifications")
    sections = [said.section for said in words[:SECTIONS_MAX]]
    left_out = len(words) - len(sections)
    if left_out > 0:
        sections.append(Section(f"and {left_out} more; the API lists them all"))
    return f"{len(words)} {noun}", tuple(sections)


def _report(message: Message) -> Draft:
    payload = message.payload
    return Draft(
        message,
        payload["subject"],
        tuple(
            Section(
                part["headline"],
                tuple(part["sentences"]),
                tuple((name, value) for name, value in part["figures"]),
            )
            for part in payload["sections"]
        ),
        curve=tuple((date.fromisoformat(day), Decimal(value)) for day, value in payload["curve"]),
    )


async def with_accounts(
    session: AsyncSession, notices: Sequence[Notice]
) -> Sequence[tuple[Notice, Mapping[str, Any]]]:
    """Notices and their facts, with the venue and mode of the position that they are about."""
    accounts = await _accounts(session, notices)
    return [
        (notice, {**accounts.get(position_of(notice), {}), **notice.facts}) for notice in notices
    ]


def position_of(notice: Notice) -> UUID | None:
    """The position that a notice is about."""
    try:
        return UUID(hex=str(notice.facts["position_id"]))
    except (KeyError, ValueError):
        return None


async def _accounts(
    session: AsyncSession, notices: Sequence[Notice]
) -> Mapping[UUID | None, Mapping[str, str]]:
    """Venue and mode of the positions that notices are about."""
    ids = {found for notice in notices if (found := position_of(notice)) is not None}
    if not ids:
        return {}
    rows = await all_rows(
        session,
        select(col(Position.id), col(Account.venue), col(Account.mode))
        .join(Account, col(Account.id) == col(Position.account_id))
        .where(col(Position.id).in_(ids)),
    )
    return {row.id: {"venue": row.venue, "mode": row.mode} for row in rows}
