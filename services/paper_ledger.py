"""The durable books of paper accounts: the paper venue's own side of every order.

Many paper exits may leave at the same moment, and making the next ones needs connections too. So a
ledger uses few at a time, and gives them back where an account is locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.money import ZERO
from domain.orders import (
    Balances,
    CurrencyBalance,
    FillReport,
    Liquidity,
    OrderReport,
    OrderRequest,
    OrderState,
    PlaceOutcome,
    Refused,
    Side,
)
from domain.paper import paper_order_id
from domain.ports import AccountRef
from domain.reconciliation import flows_of
from models.connections import Account
from models.ledgers import PaperBalance, PaperFill, PaperOrder
from services.database import Database
from services.orders.row_locks import CONNECTIONS_MAX, LockRetry, RowsLocked

_ONE_AT_A_TIME = text("SELECT pg_try_advisory_xact_lock(hashtextextended('paper:' || :account, 0))")


class PostgresPaperLedger:
    """domain.ports.PaperLedger; every method is one transaction of the account's user."""

    def __init__(self, database: Database, *, at_once: int = CONNECTIONS_MAX) -> None:
        self._database = database
        self._lock_retry = LockRetry(of_one=1, of_all=at_once)

    async def balances(self, ref: AccountRef) -> Balances:
        """What the account holds."""
        statement = select(PaperBalance).where(PaperBalance.account_id == ref.account_id)

        async def read() -> Sequence[PaperBalance]:
            async with self._database.for_user(ref.user_id) as session:
                return (await session.exec(statement)).all()

        rows = await self._lock_retry.carry_out(ref.account_id, read)
        return {row.currency: CurrencyBalance(row.currency, row.total, row.held) for row in rows}

    async def find(
        self,
        ref: AccountRef,
        *,
        client_order_id: str | None = None,
        venue_order_id: str | None = None,
    ) -> OrderReport | None:
        """A paper order by one of its ids, or None."""
        statement = select(PaperOrder).where(PaperOrder.account_id == ref.account_id)
        if client_order_id is not None:
            statement = statement.where(PaperOrder.client_order_id == client_order_id)
        if venue_order_id is not None:
            statement = statement.where(PaperOrder.id == UUID(venue_order_id))

        async def read() -> PaperOrder | None:
            async with self._database.for_user(ref.user_id) as session:
                return (await session.exec(statement)).one_or_none()

        row = await self._lock_retry.carry_out(ref.account_id, read)
        return None if row is None else _report(row)

    async def execute(
        self,
        ref: AccountRef,
        request: OrderRequest,
        *,
        base: str,
        quote: str,
        fills: Sequence[FillReport],
        state: str,
        at: datetime,
    ) -> OrderReport | PlaceOutcome:
        """Record an order with its fills and move the balances, all or nothing.

        Raises:
            RowsLocked: another transaction has the account locked; nothing was recorded.
        """

        async def record() -> OrderReport | PlaceOutcome:
            async with self._database.for_user(ref.user_id) as session:
                await _take_account(session, ref)
                known = (
                    await session.exec(
                        select(PaperOrder).where(
                            PaperOrder.account_id == ref.account_id,
                            PaperOrder.client_order_id == request.client_order_id,
                        )
                    )
                ).one_or_none()
                if known is not None:
                    return _report(known)
                short_of = await _move(session, ref, base, quote, fills)
                if short_of is not None:
                    await session.rollback()
                    return Refused("insufficient_funds", f"The order needs more {short_of}")
                order = _order_row(ref, request, fills, state, at)
                session.add(order)
                await session.flush()
                session.add_all(_fill_row(ref, order, fill) for fill in fills)
                return _report(order)

        return await self._lock_retry.carry_out(ref.account_id, record)

    async def open_orders(self, ref: AccountRef) -> Sequence[OrderReport]:
        """Resting paper orders."""
        async with self._database.for_user(ref.user_id) as session:
            rows = (
                await session.exec(
                    select(PaperOrder).where(
                        PaperOrder.account_id == ref.account_id,
                        PaperOrder.state == OrderState.OPEN.value,
                    )
                )
            ).all()
        return [_report(row) for row in rows]

    async def fills(
        self,
        ref: AccountRef,
        *,
        symbol: str | None,
        venue_order_id: str | None,
        since: datetime,
    ) -> Sequence[FillReport]:
        """Executions since a venue time, oldest first."""
        statement = select(PaperFill).where(
            PaperFill.account_id == ref.account_id, PaperFill.filled_at >= since
        )
        if symbol is not None:
            statement = statement.where(PaperFill.symbol == symbol)
        if venue_order_id is not None:
            statement = statement.where(PaperFill.order_id == UUID(venue_order_id))
        async with self._database.for_user(ref.user_id) as session:
            rows = (
                await session.exec(statement.order_by(col(PaperFill.filled_at), col(PaperFill.id)))
            ).all()
        return [_fill_report(row) for row in rows]


async def _take_account(session: AsyncSession, ref: AccountRef) -> None:
    """Let no other order of the account in, so funds are never spent twice, and no reset.

    The lock of a reset or a comparison keeps orders out; that of intents does not, since an exit
    waits for no decision on entries. Neither is waited for with a connection.

    Raises:
        RowsLocked: another transaction has it locked.
    """
    found = await session.exec(
        select(Account.id)
        .where(Account.id == ref.account_id)
        .with_for_update(read=True, key_share=True, skip_locked=True)
    )
    if found.first() is None:
        raise RowsLocked("account")
    connection = await session.connection()
    taken = await connection.execute(_ONE_AT_A_TIME, {"account": str(ref.account_id)})
    if not taken.scalar_one():
        raise RowsLocked("ledger")


async def _move(
    session: AsyncSession, ref: AccountRef, base: str, quote: str, fills: Sequence[FillReport]
) -> str | None:
    """Move the balances; the currency that would go below zero, if one would."""
    deltas: dict[str, Decimal] = {}
    for fill in fills:
        for currency, amount in flows_of(fill, base=base, quote=quote).items():
            deltas[currency] = deltas.get(currency, ZERO) + amount
    for currency, delta in sorted(deltas.items()):
        row = await session.get(PaperBalance, (ref.account_id, currency))
        if row is None:
            row = PaperBalance(
                account_id=ref.account_id, currency=currency, user_id=ref.user_id, total=ZERO
            )
        if row.total - row.held + delta < ZERO:
            return currency
        row.total += delta
        session.add(row)
    return None


def _order_row(
    ref: AccountRef, request: OrderRequest, fills: Sequence[FillReport], state: str, at: datetime
) -> PaperOrder:
    return PaperOrder(
        id=UUID(paper_order_id(ref.account_id, request.client_order_id)),
        user_id=ref.user_id,
        account_id=ref.account_id,
        client_order_id=request.client_order_id,
        symbol=request.symbol,
        side=request.side,
        type=request.type,
        time_in_force=request.time_in_force,
        quantity=request.quantity,
        limit_price=request.limit_price,
        filled_quantity=sum((fill.quantity for fill in fills), ZERO),
        state=state,
        created_at=at,
    )


def _fill_row(ref: AccountRef, order: PaperOrder, fill: FillReport) -> PaperFill:
    return PaperFill(
        id=UUID(fill.venue_fill_id),
        user_id=ref.user_id,
        account_id=ref.account_id,
        order_id=order.id,
        symbol=fill.symbol,
        side=fill.side,
        price=fill.price,
        quantity=fill.quantity,
        fee=fill.fee,
        fee_currency=fill.fee_currency,
        liquidity=fill.liquidity,
        filled_at=fill.filled_at,
    )


def _report(row: PaperOrder) -> OrderReport:
    return OrderReport(
        venue_order_id=str(row.id),
        client_order_id=row.client_order_id,
        symbol=row.symbol,
        side=Side(row.side),
        state=OrderState(row.state),
        quantity=row.quantity,
        filled_quantity=row.filled_quantity,
        created_at=row.created_at,
    )


def _fill_report(row: PaperFill) -> FillReport:
    return FillReport(
        venue_fill_id=str(row.id),
        venue_order_id=str(row.order_id),
        symbol=row.symbol,
        side=Side(row.side),
        price=row.price,
        quantity=row.quantity,
        fee=row.fee,
        fee_currency=row.fee_currency,
        liquidity=Liquidity(row.liquidity),
        filled_at=row.filled_at,
    )
