"""Links to files that work without a login for some time: signed, bound to one file and one end."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

LINK_LIFE = timedelta(hours=1)
_PURPOSE = b"nija export link v1"


class LinkSigner:
    """Makes and checks links.

    Args:
        secret: of the installation; a key for links alone is derived from it.
        base_url: where users reach the API, without a slash at the end.
    """

    def __init__(self, secret: str, base_url: str) -> None:
        self._key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
        self._base_url = base_url

    def link(self, object_name: str, expires_at: datetime) -> str:
        """The link to a file until a time, which is cut to the second."""
        expires = int(expires_at.timestamp())
        query = urlencode({"expires": expires, "signature": self._sign(object_name, expires)})
        return f"{self._base_url}/exports/{object_name}?{query}"

    def is_valid(self, object_name: str, expires: int, signature: str, now: datetime) -> bool:
        """Whether a link is one of ours and still good."""
        signed = self._sign(object_name, expires)
        is_ours = hmac.compare_digest(signed.encode(), signature.encode())
        return is_ours and now.astimezone(UTC).timestamp() < expires

    def _sign(self, object_name: str, expires: int) -> str:
        message = f"{expires}\n{object_name}".encode()
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()
