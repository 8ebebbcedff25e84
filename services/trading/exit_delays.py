"""When an exit is tried again, by how the tries before went."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.orders import OrderState
from domain.refusals import TOO_MUCH, WRONG_TYPE
from models.bots import Bot, BotRun
from models.connections import Account, Connection
from models.controls import KillScope, KillSwitch
from models.markets import MarketState
from models.trading import Order, Position
from services.trading.exit_attempts import ADAPTED_AT_ONCE_MAX, Attempts, OrderForm

RETRY_SECONDS_FIRST = 1.0
RETRY_SECONDS_MAX = 60.0
RETRY_DOUBLINGS_MAX = 6
"""Enough to reach the longest delay; a power of two that grows for ever leaves the numbers."""

PATIENT_AFTER = 180
"""Tries in a row that filled nothing, about three hours, after which the delays grow further."""

PATIENCE_STEP = 90
"""As many tries later they have doubled, until they are `RETRY_SECONDS_PATIENT` after a day."""

RETRY_SECONDS_PATIENT = 600.0
"""The longest delay of an exit that a venue has refused for a day (its keys, or its market, are
gone): each try leaves an order, and it may go on for months. What may have changed that ends such a
delay at once (`_has_changed`). Once somebody asks again for the exit it is made when
`RETRY_SECONDS_MAX` have passed since the last try (`_was_asked_again`): however often that is."""


async def wait_before_retry(
    session: AsyncSession,
    position: Position,
    earlier: Attempts,
    form: OrderForm | None,
    now: datetime,
) -> float:
    """Seconds until the next try; none or less if it is due.

    Longer after each that filled nothing, yet no longer than the exit has been failing: many tries
    may have left within a second. An exit that gets on does not slow down, and what is made in
    another form than the one that was refused need not wait.

    Args:
        session: the transaction that makes exits.
        position: what is to leave.
        earlier: how the tries before went.
        form: what the next try would be; None where nothing can be made.
        now: wall time.
    """
    latest = earlier.latest
    if latest is None or latest.settled_at is None or latest.state == OrderState.FILLED:
        return 0.0
    if form is not None and _is_adapted(form, latest) and earlier.formless < ADAPTED_AT_ONCE_MAX:
        return 0.0
    delay = timedelta(seconds=delay_after(earlier.in_vain))
    if earlier.failing_since is not None:
        failing = latest.settled_at - earlier.failing_since
        delay = min(delay, max(failing, timedelta(0)) + timedelta(seconds=RETRY_SECONDS_FIRST))
    wait = (latest.settled_at + delay - now).total_seconds()
    if wait <= 0 or earlier.in_vain < PATIENT_AFTER:
        return wait
    if await _has_changed(session, position, latest):
        return 0.0
    if await _was_asked_again(session, position, latest.settled_at):
        soon = latest.settled_at + timedelta(seconds=RETRY_SECONDS_MAX)
        return min(wait, (soon - now).total_seconds())
    return wait


def delay_after(in_vain: int) -> float:
    """Seconds between a try and the next, by how many in a row filled nothing."""
    doublings = min(max(in_vain - 1, 0), RETRY_DOUBLINGS_MAX)
    delay = min(RETRY_SECONDS_FIRST * (1 << doublings), RETRY_SECONDS_MAX)
    if in_vain < PATIENT_AFTER:
        return delay
    steps = min(1 + (in_vain - PATIENT_AFTER) // PATIENCE_STEP, RETRY_DOUBLINGS_MAX)
    return min(delay * (1 << steps), RETRY_SECONDS_PATIENT)


def _is_adapted(form: OrderForm, refused: Order) -> bool:
    """Whether the next try is made in another form because of what the refused one met with."""
    if refused.refusal_code == WRONG_TYPE:
        return form.type != refused.type
    return refused.refusal_code in TOO_MUCH and form.quantity < refused.quantity


async def _has_changed(session: AsyncSession, position: Position, latest: Order) -> bool:
    """Whether there is a reason to try again although it has failed for hours.

    Keys were replaced or found to work (by a test of them, or by a reconciliation after one that
    found them refused), the market is said to be another than it was, or the bot was started,
    stopped or paused: somebody may be waiting for it.
    """
    changed_at = func.greatest(  # of those that are not null
        col(Bot.state_changed_at), col(Connection.last_connected_at), col(MarketState.since)
    )
    found = await session.exec(
        select(changed_at)
        .select_from(BotRun)
        .join(Bot, col(Bot.id) == BotRun.bot_id)
        .join(Account, col(Account.id) == BotRun.account_id)
        .join(Connection, col(Connection.id) == Account.connection_id, isouter=True)
        .join(
            MarketState,
            (col(MarketState.venue) == Account.venue)
            & (col(MarketState.realm) == Account.realm)
            & (col(MarketState.symbol) == position.symbol),
            isouter=True,
        )
        .where(BotRun.id == position.run_id)
    )
    changed: datetime | None = found.first()
    return changed is not None and latest.settled_at is not None and changed > latest.settled_at


async def _was_asked_again(session: AsyncSession, position: Position, since: datetime) -> bool:
    """Whether its user, an alert or a kill switch has asked for the exit since the last try."""
    if position.exit_asked_at is not None and position.exit_asked_at > since:
        return True
    asked = await session.exec(
        select(KillSwitch.id)
        .join(BotRun, col(BotRun.id) == position.run_id)
        .where(
            col(KillSwitch.released_at).is_(None),
            col(KillSwitch.close_positions),
            func.greatest(KillSwitch.engaged_at, KillSwitch.closing_since) > since,
            (col(KillSwitch.scope) == KillScope.GLOBAL.value)
            | (col(KillSwitch.user_id) == position.user_id)
            | (col(KillSwitch.venue) == BotRun.venue),
        )
        .limit(1)
    )
    return asked.first() is not None
