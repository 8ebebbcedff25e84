"""What we use of Apprise, imported without the warnings of what it imports in turn."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # Its support of PGP, which we do not use, looks for a module that Python has deprecated.
    warnings.filterwarnings("ignore", message="'imghdr' is deprecated", category=DeprecationWarning)
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType
    from apprise.exception import AppriseException
    from apprise.plugins.email import NotifyEmail
    from apprise.plugins.email.smtp import AppriseSMTPController

__all__ = [
    "Apprise",
    "AppriseAsset",
    "AppriseException",
    "AppriseSMTPController",
    "NotifyEmail",
    "NotifyFormat",
    "NotifyType",
]
