"""Wire models of an account's own life: addresses, forgotten passwords, second factors, leaving."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictBool, StringConstraints

from api.kit.wire import NewPassword, Request, SecretText, Text, View
from services.identity.deletion import DeletionRequested
from services.identity.two_factor import TwoFactorSetup, TwoFactorStatus

_PASSWORD = ["SecurePassword123!"]
_TOKEN = ["AQprMWYyZTNk...."]

OtpText = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
"""A code of the authenticator app, or a recovery code; blanks and dashes do not matter."""

OTP = Field(
    default=None,
    examples=["492039"],
    description="A code of the authenticator app, or a recovery code; needed where 2FA is on.",
)


class ResetPasswordRequest(Request):
    """Whose password was forgotten."""

    email: Text = Field(examples=["user@example.com"])


class ConfirmResetRequest(Request):
    """The token of the mailed link, and the password to have from now on."""

    token: SecretText = Field(examples=_TOKEN, description="What stands behind # in the link.")
    new_password: NewPassword = Field(examples=["NewPassword456!"])


class MailedTokenRequest(Request):
    """The token of a mailed link."""

    token: SecretText = Field(examples=_TOKEN, description="What stands behind # in the link.")


class ChangeEmailRequest(Request):
    """The address to have instead, and a proof of who asks."""

    new_email: Text = Field(examples=["new@example.com"])
    password: SecretText = Field(examples=_PASSWORD)
    otp: OtpText | None = OTP


class TwoFactorSetupRequest(Request):
    """A proof of who asks."""

    password: SecretText = Field(examples=_PASSWORD)


class TwoFactorEnableRequest(Request):
    """A code that the authenticator app shows for the new secret."""

    otp: OtpText = Field(examples=["492039"])


class ProofRequest(Request):
    """The password, and the second factor where there is one."""

    password: SecretText = Field(examples=_PASSWORD)
    otp: OtpText | None = OTP


class DeleteAccountRequest(ProofRequest):
    """A proof of who asks, and what is to become of live positions."""

    close_positions: StrictBool = Field(
        default=False,
        description="Leave live positions at the market; without it they refuse the deletion.",
    )


class TwoFactorStatusView(View):
    """Whether a second factor is in force."""

    enabled: bool
    enabled_at: datetime | None
    recovery_codes_left: int = Field(examples=[10])

    @classmethod
    def from_domain(cls, status: TwoFactorStatus) -> TwoFactorStatusView:
        """Render a status."""
        return cls(
            enabled=status.enabled_at is not None,
            enabled_at=status.enabled_at,
            recovery_codes_left=status.recovery_codes_left,
        )


class TwoFactorSetupView(View):
    """A secret for the authenticator app. It is shown once, and in force only when confirmed."""

    secret: str = Field(examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])
    otpauth_url: str = Field(
        examples=["otpauth://totp/NIJA:user%40example.com?secret=JBSWY3DP&issuer=NIJA"],
        description="What the app reads from a QR code.",
    )

    @classmethod
    def from_domain(cls, setup: TwoFactorSetup) -> TwoFactorSetupView:
        """Render a new secret."""
        return cls(secret=setup.secret, otpauth_url=setup.otpauth_url)


class RecoveryCodesView(View):
    """Codes that stand in for the authenticator app, once each; shown once."""

    message: str = Field(examples=["Two-factor authentication enabled"])
    recovery_codes: list[str] = Field(examples=[["k3jq-7x2m-n5bc-t4wz"]])


class DeletionView(View):
    """The account has ended; its data are being deleted."""

    message: str = Field(examples=["Your account is being deleted"])
    status: str = Field(examples=["deleting"])
    closing_positions: bool = Field(description="Whether live positions are being left first.")
    requested_at: datetime

    @classmethod
    def from_domain(cls, requested: DeletionRequested) -> DeletionView:
        """Render an accepted wish."""
        return cls(
            message="Your account is being deleted",
            status="deleting",
            closing_positions=requested.is_closing,
            requested_at=requested.requested_at,
        )
