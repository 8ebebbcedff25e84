"""A bot's exits, for the worker process that does nothing else.

Needs nothing but the positions, their triggers and their orders. The bot's row is not locked:
whatever holds it (a decision, a command, a process that froze in its transaction) keeps no exit
waiting. Each position is a transaction of its own, so one that is locked or whose rows cannot be
read costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from uuid import UUID

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.contracts.bots import BotRef, OrderTask
from domain.contracts.exits import ExitsDue
from domain.ports import AccountRef, WallClock
from models.bots import BotRun
from models.connections import Account, Connection
from models.trading import Order, Position
from services.accounts import is_keyed, ref_of
from services.database import Database
from services.orders.conditions import is_exit, is_live
from services.orders.due_exits import is_to_leave
from services.orders.live_exits import leaves_rest
from services.trading.leaving import Leaving, MarkOrder, leave
from services.trading.live_orders import live_orders

LOCKED_RECHECK_SECONDS = 0.25
"""The wait for a row that another transaction has locked, or for a database that is away."""

FAILED_RECHECK_SECONDS = 5.0
"""The wait after an exit could not be made for a reason that is a defect of ours."""

LOCKED = Leaving(retry_seconds=LOCKED_RECHECK_SECONDS)

_log = structlog.get_logger("nija.exits")


@dataclass(frozen=True, slots=True)
class DuePosition:
    """A position that is to be left, and the account that holds it."""

    position_id: UUID
    account: AccountRef


class ExitService:
    """Makes the exit orders that are due."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def make_due(self, ref: BotRef) -> ExitsDue:
        """Commit the exit orders that are due and list the live ones."""
        due, live = await self._look(ref, None)
        made: list[OrderTask] = []
        waits: list[float] = []
        for position in due:
            try:
                leaving = await self.leave(ref, position)
            except (OperationalError, InterfaceError, OSError) as failure:
                _log.warning(
                    "exit.later",
                    position_id=str(position.position_id),
                    error=type(failure).__name__,
                )
                leaving = LOCKED
            except Exception as failure:  # noqa: BLE001 - a boundary: the other positions go on
                _log.exception(
                    "exit.failed",
                    position_id=str(position.position_id),
                    error=type(failure).__name__,
                )
                leaving = Leaving(retry_seconds=FAILED_RECHECK_SECONDS)
            if leaving.order is not None:
                made.append(leaving.order)
            if leaving.retry_seconds is not None:
                waits.append(leaving.retry_seconds)
        if len(made) < len(due):
            # Another process may have made them at the same moment.
            async with self._database.for_user(ref.user_id) as session:
                live = await live_orders(session, ref.bot_id, exits_only=True)
        orders = {order.order_id: order for order in (*live, *made)}
        return ExitsDue(orders=tuple(orders.values()), recheck_seconds=min(waits, default=None))

    async def look(self, ref: BotRef) -> tuple[Sequence[DuePosition], tuple[OrderTask, ...]]:
        """The positions of a bot of which an exit can be made now, and its live exits."""
        return await self._look(ref, self._clock.now())

    async def _look(
        self, ref: BotRef, wall: datetime | None
    ) -> tuple[Sequence[DuePosition], tuple[OrderTask, ...]]:
        async with self._database.for_user(ref.user_id) as session:
            due = await _due_positions(session, ref.bot_id, wall)
            return due, await live_orders(session, ref.bot_id, exits_only=True)

    async def leave(self, ref: BotRef, due: DuePosition, mark: MarkOrder | None = None) -> Leaving:
        """Make the exit order of one position: it, and the wait before it can be made.

        Args:
            ref: the bot.
            due: the position.
            mark: notes on the order that it is being sent, before both commit together; then
                whoever asked sends it. The account's keys are those of `due` at that moment, as
                `services.accounts.require_keys` finds it.
        """
        async with self._database.for_user(ref.user_id) as session:
            if not await _share_account(session, due.account):
                return LOCKED
            position = (
                await session.exec(
                    select(Position)
                    .where(Position.id == due.position_id, is_to_leave())
                    .with_for_update(skip_locked=True)
                )
            ).one_or_none()
            if position is None:
                return LOCKED
            run, version = (
                await session.exec(
                    select(BotRun, Connection.version)
                    .join(Account, col(Account.id) == BotRun.account_id)
                    .join(Connection, is_keyed(), isouter=True)
                    .where(BotRun.id == position.run_id)
                )
            ).one()
            if (version or 0) != due.account.connection_version:
                return LOCKED  # the keys were replaced: the next look has the new ones
            return await leave(session, run, ref.bot_id, position, self._clock.now(), mark)


async def _share_account(session: AsyncSession, ref: AccountRef) -> bool:
    """Lock the account as the order's foreign key would; False where it is held at this moment.

    Before the position, as whoever books a fill: a comparison of balances has the account and then
    locks its positions. Nor is the account waited for with the position locked, and with a
    connection and a place that other accounts' exits need.
    """
    found = await session.exec(
        select(Account.id)
        .where(Account.id == ref.account_id)
        .with_for_update(read=True, key_share=True, skip_locked=True)
    )
    return found.first() is not None


async def _due_positions(
    session: AsyncSession, bot_id: UUID, wall: datetime | None
) -> Sequence[DuePosition]:
    """Positions of which an exit can be made, oldest first.

    Those that are to be left and have no live exit, and those of which a rest leaves beside the
    live ones: by a wall time, or also later where none is given.
    """
    has_exit = select(Order.position_id).where(Order.bot_id == bot_id, is_exit(), is_live())
    read_at = monotonic()
    rows = (
        await session.exec(
            select(Position.id, Account, Connection.version)
            .join(BotRun, col(BotRun.id) == Position.run_id)
            .join(Account, col(Account.id) == Position.account_id)
            .join(Connection, is_keyed(), isouter=True)
            .where(
                BotRun.bot_id == bot_id,
                is_to_leave(),
                col(Position.id).not_in(has_exit) | leaves_rest(wall),
            )
            .order_by(col(Position.opened_at), col(Position.id))
        )
    ).all()
    return [
        DuePosition(found, ref_of(account, version, read_at)) for found, account, version in rows
    ]
