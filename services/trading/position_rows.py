"""The rows of a position that its user acts on."""

from __future__ import annotations

from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.positions import PositionState
from models.bots import Bot, BotRun
from models.trading import Position
from services.errors import PositionNotFound


async def lock_open_position(session: AsyncSession, position_id: UUID) -> Position:
    """Lock one of a user's open positions, and nothing else: neither bot nor run.

    Raises:
        PositionNotFound: no open position of this user has that id.
    """
    position = await lock_position(session, position_id)
    if position.state != PositionState.OPEN:
        raise PositionNotFound
    return position


async def lock_position(session: AsyncSession, position_id: UUID) -> Position:
    """Lock one of a user's positions, open or not.

    Raises:
        PositionNotFound: no position of this user has that id.
    """
    found = await session.exec(select(Position).where(Position.id == position_id).with_for_update())
    position = found.one_or_none()
    if position is None:
        raise PositionNotFound
    return position


async def bot_of(session: AsyncSession, position: Position) -> Bot:
    """The bot whose position it is; not locked."""
    found = await session.exec(
        select(Bot).join(BotRun, col(BotRun.bot_id) == Bot.id).where(BotRun.id == position.run_id)
    )
    return found.one()
