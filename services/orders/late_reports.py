"""What a venue says of executions after their orders had ended: a settled commission, a late fill.

A fill is identified by the venue's id and stored once; its quantity and price stand. Its fee is
what a venue may settle later: then it is corrected, with the balances, the position and the
roll-ups that count it, and the audit log says what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, case, update
from sqlmodel import col, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode
from domain.money import ZERO
from domain.orders import FillReport
from domain.strategies.apex import ExitReason
from models.connections import Account
from models.trading import Fill, Order
from services import audit
from services.audit import AuditEvent
from services.orders.booking import move_balances
from services.orders.gone import refold_alone
from services.orders.market_rules import rules_from_record
from services.orders.row_locks import lock_position_and_order

SETTLES_WITHIN = timedelta(days=1)
"""Time after a fill in which its commission may still be settled."""

COMMISSION_RATE_MAX = Decimal("0.02")
"""The most that a commission is taken to be, as a fraction of its fill: above what venues charge
those who trade least (1.2 % at Coinbase)."""

ASKED_FOR = timedelta(days=7)
"""Wall time after the end of an order after which nobody asks for its commissions any more, whether
they could be asked for or not."""

_log = structlog.get_logger("nija.orders")


@dataclass(frozen=True, slots=True)
class LateReports:
    """What of a listing of executions the books do not have.

    Attributes:
        fees: reports of known fills that now carry another fee, by our fill.
        orders: orders of ours with a fill that is not booked, and their markets.
    """

    fees: Mapping[UUID, FillReport]
    orders: Mapping[UUID, str]

    @property
    def is_any(self) -> bool:
        """Whether there is anything to correct."""
        return bool(self.fees or self.orders)


def may_be_settled(now: datetime) -> ColumnElement[bool]:
    """Which orders have fills whose commission may still change, with their accounts.

    Time alone does not end that, or what was settled while no worker ran would be missed: a
    reconciliation of the account that the venue answered has to come after it.

    Args:
        now: wall time.
    """
    until = func.least(now, col(Account.reconciled_at)) - SETTLES_WITHIN
    return (
        (col(Account.mode) == Mode.LIVE.value)
        & (col(Order.filled_quantity) > ZERO)
        & (col(Order.settled_at) > now - ASKED_FOR)
        & (col(Account.reconciled_at).is_(None) | (col(Order.settled_at) > until))
    )


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Fills whose commission may still change.

    Attributes:
        filled_at: venue time of the oldest.
        settled_at: wall time at which the first of their orders ended.
    """

    filled_at: datetime
    settled_at: datetime


async def oldest_unsettled(
    session: AsyncSession, account_id: UUID, now: datetime
) -> Unsettled | None:
    """The fills of an account whose commission may still change, if there are any."""
    filled_at, settled_at = (
        await session.exec(
            select(func.min(Fill.filled_at), func.min(Order.settled_at))
            .join(Order, col(Order.id) == Fill.order_id)
            .join(Account, col(Account.id) == Order.account_id)
            .where(Order.account_id == account_id, may_be_settled(now))
        )
    ).one()
    if filled_at is None or settled_at is None:
        return None
    return Unsettled(filled_at, settled_at)


async def unread_commissions_max(
    session: AsyncSession, account_id: UUID, *, since: datetime
) -> dict[str, Decimal]:
    """The most that commissions settled in coins may have taken beyond the booked ones.

    Args:
        session: a transaction of the account's user.
        account_id: whose fills.
        since: venue time from which on executions could not be read.

    Returns:
        Amounts by base currency.
    """
    base = func.split_part(col(Fill.symbol), "-", 1)
    booked = case((col(Fill.fee_currency) == base, col(Fill.fee)), else_=ZERO)
    beyond = func.greatest(ZERO, col(Fill.quantity) * COMMISSION_RATE_MAX - booked)
    rows = await session.exec(
        select(base, func.sum(beyond))
        .where(Fill.account_id == account_id, col(Fill.filled_at) >= since)
        .group_by(base)
    )
    return dict(rows.all())


async def find_late_reports(
    session: AsyncSession, account_id: UUID, reports: Sequence[FillReport]
) -> LateReports:
    """Compare a venue's listing of executions with the fills that are stored; changes nothing."""
    names = [report.venue_fill_id for report in reports]
    stored = {
        fill.venue_fill_id: fill
        for fill in (
            await session.exec(
                select(Fill).where(
                    Fill.account_id == account_id, col(Fill.venue_fill_id).in_(names)
                )
            )
        ).all()
    }
    ours = dict(
        (
            await session.exec(
                select(col(Order.venue_order_id), col(Order.id)).where(
                    Order.account_id == account_id,
                    col(Order.venue_order_id).in_({report.venue_order_id for report in reports}),
                )
            )
        ).all()
    )
    fees = {
        fill.id: report
        for report in reports
        if (fill := stored.get(report.venue_fill_id)) is not None and _is_corrected(fill, report)
    }
    missing = {
        ours[report.venue_order_id]: report.symbol
        for report in reports
        if report.venue_fill_id not in stored and report.venue_order_id in ours
    }
    return LateReports(fees, missing)


async def correct_fee(
    session: AsyncSession, fill_id: UUID, report: FillReport, *, at: datetime, wall: datetime
) -> None:
    """Book the fee that a venue settled later for a fill; repeating it changes nothing.

    Args:
        session: a transaction of the fill's user.
        fill_id: our fill.
        report: what the venue says of it now.
        at: venue time.
        wall: wall time.
    """
    fill = (await session.exec(select(Fill).where(Fill.id == fill_id))).one()
    position, order = await lock_position_and_order(session, fill.order_id)
    await session.refresh(fill)
    if not _is_corrected(fill, report):
        return
    rules = rules_from_record(position.rules)
    was, was_in = fill.fee, fill.fee_currency
    is_in_base = report.fee_currency == rules.base
    await session.exec(
        update(Fill)
        .where(col(Fill.id) == fill_id)
        .values(
            fee=report.fee,
            fee_currency=report.fee_currency,
            fee_quote=report.fee * fill.price if is_in_base else report.fee,
        )
    )
    await session.refresh(fill)
    deltas: dict[str, Decimal] = {was_in: was}
    deltas[report.fee_currency] = deltas.get(report.fee_currency, ZERO) - report.fee
    await move_balances(session, order, deltas, at)
    await refold_alone(session, position, ExitReason.MANUAL, at=at, wall=wall)
    audit.record(
        session,
        AuditEvent.FEE_CORRECTED,
        user_id=fill.user_id,
        at=wall,
        meta={
            "order_id": str(order.id),
            "position_id": str(position.id),
            "venue_fill_id": fill.venue_fill_id,
            "fee_before": f"{was:f} {was_in}",
            "fee": f"{report.fee:f} {report.fee_currency}",
        },
    )
    _log.info("fill.fee_corrected", order_id=str(order.id), before=str(was), fee=str(report.fee))


def _is_corrected(fill: Fill, report: FillReport) -> bool:
    return (fill.fee, fill.fee_currency) != (report.fee, report.fee_currency)
