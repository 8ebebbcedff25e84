"""What the Python SDK says and understands over the WebSocket, without one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from nija_sdk import AuthenticationError, PaymentRequiredError, UnexpectedResponseError
from nija_sdk._stream import Received, Stream, SubscriptionRefused


def said(received: Received) -> list[Any]:
    return [json.loads(reply) for reply in received.replies]


def tell(stream: Stream, **message: Any) -> Received:
    return stream.receive(json.dumps(message))


def entered(stream: Stream) -> Received:
    """A connection of the stream, let in."""
    assert json.loads(stream.authentication("t")) == {"type": "auth", "token": "Bearer t"}
    return tell(stream, type="auth_success", user_id="u", subscriptions=[], latest_seq=9)


def listening(*channels: str, since: int = 5) -> Stream:
    stream = Stream()
    stream.want(*channels)
    entered(stream)
    tell(stream, type="subscribed", channels=channels, seq=since, resumed=False)
    return stream


def event(stream: Stream, seq: int | None, channel: str = "bot") -> list[int | None]:
    message: dict[str, Any] = {"type": "bot_update", "channel": channel, "data": {}, "seq": seq}
    return [it.seq for it in tell(stream, **message).events]


def test_the_first_subscription_starts_where_the_server_is() -> None:
    stream = Stream()
    stream.want("positions", "bot")
    assert said(entered(stream)) == [{"type": "subscribe", "channels": ["positions", "bot"]}]
    assert not stream.is_ready

    tell(stream, type="subscribed", channels=["positions", "bot"], seq=5, resumed=False)

    assert stream.is_ready
    assert stream.position == 5


def test_events_come_once_and_values_always() -> None:
    stream = listening("bot")

    came = [event(stream, seq) for seq in (5, 6, 8, 8, 7, None, None, 9)]

    assert came == [[], [6], [8], [], [], [None], [None], [9]]


def test_another_connection_resumes_all_channels_at_once() -> None:
    stream = listening("bot", "trades")
    event(stream, 7)

    assert said(entered(stream)) == [
        {"type": "subscribe", "channels": ["bot", "trades"], "resume_from": 7}
    ]


def test_what_others_are_told_is_not_missed() -> None:
    stream = listening("bot", since=5)
    tell(stream, type="pong", latest_seq=3_000)
    tell(stream, type="pong", latest_seq=2_000)
    assert stream.position == 3_000

    entered(stream)  # not resumed yet: what came meanwhile is still to come
    tell(stream, type="pong", latest_seq=4_000)
    assert stream.position == 3_000


def test_a_channel_added_later_changes_nothing_for_the_others() -> None:
    stream = listening("bot")
    event(stream, 7)

    messages = [json.loads(message) for message in stream.want("bot", "account", "account")]
    tell(stream, type="subscribed", channels=["account"], seq=8, resumed=False)

    assert messages == [{"type": "subscribe", "channels": ["account"]}]
    assert stream.position == 7
    with pytest.raises(ValueError, match="prices: the channels are positions"):
        stream.want("prices")


def test_what_is_gone_for_good_is_told() -> None:
    stream = listening("bot", since=5)
    entered(stream)

    received = tell(stream, type="error", code="RESUME_NOT_POSSIBLE", message="gone")

    assert [(it.type, it.data["since"]) for it in received.events] == [("gap", 5)]
    assert said(received) == [{"type": "subscribe", "channels": ["bot"]}]
    tell(stream, type="subscribed", channels=["bot"], seq=2_000, resumed=False)
    assert stream.position == 2_000


def test_a_subscription_that_is_refused_is_no_reason_to_wait() -> None:
    stream = Stream()
    stream.want("bot")
    entered(stream)
    with pytest.raises(SubscriptionRefused, match="DATABASE_ERROR: down"):
        tell(stream, type="error", code="DATABASE_ERROR", message="down")


def test_a_close_for_good_is_an_error_with_the_server_s_words() -> None:
    stream = Stream()
    stream.authentication("t")
    tell(stream, type="error", code="SUBSCRIPTION_REQUIRED", message="Needs basic")

    failure = stream.failure(4402, "")

    assert isinstance(failure, PaymentRequiredError)
    assert str(failure) == "402 SUBSCRIPTION_REQUIRED: Needs basic"
    assert [stream.failure(code, "") for code in (1006, 1012, 4408, 4410, 4429)] == [None] * 5


def test_a_token_is_refused_only_where_the_server_says_so() -> None:
    late, refused = Stream(), Stream()
    late.authentication("t")
    refused.authentication("t")
    tell(refused, type="error", code="TOKEN_INVALID", message="No such session")

    # The network was slow: nobody has looked at the token.
    assert not late.is_token_refused(4401)
    assert late.failure(4401, "No token came in time") is None
    assert refused.is_token_refused(4401)
    assert isinstance(refused.failure(4401, ""), AuthenticationError)


def test_amounts_are_exact_and_nonsense_is_refused() -> None:
    stream = listening("account")
    text = '{"type":"account_update","channel":"account","data":{"cash":10000.10}}'
    assert stream.receive(text).events[0].data["cash"] == Decimal("10000.10")
    assert stream.receive('{"type":"pong","timestamp":"t"}') == Received()
    for wrong in ("", "[]", '{"no":"type"}', "1"):
        with pytest.raises(UnexpectedResponseError):
            stream.receive(wrong)
