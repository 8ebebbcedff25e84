"""People, put together: what bootstrap builds and the dialects call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from domain.ports import WallClock
from services.database import Database
from services.errors import TokenInvalid
from services.identity.logins import Logins
from services.identity.passwords import Passwords
from services.identity.registration import Registration
from services.identity.sessions import Sessions
from services.identity.tokens import AccessTokens
from services.identity.views import UserView
from services.paper_accounts import PaperAccounts
from services.reads import Caller, Reads

_ME = """
SELECT id, email, full_name, role, status, subscription_tier, trial_ends_at, created_at
FROM users WHERE id = %(user_id)s
"""


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """How long things last."""

    access_ttl: timedelta
    refresh_ttl: timedelta
    trial: timedelta


class Identity:
    """Registration, logins, sessions and tokens.

    Args:
        database: where people live.
        reads: the read side.
        clock: wall time.
        paper: opens a new user's paper account.
        policy: how long things last.
        jwt_secret: signs access tokens.
        passwords: how passwords are hashed; tests hand in a cheaper one.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        paper: PaperAccounts,
        policy: IdentityPolicy,
        *,
        jwt_secret: str,
        passwords: Passwords | None = None,
    ) -> None:
        self._reads = reads
        self._passwords = passwords or Passwords()
        self.access_tokens = AccessTokens(jwt_secret, policy.access_ttl, clock)
        self.sessions = Sessions(
            database, reads, clock, self.access_tokens, refresh_ttl=policy.refresh_ttl
        )
        self.logins = Logins(database, clock, self._passwords, self.sessions, paper)
        self.registration = Registration(
            database, clock, self._passwords, paper, trial=policy.trial
        )

    async def me(self, caller: Caller) -> UserView:
        """The caller.

        Raises:
            TokenInvalid: the user is gone.
        """
        rows = await self._reads.rows(caller, _ME)
        if not rows:
            raise TokenInvalid
        return UserView.from_row(rows[0], self._reads.now())

    def close(self) -> None:
        """Let go of the hashing threads."""
        self._passwords.close()
