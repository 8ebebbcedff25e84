"""Refusals about notifications."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import InvalidRequest, Refusal


class InvalidChannel(InvalidRequest):
    """The address of a channel cannot be used."""

    def __init__(self, why: str) -> None:
        super().__init__({"url": why}, "The channel's address cannot be used")


class TooManyChannels(Refusal):
    """A user has as many channels as anybody may have."""

    kind = ErrorKind.LIMIT_REACHED
    code = "too_many_channels"
    usual_message = "There are as many notification channels as anybody may have"


class ChannelNameTaken(Refusal):
    """Another channel of the user has that name."""

    kind = ErrorKind.CONFLICT
    code = "channel_name_taken"
    usual_message = "Another channel has this name"
