"""Venue connections: keys are verified at the venue, sealed, rotated and removed.

No network call happens inside a transaction; what was true before the call is checked again after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.markets import Realm, VenueKey
from domain.ports import Vault, VenueCredentials, Venues, WallClock
from domain.principal import Principal
from domain.valuation import DEFAULT_STABLECOINS, Stablecoins
from models.columns import new_id
from models.connections import Connection, ConnectionStatus
from services.accounts import account_ref
from services.audit import AuditEvent, record
from services.connection_rows import (
    count_positions,
    get_account_id,
    get_connection,
    last_order,
    open_live_account,
    require_room,
)
from services.database import Database
from services.errors import (
    BrokerAlreadyConnected,
    InvalidApiKey,
    ObjectNotFound,
    UnsupportedBroker,
)
from services.key_uses import SENDS_SECONDS_MAX, wait_for_sends, wait_until_unused
from services.orders.emptied import may_fill
from services.reads import Caller, Reads
from services.sealing import mask_key, seal_credentials
from services.trading.removed_keys import end_without_keys
from services.venue_keys import VenueKeys, VerifiedKeys

ANSWERS_SECONDS_MAX = 5.0
"""How long a removal by force lets the venue answer the orders that are on their way."""

_LIVE_VENUE_CONSTRAINT = "uq_connections_live_venue"
_LIST = """
SELECT id, venue, realm, status, api_key_masked, permissions, last_connected_at, last_error,
       created_at
FROM connections
WHERE user_id = %(user_id)s AND realm = %(realm)s AND status <> 'removed'
ORDER BY created_at, id
"""


class RunStopper(Protocol):
    """Whoever ends the entries of runs whose connection goes away."""

    async def connection_removed(self, principal: Principal, connection_id: UUID) -> None:
        """Make the runs on a connection that is being removed exit-only."""
        ...


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A connection as its owner sees it."""

    id: UUID
    venue: str
    display_name: str
    realm: str
    status: str
    api_key_masked: str
    permissions: list[str]
    last_connected_at: datetime | None
    last_error: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConnectionTest:
    """What testing a connection found."""

    status: str
    keys: VerifiedKeys


@dataclass(frozen=True, slots=True)
class ConnectionMade:
    """A connection that stands, and what keeps its bot from opening positions, if anything."""

    id: UUID
    status: str
    warning: str | None


@dataclass(frozen=True, slots=True)
class Removal:
    """What removing a connection left behind."""

    status: str
    open_positions: int


class Connections:
    """A user's keys at venues.

    Args:
        database: where they live, sealed.
        reads: the read side.
        clock: wall time.
        venues: the venues of this installation.
        vault: seals keys.
        runs: told before a connection goes away.
        realm: the kind of venue this installation trades at.
        stablecoins: what counts at par in what an account is worth.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        venues: Venues,
        vault: Vault,
        runs: RunStopper,
        *,
        realm: Realm,
        stablecoins: Stablecoins = DEFAULT_STABLECOINS,
    ) -> None:
        self._database = database
        self._reads = reads
        self._clock = clock
        self._venues = venues
        self._vault = vault
        self._runs = runs
        self._realm = realm
        self._keys = VenueKeys(venues, stablecoins=stablecoins)

    async def list(self, caller: Caller) -> list[ConnectionView]:
        """Every connection that was not removed."""
        names = self._venues.supported()
        rows = await self._reads.rows(caller, _LIST, realm=self._realm)
        return [
            ConnectionView(**row, display_name=names.get(row["venue"], row["venue"]))
            for row in rows
        ]

    async def add(
        self, principal: Principal, *, venue: str, credentials: VenueCredentials
    ) -> ConnectionMade:
        """Verify keys and keep them; makes the live account they open.

        Raises:
            UnsupportedBroker: this installation does not trade there.
            BrokerAlreadyConnected: there is a connection to that venue.
            ExceedsTierLimit: the plan has no room for another connection.
            InvalidApiKey: the venue refuses the keys, or they may do too much or too little.
            VenueFailed: the venue does not answer.
        """
        if venue not in self._venues.supported():
            raise UnsupportedBroker(details={"supported": sorted(self._venues.supported())})
        async with self._database.for_user(principal.user_id) as session:
            await self._require_room(session, principal, venue)
        key = VenueKey(venue, self._realm)
        credentials = self._keys.usable(key, credentials)
        verified = await self._keys.verify(key, credentials)
        connection = self._sealed_connection(principal, venue, credentials, verified)
        try:
            async with self._database.for_user(principal.user_id) as session:
                await self._require_room(session, principal, venue)
                await self._store(session, connection, verified)
        except IntegrityError as error:
            diagnostics = getattr(error.orig, "diag", None)
            if getattr(diagnostics, "constraint_name", None) == _LIVE_VENUE_CONSTRAINT:
                raise BrokerAlreadyConnected from None
            raise
        return ConnectionMade(connection.id, str(connection.status), verified.warning)

    async def test(self, principal: Principal, connection_id: UUID) -> ConnectionTest:
        """Ask the venue whether stored keys still work, and note the answer.

        Raises:
            ObjectNotFound: the caller has no such connection.
            InvalidApiKey: the venue refuses the keys now; the connection is marked broken.
            VenueFailed: the venue does not answer; nothing is concluded from that.
        """
        async with self._database.for_user(principal.user_id) as session:
            connection = await get_connection(session, connection_id)
            ref = await account_ref(session, await get_account_id(session, connection_id))
        try:
            verified = await self._keys.verify_stored(ref)
        except InvalidApiKey as refusal:
            await self._note(principal, connection, refusal)
            raise
        status = await self._note(principal, connection, verified)
        return ConnectionTest(status, verified)

    async def rotate(
        self, principal: Principal, connection_id: UUID, *, credentials: VenueCredentials
    ) -> ConnectionMade:
        """Replace the keys of a connection; runs and positions go on with the new ones.

        No request leaves with the old ones after the answer.

        Raises:
            ObjectNotFound: the caller has no such connection.
            InvalidApiKey: as `add`, or the keys open another account at the venue.
            VenueFailed: the venue does not answer.
        """
        async with self._database.for_user(principal.user_id) as session:
            connection = await get_connection(session, connection_id)
            order = await last_order(session, connection_id)
        key = VenueKey(connection.venue, Realm(connection.realm))
        credentials = self._keys.usable(key, credentials)
        verified = await self._keys.verify(key, credentials)
        if order is not None and not await self._keys.knows_order(
            key, credentials, venue_order_id=order.venue_order_id or "", symbol=order.symbol
        ):
            raise InvalidApiKey("These API keys belong to another account at the broker")
        async with self._database.for_user(principal.user_id) as session:
            fresh = await get_connection(session, connection_id, for_update=True)
            fresh.sealed = self._seal(principal, connection_id, credentials)
            fresh.version += 1
            fresh.api_key_masked = mask_key(credentials.api_key)
            self._note_success(fresh, verified)
            self._audit(session, AuditEvent.BROKER_ROTATED, fresh, version=fresh.version)
        await self._wait_until_unused(principal, connection_id)
        return ConnectionMade(fresh.id, str(fresh.status), verified.warning)

    async def remove(
        self, principal: Principal, connection_id: UUID, *, force: bool = False
    ) -> Removal:
        """Remove a connection; while something needs its keys it only exits, unless forced.

        No request leaves with removed keys after the answer. An order that is being sent is waited
        for until the venue has answered: before the keys go, so that its end can be asked for, and
        where that takes too long after it as well, 18 s in all.

        By force positions lose their stops with their keys. A process that dies before leaves a
        connection that only exits, with stops in force; it goes once nothing needs it, or by
        another call.

        Raises:
            ObjectNotFound: the caller has no such connection, or it was removed; then its keys are
                unused by the time this says so.
        """
        try:
            return await self._remove(principal, connection_id, force=force)
        except ObjectNotFound:
            await self._wait_for_removal(principal, connection_id)
            raise

    async def _remove(self, principal: Principal, connection_id: UUID, *, force: bool) -> Removal:
        async with self._database.for_user(principal.user_id) as session:
            await get_connection(session, connection_id)
        await self._runs.connection_removed(principal, connection_id)
        if force:
            async with self._database.for_user(principal.user_id) as session:
                connection = await get_connection(session, connection_id, for_update=True)
                connection.status = ConnectionStatus.EXIT_ONLY
            await wait_for_sends(
                self._database,
                self._clock,
                principal.user_id,
                connection_id,
                seconds_max=ANSWERS_SECONDS_MAX,
            )
        removal = await self._take_keys(principal, connection_id, force=force)
        if removal.status == ConnectionStatus.REMOVED:
            await self._wait_until_unused(principal, connection_id)
        return removal

    async def _take_keys(
        self, principal: Principal, connection_id: UUID, *, force: bool
    ) -> Removal:
        """Take the keys in one transaction with all that needs them, or let them only exit."""
        now = self._clock.now()
        async with self._database.for_user(principal.user_id) as session:
            if force:
                await end_without_keys(session, principal.user_id, connection_id, now)
            try:
                connection = await get_connection(session, connection_id, for_update=True)
            except ObjectNotFound:  # nothing needed it, so it was removed meanwhile
                return Removal(ConnectionStatus.REMOVED, 0)
            left = await count_positions(session, connection_id)
            is_needed = left or await may_fill(session, connection_id, now)
            if is_needed and not force:
                connection.status = ConnectionStatus.EXIT_ONLY
            else:
                connection.status = ConnectionStatus.REMOVED
                connection.sealed = None
                connection.removed_at = now
            self._audit(
                session,
                AuditEvent.BROKER_REMOVED,
                connection,
                forced=force,
                open_positions=left,
                status=str(connection.status),
            )
        return Removal(str(connection.status), left)

    async def _wait_for_removal(self, principal: Principal, connection_id: UUID) -> None:
        """Wait as the call does that has removed a connection and may not have answered yet."""
        async with self._database.for_user(principal.user_id) as session:
            found = await session.exec(
                select(Connection.removed_at).where(Connection.id == connection_id)
            )
            removed_at = found.first()
        waits_for = timedelta(seconds=SENDS_SECONDS_MAX)
        if removed_at is not None and self._clock.now() - removed_at < waits_for:
            await self._wait_until_unused(principal, connection_id)

    async def _wait_until_unused(self, principal: Principal, connection_id: UUID) -> None:
        await wait_until_unused(self._database, self._clock, principal.user_id, (connection_id,))

    async def _require_room(self, session: AsyncSession, principal: Principal, venue: str) -> None:
        key = VenueKey(venue, self._realm)
        await require_room(session, principal.user_id, key, now=self._clock.now())

    def _sealed_connection(
        self,
        principal: Principal,
        venue: str,
        credentials: VenueCredentials,
        verified: VerifiedKeys,
    ) -> Connection:
        connection_id = new_id()
        connection = Connection(
            id=connection_id,
            user_id=principal.user_id,
            venue=venue,
            realm=self._realm,
            api_key_masked=mask_key(credentials.api_key),
            sealed=self._seal(principal, connection_id, credentials),
            created_at=self._clock.now(),
        )
        self._note_success(connection, verified)
        return connection

    async def _store(
        self, session: AsyncSession, connection: Connection, verified: VerifiedKeys
    ) -> None:
        session.add(connection)
        await session.flush()
        await open_live_account(session, connection, verified)
        self._audit(session, AuditEvent.BROKER_ADDED, connection)

    async def _note(
        self, principal: Principal, connection: Connection, found: VerifiedKeys | InvalidApiKey
    ) -> str:
        async with self._database.for_user(principal.user_id) as session:
            fresh = await get_connection(session, connection.id, for_update=True)
            if fresh.version != connection.version:  # rotated meanwhile: this tells about old keys
                return str(fresh.status)
            if isinstance(found, VerifiedKeys):
                self._note_success(fresh, found)
            else:
                fresh.last_error = found.message
                if fresh.status == ConnectionStatus.CONNECTED:
                    fresh.status = ConnectionStatus.BROKEN
            return str(fresh.status)

    def _note_success(self, connection: Connection, verified: VerifiedKeys) -> None:
        connection.permissions = verified.permissions.names
        connection.last_connected_at = self._clock.now()
        connection.last_error = None
        if connection.status == ConnectionStatus.BROKEN:
            connection.status = ConnectionStatus.CONNECTED

    def _seal(
        self, principal: Principal, connection_id: UUID, credentials: VenueCredentials
    ) -> bytes:
        return seal_credentials(
            self._vault, credentials, user_id=principal.user_id, connection_id=connection_id
        )

    def _audit(
        self, session: AsyncSession, event: AuditEvent, connection: Connection, **meta: object
    ) -> None:
        record(
            session,
            event,
            user_id=connection.user_id,
            at=self._clock.now(),
            meta={"connection_id": str(connection.id), "broker": connection.venue, **meta},
        )
