"""The gates once more, in the transaction that marks an order as being sent."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from models.bots import Bot, BotRun, BotState, RunState
from models.controls import KillSwitch
from models.trading import Order, Position
from services.orders.live_exits import live_exits, may_sell
from services.orders.refusals import REPETITION_WITHHELD, SOLD_MEANWHILE
from services.trading.entry_terms import EntryTerms, refusal_by_terms

ENTRY_AGE_MAX = timedelta(minutes=5)
"""Venue time after which an unsent entry is out of date: its decision is a whole bar old."""


async def hold_bot(session: AsyncSession, order_id: UUID) -> None:
    """Let no command change the bot between the gates and the mark; locked first, as they do."""
    await session.exec(
        select(Bot.id)
        .join(Order, col(Order.bot_id) == Bot.id)
        .where(Order.id == order_id)
        .with_for_update(read=True, of=Bot)
    )


async def entry_refusal(
    session: AsyncSession,
    terms: EntryTerms,
    position: Position,
    order: Order,
    venue_now: datetime,
) -> tuple[str, str] | None:
    """Why an entry must not be sent; None if it may. A stop since the intent holds."""
    bot, run = (
        await session.exec(
            select(Bot, BotRun)
            .join(BotRun, col(BotRun.bot_id) == Bot.id)
            .where(BotRun.id == order.run_id)
        )
    ).one()
    killed = (
        await session.exec(
            select(KillSwitch.scope).where(
                col(KillSwitch.released_at).is_(None),
                (col(KillSwitch.scope) == "global")
                | (col(KillSwitch.user_id) == order.user_id)
                | (col(KillSwitch.venue) == run.venue),
            )
        )
    ).first()
    if killed is not None:
        return "kill_switch", f"A {killed} kill switch is active"
    if run.state != RunState.ENTERING:
        return "run_over", "The run takes no more entries"
    if bot.state not in {BotState.RUNNING, BotState.STARTING}:
        return "bot_not_running", f"The bot is {bot.state}"
    if venue_now - order.created_at > ENTRY_AGE_MAX:
        return "stale", "The decision is older than a bar"
    return await refusal_by_terms(session, terms, run, position, order, venue_now)


async def exit_refusal(
    session: AsyncSession, position: Position, order: Order
) -> tuple[str, str] | None:
    """Why an exit must not be sent; None if it may.

    An exit that was taken for lost may have filled since this one was made in its place. What it
    would sell beyond the position is the user's own; what is left gets an exit of its own. What
    others may sell yet is theirs; a repetition has its share, since they were made beside it.
    """
    left = position.open_quantity
    if order.sends:
        if order.quantity > left:
            return REPETITION_WITHHELD, "It may have sold, and less is left than it is for"
        return None
    live = await live_exits(session, position.id)
    left -= may_sell(it for it in live if it.id != order.id)
    if order.quantity > left:
        return SOLD_MEANWHILE, "An earlier exit filled after all; less is left than this sells"
    return None
