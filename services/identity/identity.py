"""People, put together: what bootstrap builds and the dialects call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from domain.ports import Vault, WallClock, WorkflowService
from services.database import Database
from services.errors import TokenInvalid
from services.identity.credentials import Credentials
from services.identity.deletion import Deletion, DeletionWorkflows
from services.identity.logins import Logins
from services.identity.mailed_links import MailedLinks
from services.identity.password_reset import PasswordResets
from services.identity.passwords import Passwords
from services.identity.registration import Registration
from services.identity.sessions import Sessions
from services.identity.tokens import AccessTokens
from services.identity.two_factor import TwoFactor
from services.identity.verification import EmailChanges, EmailVerification
from services.identity.views import UserView
from services.paper_accounts import PaperAccounts
from services.reads import Caller, Reads

_ME = """
SELECT id, email, email_verified_at, full_name, role, status, subscription_tier, trial_ends_at,
       created_at
FROM users WHERE id = %(user_id)s
"""


@dataclass(frozen=True, slots=True)
class IdentityPolicy:
    """How long things last."""

    access_ttl: timedelta
    refresh_ttl: timedelta
    trial: timedelta


class Identity:
    """Registration, logins, sessions, tokens, and the account's own life.

    Args:
        database: where people live.
        reads: the read side.
        clock: wall time.
        paper: opens a new user's paper account.
        policy: how long things last.
        vault: seals second factors and the secrets of mailed links.
        deletions: the workflows that delete accounts.
        bots: the workflows of bots, told when their user leaves.
        jwt_secret: signs access tokens.
        base_url: where users reach this server; mailed links begin with it.
        passwords: how passwords are hashed; tests hand in a cheaper one.
    """

    def __init__(
        self,
        database: Database,
        reads: Reads,
        clock: WallClock,
        paper: PaperAccounts,
        policy: IdentityPolicy,
        vault: Vault,
        deletions: DeletionWorkflows,
        bots: WorkflowService,
        *,
        jwt_secret: str,
        base_url: str,
        passwords: Passwords | None = None,
    ) -> None:
        self._reads = reads
        self._passwords = passwords or Passwords()
        self.access_tokens = AccessTokens(jwt_secret, policy.access_ttl, clock)
        self.sessions = Sessions(
            database, reads, clock, self.access_tokens, refresh_ttl=policy.refresh_ttl
        )
        self.links = MailedLinks(database, vault, clock, base_url=base_url)
        credentials = Credentials(database, clock, self._passwords, vault)
        self.logins = Logins(database, credentials, self._passwords, self.sessions, paper)
        self.two_factor = TwoFactor(database, reads, clock, vault, credentials)
        self.verification = EmailVerification(database, clock, self.links)
        self.email_changes = EmailChanges(database, clock, credentials, self.links)
        self.password_resets = PasswordResets(database, clock, self._passwords, self.links)
        self.deletion = Deletion(database, clock, credentials, self._passwords, bots, deletions)
        self.registration = Registration(
            database,
            clock,
            self._passwords,
            paper,
            trial=policy.trial,
            verification=self.verification,
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
