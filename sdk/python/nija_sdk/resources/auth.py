"""Auth. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Resource

_REGISTER = Operation("POST", "/auth/register", public=True)
_LOGIN = Operation("POST", "/auth/login", public=True)
_REFRESH = Operation("POST", "/auth/refresh", public=True)
_LOGOUT = Operation("POST", "/auth/logout")
_CHANGE_PASSWORD = Operation("PUT", "/auth/change-password")
_ME = Operation("GET", "/auth/me")
_SESSIONS = Operation("GET", "/auth/sessions")
_REVOKE_SESSION = Operation("DELETE", "/auth/sessions/{session_id}")
_RESET_PASSWORD = Operation("POST", "/auth/reset-password", public=True)
_CONFIRM_RESET_PASSWORD = Operation("POST", "/auth/reset-password/confirm", public=True)
_VERIFY_EMAIL = Operation("POST", "/auth/verify-email", public=True)
_RESEND_VERIFICATION = Operation("POST", "/auth/verify-email/resend")
_CHANGE_EMAIL = Operation("POST", "/auth/change-email")
_CONFIRM_CHANGE_EMAIL = Operation("POST", "/auth/change-email/confirm", public=True)
_TWO_FACTOR = Operation("GET", "/auth/2fa")
_SETUP_TWO_FACTOR = Operation("POST", "/auth/2fa/setup")
_ENABLE_TWO_FACTOR = Operation("POST", "/auth/2fa/enable")
_DISABLE_TWO_FACTOR = Operation("POST", "/auth/2fa/disable")
_NEW_RECOVERY_CODES = Operation("POST", "/auth/2fa/recovery-codes")
_DELETE_ACCOUNT = Operation("POST", "/auth/delete-account")


class Auth(Resource):
    """Auth."""

    def register(
        self, *, email: str, password: str, full_name: str, accept_terms: bool
    ) -> models.RegisteredView:
        """Create an account with a 14-day trial and a paper account.

        Args:
            email: Such as `user@example.com`.
            password: At least 10 characters.
            full_name: Such as `John Doe`.
            accept_terms: Accept terms.
        """
        return self._call(
            _REGISTER,
            models.RegisteredView,
            body={
                "email": email,
                "password": password,
                "full_name": full_name,
                "accept_terms": accept_terms,
            },
        )

    def login(self, *, email: str, password: str, otp: str | None = None) -> models.LoginView:
        """Get an access token and a refresh token.

        Five failures lock the account for 15 minutes.

        Args:
            email: Such as `user@example.com`.
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return self._call(
            _LOGIN,
            models.LoginView,
            body={"email": email, "password": password, "otp": otp},
        )

    def refresh(self, *, refresh_token: str) -> models.RefreshedView:
        """Exchange a refresh token for new tokens.

        Using one twice ends its session.

        Args:
            refresh_token: Such as `eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...`.
        """
        return self._call(
            _REFRESH,
            models.RefreshedView,
            body={"refresh_token": refresh_token},
        )

    def logout(self, *, revoke_all: bool | None = None) -> models.MessageView:
        """End this session, or every session; their tokens stop working at once.

        Args:
            revoke_all: End every session of the user.
        """
        return self._call(
            _LOGOUT,
            models.MessageView,
            body={"revoke_all": revoke_all},
        )

    def change_password(self, *, current_password: str, new_password: str) -> models.MessageView:
        """Change the password; every other session ends.

        Args:
            current_password: Such as `OldPassword123!`.
            new_password: Such as `NewPassword456!`.
        """
        return self._call(
            _CHANGE_PASSWORD,
            models.MessageView,
            body={"current_password": current_password, "new_password": new_password},
        )

    def me(self) -> models.MeView:
        """The caller's own account."""
        return self._call(
            _ME,
            models.MeView,
        )

    def sessions(self) -> models.SessionsView:
        """Every device that is logged in."""
        return self._call(
            _SESSIONS,
            models.SessionsView,
        )

    def revoke_session(self, session_id: str) -> models.MessageView:
        """Log a device out.

        Args:
            session_id: Which one: `session_id` of an earlier answer.
        """
        return self._call(
            _REVOKE_SESSION,
            models.MessageView,
            path={"session_id": session_id},
        )

    def reset_password(self, *, email: str) -> models.MessageView:
        """Ask for a mail with a link to choose a new password; the answer never tells who exists.

        Args:
            email: Such as `user@example.com`.
        """
        return self._call(
            _RESET_PASSWORD,
            models.MessageView,
            body={"email": email},
        )

    def confirm_reset_password(self, *, token: str, new_password: str) -> models.MessageView:
        """Choose a new password.

        The link works once, for an hour; every session ends.

        Args:
            token: What stands behind # in the link.
            new_password: Such as `NewPassword456!`.
        """
        return self._call(
            _CONFIRM_RESET_PASSWORD,
            models.MessageView,
            body={"token": token, "new_password": new_password},
        )

    def verify_email(self, *, token: str) -> models.MessageView:
        """Confirm that the address is yours, with the token that was mailed to it.

        Args:
            token: What stands behind # in the link.
        """
        return self._call(
            _VERIFY_EMAIL,
            models.MessageView,
            body={"token": token},
        )

    def resend_verification(self) -> models.MessageView:
        """Have the verification mail sent again: once a minute, five times an hour."""
        return self._call(
            _RESEND_VERIFICATION,
            models.MessageView,
        )

    def change_email(
        self, *, new_email: str, password: str, otp: str | None = None
    ) -> models.MessageView:
        """Ask for another address; it counts once the link that is mailed there was opened.

        Args:
            new_email: Such as `new@example.com`.
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return self._call(
            _CHANGE_EMAIL,
            models.MessageView,
            body={"new_email": new_email, "password": password, "otp": otp},
        )

    def confirm_change_email(self, *, token: str) -> models.MessageView:
        """Confirm the new address; the old one is told.

        Args:
            token: What stands behind # in the link.
        """
        return self._call(
            _CONFIRM_CHANGE_EMAIL,
            models.MessageView,
            body={"token": token},
        )

    def two_factor(self) -> models.TwoFactorStatusView:
        """Whether a second factor is in force."""
        return self._call(
            _TWO_FACTOR,
            models.TwoFactorStatusView,
        )

    def setup_two_factor(self, *, password: str) -> models.TwoFactorSetupView:
        """Get a secret for an authenticator app; nothing is in force before a code was confirmed.

        Args:
            password: Such as `SecurePassword123!`.
        """
        return self._call(
            _SETUP_TWO_FACTOR,
            models.TwoFactorSetupView,
            body={"password": password},
        )

    def enable_two_factor(self, *, otp: str) -> models.RecoveryCodesView:
        """Confirm a code: logins need one from now on, other sessions end.

        Recovery codes are shown..

        Args:
            otp: Such as `492039`.
        """
        return self._call(
            _ENABLE_TWO_FACTOR,
            models.RecoveryCodesView,
            body={"otp": otp},
        )

    def disable_two_factor(self, *, password: str, otp: str | None = None) -> models.MessageView:
        """Do without a second factor; recovery codes are worth nothing any more.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return self._call(
            _DISABLE_TWO_FACTOR,
            models.MessageView,
            body={"password": password, "otp": otp},
        )

    def new_recovery_codes(
        self, *, password: str, otp: str | None = None
    ) -> models.RecoveryCodesView:
        """Get ten new recovery codes; the old ones are worth nothing any more.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return self._call(
            _NEW_RECOVERY_CODES,
            models.RecoveryCodesView,
            body={"password": password, "otp": otp},
        )

    def delete_account(
        self, *, password: str, otp: str | None = None, close_positions: bool | None = None
    ) -> models.DeletionView:
        """End the account at once and delete all its data; export them before, if you want them.

        A paid plan is cancelled and its unused rest refunded. Paper trading just ends. Live
        positions refuse the deletion, unless `close_positions` has them left at the market
        first.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
            close_positions: Leave live positions at the market; without it they refuse the
                deletion.
        """
        return self._call(
            _DELETE_ACCOUNT,
            models.DeletionView,
            body={"password": password, "otp": otp, "close_positions": close_positions},
        )


class AsyncAuth(AsyncResource):
    """Auth."""

    async def register(
        self, *, email: str, password: str, full_name: str, accept_terms: bool
    ) -> models.RegisteredView:
        """Create an account with a 14-day trial and a paper account.

        Args:
            email: Such as `user@example.com`.
            password: At least 10 characters.
            full_name: Such as `John Doe`.
            accept_terms: Accept terms.
        """
        return await self._call(
            _REGISTER,
            models.RegisteredView,
            body={
                "email": email,
                "password": password,
                "full_name": full_name,
                "accept_terms": accept_terms,
            },
        )

    async def login(self, *, email: str, password: str, otp: str | None = None) -> models.LoginView:
        """Get an access token and a refresh token.

        Five failures lock the account for 15 minutes.

        Args:
            email: Such as `user@example.com`.
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return await self._call(
            _LOGIN,
            models.LoginView,
            body={"email": email, "password": password, "otp": otp},
        )

    async def refresh(self, *, refresh_token: str) -> models.RefreshedView:
        """Exchange a refresh token for new tokens.

        Using one twice ends its session.

        Args:
            refresh_token: Such as `eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...`.
        """
        return await self._call(
            _REFRESH,
            models.RefreshedView,
            body={"refresh_token": refresh_token},
        )

    async def logout(self, *, revoke_all: bool | None = None) -> models.MessageView:
        """End this session, or every session; their tokens stop working at once.

        Args:
            revoke_all: End every session of the user.
        """
        return await self._call(
            _LOGOUT,
            models.MessageView,
            body={"revoke_all": revoke_all},
        )

    async def change_password(
        self, *, current_password: str, new_password: str
    ) -> models.MessageView:
        """Change the password; every other session ends.

        Args:
            current_password: Such as `OldPassword123!`.
            new_password: Such as `NewPassword456!`.
        """
        return await self._call(
            _CHANGE_PASSWORD,
            models.MessageView,
            body={"current_password": current_password, "new_password": new_password},
        )

    async def me(self) -> models.MeView:
        """The caller's own account."""
        return await self._call(
            _ME,
            models.MeView,
        )

    async def sessions(self) -> models.SessionsView:
        """Every device that is logged in."""
        return await self._call(
            _SESSIONS,
            models.SessionsView,
        )

    async def revoke_session(self, session_id: str) -> models.MessageView:
        """Log a device out.

        Args:
            session_id: Which one: `session_id` of an earlier answer.
        """
        return await self._call(
            _REVOKE_SESSION,
            models.MessageView,
            path={"session_id": session_id},
        )

    async def reset_password(self, *, email: str) -> models.MessageView:
        """Ask for a mail with a link to choose a new password; the answer never tells who exists.

        Args:
            email: Such as `user@example.com`.
        """
        return await self._call(
            _RESET_PASSWORD,
            models.MessageView,
            body={"email": email},
        )

    async def confirm_reset_password(self, *, token: str, new_password: str) -> models.MessageView:
        """Choose a new password.

        The link works once, for an hour; every session ends.

        Args:
            token: What stands behind # in the link.
            new_password: Such as `NewPassword456!`.
        """
        return await self._call(
            _CONFIRM_RESET_PASSWORD,
            models.MessageView,
            body={"token": token, "new_password": new_password},
        )

    async def verify_email(self, *, token: str) -> models.MessageView:
        """Confirm that the address is yours, with the token that was mailed to it.

        Args:
            token: What stands behind # in the link.
        """
        return await self._call(
            _VERIFY_EMAIL,
            models.MessageView,
            body={"token": token},
        )

    async def resend_verification(self) -> models.MessageView:
        """Have the verification mail sent again: once a minute, five times an hour."""
        return await self._call(
            _RESEND_VERIFICATION,
            models.MessageView,
        )

    async def change_email(
        self, *, new_email: str, password: str, otp: str | None = None
    ) -> models.MessageView:
        """Ask for another address; it counts once the link that is mailed there was opened.

        Args:
            new_email: Such as `new@example.com`.
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return await self._call(
            _CHANGE_EMAIL,
            models.MessageView,
            body={"new_email": new_email, "password": password, "otp": otp},
        )

    async def confirm_change_email(self, *, token: str) -> models.MessageView:
        """Confirm the new address; the old one is told.

        Args:
            token: What stands behind # in the link.
        """
        return await self._call(
            _CONFIRM_CHANGE_EMAIL,
            models.MessageView,
            body={"token": token},
        )

    async def two_factor(self) -> models.TwoFactorStatusView:
        """Whether a second factor is in force."""
        return await self._call(
            _TWO_FACTOR,
            models.TwoFactorStatusView,
        )

    async def setup_two_factor(self, *, password: str) -> models.TwoFactorSetupView:
        """Get a secret for an authenticator app; nothing is in force before a code was confirmed.

        Args:
            password: Such as `SecurePassword123!`.
        """
        return await self._call(
            _SETUP_TWO_FACTOR,
            models.TwoFactorSetupView,
            body={"password": password},
        )

    async def enable_two_factor(self, *, otp: str) -> models.RecoveryCodesView:
        """Confirm a code: logins need one from now on, other sessions end.

        Recovery codes are shown..

        Args:
            otp: Such as `492039`.
        """
        return await self._call(
            _ENABLE_TWO_FACTOR,
            models.RecoveryCodesView,
            body={"otp": otp},
        )

    async def disable_two_factor(
        self, *, password: str, otp: str | None = None
    ) -> models.MessageView:
        """Do without a second factor; recovery codes are worth nothing any more.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return await self._call(
            _DISABLE_TWO_FACTOR,
            models.MessageView,
            body={"password": password, "otp": otp},
        )

    async def new_recovery_codes(
        self, *, password: str, otp: str | None = None
    ) -> models.RecoveryCodesView:
        """Get ten new recovery codes; the old ones are worth nothing any more.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
        """
        return await self._call(
            _NEW_RECOVERY_CODES,
            models.RecoveryCodesView,
            body={"password": password, "otp": otp},
        )

    async def delete_account(
        self, *, password: str, otp: str | None = None, close_positions: bool | None = None
    ) -> models.DeletionView:
        """End the account at once and delete all its data; export them before, if you want them.

        A paid plan is cancelled and its unused rest refunded. Paper trading just ends. Live
        positions refuse the deletion, unless `close_positions` has them left at the market
        first.

        Args:
            password: Such as `SecurePassword123!`.
            otp: A code of the authenticator app, or a recovery code; needed where 2FA is on.
            close_positions: Leave live positions at the market; without it they refuse the
                deletion.
        """
        return await self._call(
            _DELETE_ACCOUNT,
            models.DeletionView,
            body={"password": password, "otp": otp, "close_positions": close_positions},
        )
