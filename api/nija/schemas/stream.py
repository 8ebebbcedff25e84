"""What clients of `/ws/v1` may say."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StringConstraints, TypeAdapter, model_validator

from api.kit.wire import Request, SecretText
from models.events import Channel

_SEQ_MAX = 2**63 - 1


class AuthMessage(Request):
    """The first message; again later with a fresh token."""

    type: Literal["auth"]
    token: SecretText = Field(description="`Bearer <access_token>`; the first word may be missing.")


class _ChannelMessage(Request):
    channel: Channel | None = None
    channels: list[Channel] | None = Field(default=None, min_length=1, max_length=len(Channel))

    @model_validator(mode="after")
    def _name_one_or_several(self) -> _ChannelMessage:
        if (self.channel is None) == (self.channels is None):
            raise ValueError("Name either channel or channels")
        return self

    @property
    def asked(self) -> tuple[Channel, ...]:
        """The channels, each once."""
        return tuple(dict.fromkeys([self.channel] if self.channel else self.channels or ()))


class SubscribeMessage(_ChannelMessage):
    """Listen to channels."""

    type: Literal["subscribe"]
    resume_from: Annotated[StrictInt, Field(ge=0, le=_SEQ_MAX)] | None = Field(
        default=None, description="The last `seq` the client has; what came after it is repeated."
    )


class UnsubscribeMessage(_ChannelMessage):
    """Listen to channels no more."""

    type: Literal["unsubscribe"]


class PingMessage(Request):
    """Ask whether the server lives; `id` comes back."""

    type: Literal["ping"]
    id: Annotated[str, StringConstraints(strict=True, max_length=64)] | None = None


ClientMessage = AuthMessage | SubscribeMessage | UnsubscribeMessage | PingMessage

MESSAGES: TypeAdapter[ClientMessage] = TypeAdapter(
    Annotated[ClientMessage, Field(discriminator="type")]
)
