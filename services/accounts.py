"""Looking trading accounts up, and the locks that serialise what must not interleave."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, Realm
from domain.ports import AccountRef
from models.connections import Account, Connection

KILL_SWITCH_LOCK = 0x6B696C6C
"""Advisory lock, shared by whatever lets an entry pass, exclusive for whoever engages a switch.

So an entry either sees the committed switch, or is marked as being sent before the lock was held
exclusively (and the switch waits for it to end).
"""


async def let_entries_pass(session: AsyncSession) -> None:
    """Hold the kill-switch lock, shared, until this transaction ends."""
    connection = await session.connection()
    await connection.execute(
        text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": KILL_SWITCH_LOCK}
    )


async def hold_entries(session: AsyncSession) -> None:
    """Hold the kill-switch lock exclusively until this transaction ends."""
    connection = await session.connection()
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": KILL_SWITCH_LOCK})


async def account_ref(session: AsyncSession, account_id: UUID) -> AccountRef:
    """What a venue gateway needs to know of an account.

    Raises:
        LookupError: the account does not exist for this user.
    """
    row = (
        await session.exec(
            select(Account, Connection.version)
            .join(Connection, col(Connection.id) == Account.connection_id, isouter=True)
            .where(Account.id == account_id)
        )
    ).one_or_none()
    if row is None:
        raise LookupError("No such account")
    account, version = row
    return ref_of(account, version or 0)


def ref_of(account: Account, connection_version: int) -> AccountRef:
    """The reference of a loaded account."""
    return AccountRef(
        account_id=account.id,
        user_id=account.user_id,
        venue=account.venue,
        realm=Realm(account.realm),
        mode=Mode(account.mode),
        connection_id=account.connection_id,
        connection_version=connection_version,
    )
