"""What can go wrong here in a way that a person can mend."""

from __future__ import annotations


class EmbeddedError(Exception):
    """A sentence for the person at the terminal: what is wrong and which setting mends it."""
