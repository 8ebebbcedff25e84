"""Decrypting the keys of a connection, for venue gateways only."""

from __future__ import annotations

import json
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import col, select

from domain.ports import Vault, VenueCredentials, VenueRefusedKeys, VenueUnavailable
from models.connections import Connection
from services.database import Database


def binding(user_id: UUID, connection_id: UUID) -> str:
    """What a connection's sealed keys are bound to."""
    return f"connection:{user_id}:{connection_id}"


class StoredCredentials:
    """domain.ports.CredentialSource over the connections table."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    async def credentials(self, user_id: UUID, connection_id: UUID) -> VenueCredentials:
        """Decrypt the keys of a user's connection.

        Raises:
            VenueRefusedKeys: the connection has no keys any more, or they cannot be opened.
        """
        async with self._database.for_user(user_id) as session:
            sealed = (
                await session.exec(
                    select(col(Connection.sealed)).where(Connection.id == connection_id)
                )
            ).one_or_none()
        if sealed is None:
            raise VenueRefusedKeys("The connection has no keys")
        try:
            keys = json.loads(self._vault.open(sealed, bound_to=binding(user_id, connection_id)))
        except ValueError as failure:
            raise VenueRefusedKeys("The stored keys cannot be opened") from failure
        return VenueCredentials(
            api_key=keys["api_key"],
            api_secret=keys["api_secret"],
            params=keys.get("additional_params") or {},
        )

    async def version(self, user_id: UUID, connection_id: UUID) -> int | None:
        """Which version of its keys a connection has at this moment; None where it has none.

        Raises:
            VenueUnavailable: the database does not say.
        """
        try:
            async with self._database.for_user(user_id) as session:
                return (
                    await session.exec(
                        select(Connection.version).where(
                            Connection.id == connection_id, col(Connection.sealed).is_not(None)
                        )
                    )
                ).one_or_none()
        except (SQLAlchemyError, OSError) as failure:
            raise VenueUnavailable("Whether the keys still stand cannot be found out") from failure
