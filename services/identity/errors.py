"""Refusals of an account's own life."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import Refusal


class OtpRequired(Refusal):
    """The password is right, and a second factor is in force: send `otp` too."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "otp_required"
    usual_message = "A code of your authenticator app, or a recovery code, is required (otp)"


class OtpInvalid(Refusal):
    """The code is wrong, too old, or was used before."""

    kind = ErrorKind.UNAUTHENTICATED
    code = "otp_invalid"
    usual_message = "The code is wrong, too old, or was used before"


class OtpAlreadyEnabled(Refusal):
    """A second factor is in force; it has to be disabled before another one is set up."""

    kind = ErrorKind.CONFLICT
    code = "otp_already_enabled"
    usual_message = "Two-factor authentication is enabled already"


class OtpNotEnabled(Refusal):
    """There is no second factor to confirm or to change."""

    kind = ErrorKind.CONFLICT
    code = "otp_not_enabled"
    usual_message = "Two-factor authentication is not set up"


class EmailNotVerified(Refusal):
    """Live trading needs an address that is known to be the user's own."""

    kind = ErrorKind.FORBIDDEN
    code = "email_not_verified"
    usual_message = "Verify your email address before trading live"


class PositionsOpen(Refusal):
    """Deleting the account would leave a live run or live positions to themselves."""

    kind = ErrorKind.CONFLICT
    code = "positions_open"
    usual_message = (
        "A live run or live positions are open: close them first, or send close_positions"
    )
