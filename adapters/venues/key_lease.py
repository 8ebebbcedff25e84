"""The right of one gateway to use its keys; see `domain.key_leases`."""

from __future__ import annotations

from time import monotonic

from domain.key_leases import KEY_LEASE_SECONDS, NEVER_READ, keys_are_held_until
from domain.ports import AccountRef, CredentialSource, VenueRefusedKeys, VenueUnavailable


class KeyLease:
    """A lease on the keys of one connection and version.

    Args:
        source: tells which version the connection has.
        ref: the account; live.
    """

    def __init__(self, source: CredentialSource, ref: AccountRef) -> None:
        self._source = source
        self._ref = ref
        self._until = NEVER_READ

    def renew(self, read_at: float) -> None:
        """Count from a reading of the row that found this version; a time before that reading."""
        self._until = max(self._until, read_at + KEY_LEASE_SECONDS)

    async def require(self) -> None:
        """Return where a request may leave now.

        Raises:
            VenueRefusedKeys: the keys were removed.
            VenueUnavailable: they were replaced, or that could not be found out.
        """
        while monotonic() >= max(self._until, keys_are_held_until()):
            await self._read()

    async def _read(self) -> None:
        ref, read_at = self._ref, monotonic()
        assert ref.connection_id is not None, "a live account has a connection"
        version = await self._source.version(ref.user_id, ref.connection_id)
        if version is None:
            raise VenueRefusedKeys("The connection has no keys")
        if version != ref.connection_version:
            raise VenueUnavailable("The connection has other keys by now")
        self.renew(read_at)
