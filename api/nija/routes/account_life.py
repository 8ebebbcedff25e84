"""An account's own life: `/auth/verify-email`, `/auth/2fa`, `/auth/delete-account` and the like."""

from __future__ import annotations

from fastapi import APIRouter

from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.schemas.account_life import (
    ChangeEmailRequest,
    ConfirmResetRequest,
    DeleteAccountRequest,
    DeletionView,
    MailedTokenRequest,
    ProofRequest,
    RecoveryCodesView,
    ResetPasswordRequest,
    TwoFactorEnableRequest,
    TwoFactorSetupRequest,
    TwoFactorSetupView,
    TwoFactorStatusView,
)
from api.nija.schemas.common import MessageView
from services.errors import (
    EmailAlreadyExists,
    InvalidCredentials,
    InvalidEmail,
    RateLimited,
    TokenExpired,
    TokenInvalid,
    WeakPassword,
)
from services.identity.errors import (
    OtpAlreadyEnabled,
    OtpInvalid,
    OtpNotEnabled,
    OtpRequired,
    PositionsOpen,
)

router = APIRouter(prefix="/auth", tags=["Authentication"])

_LINK = (TokenInvalid, TokenExpired)
_PROOF = (InvalidCredentials, OtpRequired, OtpInvalid)


@router.post("/reset-password", **answers(MessageView, InvalidEmail, public=True, body=True))
async def reset_password(body: ResetPasswordRequest, services: Services) -> Answer[MessageView]:
    """Ask for a mail with a link to choose a new password; the answer never tells who exists."""
    await services.identity.password_resets.request(body.email)
    return ok(MessageView(message="Password reset email sent"))


@router.post(
    "/reset-password/confirm",
    **answers(MessageView, WeakPassword, *_LINK, public=True, body=True),
)
async def confirm_reset(body: ConfirmResetRequest, services: Services) -> Answer[MessageView]:
    """Choose a new password. The link works once, for an hour; every session ends."""
    await services.identity.password_resets.confirm(
        token=body.token, new_password=body.new_password
    )
    return ok(MessageView(message="Password changed successfully"))


@router.post("/verify-email", **answers(MessageView, *_LINK, public=True, body=True))
async def verify_email(body: MailedTokenRequest, services: Services) -> Answer[MessageView]:
    """Confirm that the address is yours, with the token that was mailed to it."""
    await services.identity.verification.confirm(body.token)
    return ok(MessageView(message="Email address verified"))


@router.post("/verify-email/resend", **answers(MessageView, RateLimited, changes=True))
async def resend_verification(caller: Caller, services: Services) -> Answer[MessageView]:
    """Have the verification mail sent again: once a minute, five times an hour."""
    sent = await services.identity.verification.resend(caller)
    message = "Verification email sent" if sent else "The email address is verified already"
    return ok(MessageView(message=message))


@router.post(
    "/change-email",
    **answers(MessageView, InvalidEmail, EmailAlreadyExists, RateLimited, *_PROOF, body=True),
)
async def change_email(
    body: ChangeEmailRequest, caller: Caller, services: Services
) -> Answer[MessageView]:
    """Ask for another address; it counts once the link that is mailed there was opened."""
    await services.identity.email_changes.request(
        caller, new_email=body.new_email, password=body.password, otp=body.otp
    )
    return ok(MessageView(message="Confirmation email sent to the new address"))


@router.post(
    "/change-email/confirm",
    **answers(MessageView, EmailAlreadyExists, *_LINK, public=True, body=True),
)
async def confirm_email_change(body: MailedTokenRequest, services: Services) -> Answer[MessageView]:
    """Confirm the new address; the old one is told."""
    await services.identity.email_changes.confirm(body.token)
    return ok(MessageView(message="Email address changed"))


@router.get("/2fa", **answers(TwoFactorStatusView))
async def two_factor_status(reader: Reader, services: Services) -> Answer[TwoFactorStatusView]:
    """Whether a second factor is in force."""
    status = await services.identity.two_factor.status(reader)
    return ok(TwoFactorStatusView.from_domain(status))


@router.post(
    "/2fa/setup",
    **answers(TwoFactorSetupView, InvalidCredentials, OtpAlreadyEnabled, body=True),
)
async def set_up_two_factor(
    body: TwoFactorSetupRequest, caller: Caller, services: Services
) -> Answer[TwoFactorSetupView]:
    """Get a secret for an authenticator app; nothing is in force before a code was confirmed."""
    setup = await services.identity.two_factor.set_up(caller, password=body.password)
    return ok(TwoFactorSetupView.from_domain(setup))


@router.post(
    "/2fa/enable",
    **answers(RecoveryCodesView, OtpInvalid, OtpAlreadyEnabled, OtpNotEnabled, body=True),
)
async def enable_two_factor(
    body: TwoFactorEnableRequest, caller: Caller, services: Services
) -> Answer[RecoveryCodesView]:
    """Confirm a code: logins need one from now on, other sessions end, recovery codes are shown."""
    codes = await services.identity.two_factor.enable(caller, otp=body.otp)
    return ok(RecoveryCodesView(message="Two-factor authentication enabled", recovery_codes=codes))


@router.post("/2fa/disable", **answers(MessageView, OtpNotEnabled, *_PROOF, body=True))
async def disable_two_factor(
    body: ProofRequest, caller: Caller, services: Services
) -> Answer[MessageView]:
    """Do without a second factor; recovery codes are worth nothing any more."""
    await services.identity.two_factor.disable(caller, password=body.password, otp=body.otp)
    return ok(MessageView(message="Two-factor authentication disabled"))


@router.post("/2fa/recovery-codes", **answers(RecoveryCodesView, OtpNotEnabled, *_PROOF, body=True))
async def replace_recovery_codes(
    body: ProofRequest, caller: Caller, services: Services
) -> Answer[RecoveryCodesView]:
    """Get ten new recovery codes; the old ones are worth nothing any more."""
    codes = await services.identity.two_factor.replace_recovery_codes(
        caller, password=body.password, otp=body.otp
    )
    return ok(RecoveryCodesView(message="Recovery codes replaced", recovery_codes=codes))


@router.post("/delete-account", **answers(DeletionView, PositionsOpen, *_PROOF, body=True))
async def delete_account(
    body: DeleteAccountRequest, caller: Caller, services: Services
) -> Answer[DeletionView]:
    """End the account at once and delete all its data; export them before, if you want them.

    A paid plan is cancelled and its unused rest refunded. Paper trading just ends. Live positions
    refuse the deletion, unless `close_positions` has them left at the market first.
    """
    requested = await services.identity.deletion.request(
        caller, password=body.password, otp=body.otp, close_positions=body.close_positions
    )
    return ok(DeletionView.from_domain(requested))
