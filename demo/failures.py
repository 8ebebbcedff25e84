"""What can go wrong in a demonstration."""

from __future__ import annotations


class DemoFailed(Exception):
    """The story cannot go on; the message says why, for people."""
