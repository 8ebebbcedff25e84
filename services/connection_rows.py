"""The rows of a connection and of the live account its keys open."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, VenueKey
from domain.positions import PositionState
from models.columns import new_id
from models.connections import Account, Connection, ConnectionStatus
from models.ledgers import Balance, Flow, FlowKind
from models.people import User
from models.trading import Order, Position
from services.billing.entitlements import plan_of
from services.errors import (
    BrokerAlreadyConnected,
    ExceedsTierLimit,
    ObjectNotFound,
    TokenInvalid,
)
from services.venue_keys import CURRENCY, VerifiedKeys


async def require_room(
    session: AsyncSession, user_id: UUID, key: VenueKey, *, now: datetime
) -> None:
    """Refuse another connection where there is one already, or where the plan has no room.

    Raises:
        BrokerAlreadyConnected: there is a connection to that venue.
        ExceedsTierLimit: the plan has no room for another connection.
        TokenInvalid: the user is gone.
    """
    # The lock makes two additions at once count each other.
    user = (await session.exec(select(User).where(User.id == user_id).with_for_update())).first()
    if user is None:
        raise TokenInvalid
    standing = (
        await session.exec(
            select(Connection).where(
                Connection.user_id == user_id,
                Connection.realm == key.realm,
                Connection.status != ConnectionStatus.REMOVED,
            )
        )
    ).all()
    same = next((one for one in standing if one.venue == key.venue), None)
    if same is not None:
        leaving = same.status == ConnectionStatus.EXIT_ONLY
        raise BrokerAlreadyConnected(
            "This broker is being removed and still has open positions or orders"
            if leaving
            else None
        )
    plan = await plan_of(session, user_id, now)
    limit = plan.limits.max_brokers
    if limit is not None and len(standing) >= limit:
        raise ExceedsTierLimit(
            f"The {plan.name} plan allows {limit} broker connections",
            details={"setting": "brokers", "limit": limit, "tier": plan.tier.value},
        )


async def open_live_account(
    session: AsyncSession, connection: Connection, verified: VerifiedKeys
) -> Account:
    """Make the trading account of a new connection, with what the venue says it holds."""
    account = Account(
        id=new_id(),
        user_id=connection.user_id,
        venue=connection.venue,
        realm=connection.realm,
        mode=Mode.LIVE,
        connection_id=connection.id,
        currency=CURRENCY,
        created_at=connection.created_at,
        opening_equity=verified.equity,
    )
    session.add(account)
    await session.flush()
    owner, at = connection.user_id, verified.venue_time
    for currency, held in verified.balances.items():
        session.add(
            Balance(
                account_id=account.id,
                user_id=owner,
                currency=currency,
                total=held.total,
                held=held.held,
                observed_at=at,
            )
        )
        if held.total:
            session.add(
                Flow(
                    user_id=owner,
                    account_id=account.id,
                    currency=currency,
                    amount=held.total,
                    kind=FlowKind.OPENING,
                    at=at,
                )
            )
    return account


async def get_connection(
    session: AsyncSession, connection_id: UUID, *, for_update: bool = False
) -> Connection:
    """A connection of the user this transaction is bound to.

    Raises:
        ObjectNotFound: there is none, or it was removed.
    """
    statement = select(Connection).where(
        Connection.id == connection_id, Connection.status != ConnectionStatus.REMOVED
    )
    if for_update:
        statement = statement.with_for_update()
    found = (await session.exec(statement)).first()
    if found is None:
        raise ObjectNotFound("Broker connection not found")
    return found


async def get_account_id(session: AsyncSession, connection_id: UUID) -> UUID:
    """The live account that the keys of a connection open."""
    its = select(Account.id).where(Account.connection_id == connection_id)
    return (await session.exec(its)).one()


async def last_order(session: AsyncSession, connection_id: UUID) -> Order | None:
    """The newest order of a connection that the venue gave an id."""
    return (
        await session.exec(
            select(Order)
            .join(Account, col(Account.id) == col(Order.account_id))
            .where(Account.connection_id == connection_id, col(Order.venue_order_id).is_not(None))
            .order_by(col(Order.created_at).desc())
            .limit(1)
        )
    ).first()


async def count_positions(session: AsyncSession, connection_id: UUID) -> int:
    """Open and pending positions of a connection's account."""
    live = (PositionState.PENDING, PositionState.OPEN)
    return (
        await session.exec(
            select(func.count(col(Position.id)))
            .join(Account, col(Account.id) == col(Position.account_id))
            .where(Account.connection_id == connection_id, col(Position.state).in_(live))
        )
    ).one()
