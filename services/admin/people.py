"""Users as administrators see and change them."""

# ruff: noqa: S608 - every part of a statement is a literal, every value a parameter

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotSignal, Nudge
from domain.markets import Realm
from domain.plans import Tier
from domain.ports import WallClock, WorkflowService, WorkflowServiceUnavailable
from domain.principal import Principal, Role
from models.administration import UserNote
from models.bots import Bot, BotState
from models.columns import new_id
from models.people import User, UserStatus
from services import audit
from services.admin.reading import note_reading, rows_of
from services.audit import AuditEvent
from services.database import Database
from services.errors import InvalidRequest, NotAuthorized, ObjectNotFound
from services.identity.sessions import end_sessions
from services.notices import NoticeKind, tell
from services.trading.ending import end_entries
from services.trading.sends import wait_for_entry_sends
from services.trading.starting import lock_bot

NOTES_SHOWN = 20

# The account of the bot's current or last run, else the paper account: as in the user's own views.
_ACCOUNT = """
LEFT JOIN LATERAL (
    SELECT a.id, a.mode FROM accounts a
    WHERE a.user_id = u.id AND a.realm = :realm
    ORDER BY a.id IS NOT DISTINCT FROM (
        SELECT r.account_id FROM bots b JOIN bot_runs r ON r.bot_id = b.id
        WHERE b.user_id = u.id AND b.kind = 'apex'
        ORDER BY (r.id IS NOT DISTINCT FROM b.current_run_id) DESC, r.number DESC LIMIT 1
    ) DESC, a.mode = 'paper' DESC, a.created_at DESC
    LIMIT 1
) a ON true
LEFT JOIN LATERAL (
    SELECT coalesce(sum(t.trades), 0)::bigint AS trades, coalesce(sum(t.wins), 0)::bigint AS wins,
           coalesce(sum(t.losses), 0)::bigint AS losses,
           coalesce(sum(t.price_pnl), 0) AS pnl, coalesce(sum(t.net_pnl), 0) AS net_pnl
    FROM trade_rollups t
    WHERE t.account_id = a.id AND t.grain = 'month' AND t.symbol = '' AND t.hour = -1
) t ON true
"""
_COLUMNS = """
u.id, u.email, u.full_name, u.subscription_tier, u.status, u.role, u.created_at, u.last_active_at,
u.trial_ends_at, a.mode, t.trades, t.wins, t.losses, t.pnl, t.net_pnl
"""
_MATCHING = """
(CAST(:tier AS text) IS NULL OR u.subscription_tier = :tier)
AND (CAST(:status AS text) IS NULL OR u.status = :status)
AND (CAST(:role AS text) IS NULL OR u.role = :role)
AND (CAST(:search AS text) IS NULL OR u.email LIKE :search ESCAPE '!'
     OR u.id = CAST(:wanted AS uuid))
"""
_COUNT = text(f"SELECT count(*) AS users FROM users u WHERE {_MATCHING}")
_PAGE = text(f"""
SELECT {_COLUMNS}
FROM (
    SELECT * FROM users u WHERE {_MATCHING}
    ORDER BY u.created_at DESC, u.id LIMIT :limit OFFSET :offset
) u {_ACCOUNT}
ORDER BY u.created_at DESC, u.id
""")
_ONE = text(f"""
SELECT {_COLUMNS}, s.status AS billing_status, s.started_at, s.period_end, s.cancel_at_period_end,
       (SELECT b.state FROM bots b WHERE b.user_id = u.id AND b.kind = 'apex') AS bot_state,
       (SELECT count(*) FROM positions p WHERE p.account_id = a.id AND p.state = 'open')
       AS open_positions,
       (SELECT count(*) FROM sessions x WHERE x.user_id = u.id AND x.revoked_at IS NULL
          AND x.expires_at > :now) AS sessions
FROM users u {_ACCOUNT} LEFT JOIN subscriptions s ON s.user_id = u.id
WHERE u.id = :user
""")
_BROKERS = text("""
SELECT venue, realm, status FROM connections
WHERE user_id = :user AND status <> 'removed' ORDER BY created_at
""")

_log = structlog.get_logger("nija.admin")


@dataclass(frozen=True, slots=True)
class PeopleFilter:
    """Which users; `search` is part of an email address, or a whole user id."""

    search: str | None = None
    user_id: UUID | None = None
    tier: Tier | None = None
    status: UserStatus | None = None
    role: Role | None = None

    def params(self) -> dict[str, Any]:
        """The parameters of the statements."""
        return {
            "search": f"%{_escaped(self.search.lower())}%" if self.search else None,
            "wanted": self.user_id,
            "tier": self.tier,
            "status": self.status,
            "role": self.role,
        }


@dataclass(frozen=True, slots=True)
class PersonView:
    """A user in a list. The trading figures are of one account (`mode`), the user's own view."""

    id: UUID
    email: str
    full_name: str
    subscription_tier: str
    status: str
    role: str
    mode: str | None
    total_trades: int
    wins: int
    losses: int
    total_pnl: Decimal
    net_pnl: Decimal
    joined_at: datetime
    last_active: datetime | None
    trial_ends_at: datetime | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> PersonView:
        """The view of a row."""
        return cls(
            id=row["id"],
            email=row["email"],
            full_name=row["full_name"],
            subscription_tier=row["subscription_tier"],
            status=row["status"],
            role=row["role"],
            mode=row["mode"],
            total_trades=row["trades"],
            wins=row["wins"],
            losses=row["losses"],
            total_pnl=row["pnl"],
            net_pnl=row["net_pnl"],
            joined_at=row["created_at"],
            last_active=row["last_active_at"],
            trial_ends_at=row["trial_ends_at"],
        )


@dataclass(frozen=True, slots=True)
class PersonDetail:
    """All that administrators see of a user; never a key, a password or a token."""

    person: PersonView
    billing_status: str | None
    started_at: datetime | None
    period_end: datetime | None
    cancel_at_period_end: bool
    bot_state: str
    active_positions: int
    live_sessions: int
    brokers: tuple[tuple[str, str], ...]
    notes: tuple[UserNote, ...]


@dataclass(frozen=True, slots=True)
class PersonChange:
    """What is to change; None leaves it."""

    tier: Tier | None = None
    status: UserStatus | None = None
    role: Role | None = None
    note: str | None = None


class People:
    """Listing, looking up and changing users."""

    def __init__(
        self, database: Database, workflows: WorkflowService, clock: WallClock, *, realm: Realm
    ) -> None:
        self._database = database
        self._workflows = workflows
        self._clock = clock
        self._realm = realm

    async def list(
        self, principal: Principal, wanted: PeopleFilter, *, page: int, per_page: int
    ) -> tuple[Sequence[PersonView], int]:
        """One page of users, newest first, and how many match."""
        params = wanted.params()
        async with self._database.as_system() as session:
            (counted,) = await rows_of(session, _COUNT, **params)
            rows = await rows_of(
                session,
                _PAGE,
                **params,
                realm=self._realm,
                limit=per_page,
                offset=(page - 1) * per_page,
            )
            note_reading(
                session, principal, "users", self._clock.now(), search=wanted.search, page=page
            )
        return [PersonView.of(row) for row in rows], counted["users"]

    async def detail(self, principal: Principal, user_id: UUID) -> PersonDetail:
        """One user.

        Raises:
            ObjectNotFound: there is no such user.
        """
        now = self._clock.now()
        async with self._database.as_system() as session:
            found = await rows_of(session, _ONE, user=user_id, realm=self._realm, now=now)
            if not found:
                raise ObjectNotFound("User not found")
            brokers = await rows_of(session, _BROKERS, user=user_id)
            notes = (
                await session.exec(
                    select(UserNote)
                    .where(UserNote.user_id == user_id)
                    .order_by(col(UserNote.created_at).desc())
                    .limit(NOTES_SHOWN)
                )
            ).all()
            note_reading(session, principal, "user", now, about=user_id)
        (row,) = found
        return PersonDetail(
            person=PersonView.of(row),
            billing_status=row["billing_status"],
            started_at=row["started_at"],
            period_end=row["period_end"],
            cancel_at_period_end=bool(row["cancel_at_period_end"]),
            bot_state=row["bot_state"] or BotState.STOPPED.value,
            active_positions=row["open_positions"],
            live_sessions=row["sessions"],
            brokers=tuple((one["venue"], one["status"]) for one in brokers),
            notes=tuple(notes),
        )

    async def update(
        self,
        principal: Principal,
        user_id: UUID,
        change: PersonChange,
        *,
        command_id: UUID | None = None,
    ) -> None:
        """Change a user. Whoever is suspended or disabled is logged out, their bot exit-only.

        Args:
            principal: the administrator.
            user_id: whom.
            change: what.
            command_id: what asks, and the id of a note; asking again adds no second one.

        Raises:
            ObjectNotFound: there is no such user.
            InvalidRequest: administrators cannot lock themselves out.
            NotAuthorized: the caller has ceased to be an administrator meanwhile.
        """
        now = self._clock.now()
        if user_id == principal.user_id:
            _refuse_locking_oneself_out(change)
        async with self._database.as_system() as session:
            shuts_out = change.status not in {None, UserStatus.ACTIVE}
            # Before the users, as in starting a bot and deleting a user.
            bot = await lock_bot(session, user_id) if shuts_out else None
            user = await _lock_people(session, principal, user_id)
            changed = _apply(user, change)
            note_id = await _add_note(
                session, principal, user_id, change.note, now, command_id or new_id()
            )
            is_shut_out = shuts_out and "status" in changed
            if is_shut_out:
                # A first start that held the user until now has made the bot meanwhile.
                bot = bot or await lock_bot(session, user_id)
                await _shut_out(session, user, bot, now)
            if changed:
                session.add(user)
                await _tell_change(session, user, changed, now)
            audit.record(
                session,
                AuditEvent.USER_UPDATED,
                user_id=user_id,
                actor_id=principal.user_id,
                at=now,
                # Not its words: users export their own entries, and these outlive the user.
                meta={"changed": changed, "note_id": note_id},
            )
        if bot is not None:
            await self._inform(bot)
        if shuts_out or change.tier is not None:
            # No entry passes its gate under the old plan or status any more. Also where it was so
            # already: who made the change may still be waiting, or have died before telling.
            await wait_for_entry_sends(self._database, self._clock, user_id)

    async def _inform(self, bot: Bot) -> None:
        try:
            await self._workflows.signal_bot(
                bot.user_id, bot.id, BotSignal.STOP, Nudge(revision=bot.revision)
            )
        except WorkflowServiceUnavailable:
            # The row says it all; the sweeper tells the workflow as soon as it can be told.
            _log.warning("admin.not_delivered", bot_id=str(bot.id))


async def _lock_people(session: AsyncSession, principal: Principal, user_id: UUID) -> User:
    """Lock user and caller in one order, so that two administrators cannot unmake each other."""
    found = (
        await session.exec(
            select(User)
            .where(col(User.id).in_([principal.user_id, user_id]))
            .order_by(col(User.id))
            .with_for_update(key_share=True)
        )
    ).all()
    people = {user.id: user for user in found}
    caller = people.get(principal.user_id)
    if caller is None or caller.role != Role.ADMIN or caller.status != UserStatus.ACTIVE:
        raise NotAuthorized
    if user_id not in people:
        raise ObjectNotFound("User not found")
    return people[user_id]


def _refuse_locking_oneself_out(change: PersonChange) -> None:
    if change.status not in {None, UserStatus.ACTIVE}:
        raise InvalidRequest({"status": "You cannot lock yourself out"})
    if change.role not in {None, Role.ADMIN}:
        raise InvalidRequest({"role": "You cannot take your own rights away"})


async def _add_note(
    session: AsyncSession,
    principal: Principal,
    user_id: UUID,
    note: str | None,
    now: datetime,
    note_id: UUID,
) -> str | None:
    """Keep an administrator's note, once; answers its id."""
    if note is None:
        return None
    if await session.get(UserNote, note_id) is None:
        author_id = principal.user_id
        session.add(
            UserNote(id=note_id, user_id=user_id, author_id=author_id, note=note, created_at=now)
        )
    return str(note_id)


def _apply(user: User, change: PersonChange) -> dict[str, list[str]]:
    """Write what differs; each change as before and after."""
    changed: dict[str, list[str]] = {}
    wishes = (
        ("subscription_tier", change.tier),
        ("status", change.status),
        ("role", change.role),
    )
    for name, wish in wishes:
        before = getattr(user, name)
        if wish is not None and wish.value != before:
            changed[name] = [before, wish.value]
            setattr(user, name, wish.value)
    return changed


async def _shut_out(session: AsyncSession, user: User, bot: Bot | None, now: datetime) -> None:
    """End the user's sessions and entries; positions stay with their stops and targets."""
    await end_sessions(session, user.id, now, reason=f"account {user.status}")
    if bot is not None and BotState(bot.state).has_entering_run:
        await end_entries(session, bot, BotState.STOPPED, f"account {user.status}", now)


async def _tell_change(
    session: AsyncSession, user: User, changed: Mapping[str, list[str]], now: datetime
) -> None:
    """Tell the user of what concerns them: the plan, and whether they may use the platform."""
    about = f"admin:{uuid4()}"
    if "subscription_tier" in changed:
        before, after = changed["subscription_tier"]
        facts = {"from": before, "to": after}
        await tell(session, user.id, NoticeKind.PLAN_CHANGED, about, now=now, facts=facts)
    if "status" in changed:
        before, after = changed["status"]
        facts = {"from": before, "to": after}
        await tell(session, user.id, NoticeKind.ACCOUNT_STATUS, about, now=now, facts=facts)


def _escaped(part: str) -> str:
    """Part of a LIKE pattern that stands for itself."""
    return part.replace("!", "!!").replace("%", "!%").replace("_", "!_")
