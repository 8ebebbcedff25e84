"""Wire models of Authentication."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, StrictBool

from api.kit.wire import NewPassword, Request, SecretText, Text, View, wire_id
from api.nija.schemas.account_life import OTP, OtpText
from services.identity.views import IssuedTokens, SessionView, UserView

USER = "usr"
SESSION = "ses"
_EMAIL = ["user@example.com"]
_PASSWORD = ["SecurePassword123!"]
_JWT = ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..."]


class RegisterRequest(Request):
    """A new person."""

    email: Text = Field(examples=_EMAIL)
    password: NewPassword = Field(examples=_PASSWORD, description="At least 10 characters.")
    full_name: Text = Field(examples=["John Doe"])
    accept_terms: StrictBool = Field(examples=[True])


class LoginRequest(Request):
    """Somebody who says who they are; `otp` where two-factor authentication is on."""

    email: Text = Field(examples=_EMAIL)
    password: SecretText = Field(examples=_PASSWORD)
    otp: OtpText | None = OTP


class RefreshRequest(Request):
    """A refresh token to exchange."""

    refresh_token: SecretText = Field(examples=_JWT)


class LogoutRequest(Request):
    """Which sessions to end."""

    revoke_all: StrictBool = Field(default=False, description="End every session of the user.")


class ChangePasswordRequest(Request):
    """The old password and the new one."""

    current_password: SecretText = Field(examples=["OldPassword123!"])
    new_password: NewPassword = Field(examples=["NewPassword456!"])


class RegisteredView(View):
    """A person who was just registered."""

    user_id: str = Field(examples=["usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    email: str = Field(examples=_EMAIL)
    full_name: str = Field(examples=["John Doe"])
    subscription_tier: str = Field(examples=["free"])
    trial_active: bool
    trial_ends_at: datetime | None
    created_at: datetime

    @classmethod
    def from_domain(cls, user: UserView) -> RegisteredView:
        """Render a user."""
        return cls(
            user_id=wire_id(USER, user.id),
            email=user.email,
            full_name=user.full_name,
            subscription_tier=user.subscription_tier,
            trial_active=user.trial_active,
            trial_ends_at=user.trial_ends_at,
            created_at=user.created_at,
        )


class MeView(RegisteredView):
    """The caller."""

    email_verified: bool
    role: str = Field(examples=["user"])
    status: str = Field(examples=["active"])
    effective_plan: str = Field(
        examples=["pro"], description="The plan whose limits hold now; pro during the trial."
    )

    @classmethod
    def from_domain(cls, user: UserView) -> MeView:
        """Render the caller."""
        base = RegisteredView.from_domain(user)
        return cls(
            **base.__dict__,
            email_verified=user.email_verified_at is not None,
            role=user.role,
            status=user.status,
            effective_plan=user.plan.tier.value,
        )


class LoginUserView(View):
    """Who logged in."""

    user_id: str = Field(examples=["usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    email: str = Field(examples=_EMAIL)
    full_name: str = Field(examples=["John Doe"])
    subscription_tier: str = Field(examples=["pro"])


class RefreshedView(View):
    """New tokens. The refresh token rotates: the one that was sent is used up."""

    access_token: str = Field(examples=_JWT)
    refresh_token: str = Field(examples=_JWT)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(examples=[86400], description="Seconds.")

    @classmethod
    def from_domain(cls, tokens: IssuedTokens) -> RefreshedView:
        """Render issued tokens."""
        return cls(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            expires_in=int(tokens.expires_in.total_seconds()),
        )


class LoginView(RefreshedView):
    """Tokens, and who they are for."""

    user: LoginUserView

    @classmethod
    def from_domain(cls, tokens: IssuedTokens) -> LoginView:
        """Render issued tokens with their user."""
        user = tokens.user
        return cls(
            **RefreshedView.from_domain(tokens).__dict__,
            user=LoginUserView(
                user_id=wire_id(USER, user.id),
                email=user.email,
                full_name=user.full_name,
                subscription_tier=user.subscription_tier,
            ),
        )


class SessionItem(View):
    """A login on a device."""

    session_id: str = Field(examples=["ses_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ip_address: str | None = Field(examples=["203.0.113.7"])
    user_agent: str | None = Field(examples=["curl/8.5.0"])
    current: bool = Field(description="Whether this very call was made in that session.")

    @classmethod
    def from_domain(cls, session: SessionView) -> SessionItem:
        """Render a session."""
        return cls(
            session_id=wire_id(SESSION, session.id),
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            ip_address=session.ip_address,
            user_agent=session.user_agent,
            current=session.is_current,
        )


class SessionsView(View):
    """Every live session."""

    sessions: list[SessionItem]
