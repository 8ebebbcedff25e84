"""Looking trading accounts up, and the locks that serialise what must not interleave."""

from __future__ import annotations

from time import monotonic
from uuid import UUID

from sqlalchemy import ColumnElement, text
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Mode, Realm
from domain.ports import AccountRef, VenueRefusedKeys
from models.connections import Account, Connection, ConnectionStatus

KILL_SWITCH_LOCK = 0x6B696C6C
"""Advisory lock, shared by whatever lets an entry pass, exclusive for whoever engages a switch.

So an entry either sees the committed switch, or is marked as being sent before the lock was held
exclusively (and the switch waits for it to end).
"""


class KeysReplaced(Exception):
    """The connection of an account has other keys than the account's reference says."""


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


def is_keyed() -> ColumnElement[bool]:
    """The join of accounts with their connections, as long as those have keys."""
    is_its = col(Connection.id) == Account.connection_id
    return is_its & (col(Connection.status) != ConnectionStatus.REMOVED.value)


async def account_ref(session: AsyncSession, account_id: UUID) -> AccountRef:
    """What a venue gateway needs to know of an account.

    Raises:
        LookupError: the account does not exist for this user.
    """
    read_at = monotonic()
    row = (
        await session.exec(
            select(Account, Connection.version)
            .join(Connection, is_keyed(), isouter=True)
            .where(Account.id == account_id)
        )
    ).one_or_none()
    if row is None:
        raise LookupError("No such account")
    account, version = row
    return ref_of(account, version, read_at)


def ref_of(account: Account, connection_version: int | None, read_at: float) -> AccountRef:
    """The reference of a loaded account.

    Args:
        account: its row.
        connection_version: of its connection; None without keys.
        read_at: a time by the monotonic clock right before both were read.
    """
    return AccountRef(
        account_id=account.id,
        user_id=account.user_id,
        venue=account.venue,
        realm=Realm(account.realm),
        mode=Mode(account.mode),
        connection_id=account.connection_id,
        connection_version=connection_version or 0,
        keys_read_at=read_at,
    )


async def require_keys(session: AsyncSession, ref: AccountRef) -> None:
    """Make sure, with the account locked (shared), that its keys are still those of a reference.

    What commits with that lock is seen by whoever removes or replaces the keys: it asks for the
    account exclusively before it looks for orders that are being sent (`services.key_uses`).

    Raises:
        VenueRefusedKeys: they were removed.
        KeysReplaced: there are others.
    """
    if ref.connection_id is None:
        return
    statement = select(Connection.version).join(Account, is_keyed())
    version = (await session.exec(statement.where(Account.id == ref.account_id))).one_or_none()
    if version is None:
        raise VenueRefusedKeys("The connection was removed")
    if version != ref.connection_version:
        raise KeysReplaced
