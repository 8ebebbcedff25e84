"""Wire models of webhook keys and of the alerts that come with them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from api.kit.wire import Request, SecretText, Text, View, WallTime, wire_id
from domain.alerts import ACTIONS, AlertOffer, AlertWish, market_symbol
from services.alerts.errors import ALERT_BYTES_MAX, AlertMalformed, AlertTooLarge
from services.alerts.intake import Receipt
from services.alerts.keys import OVERLAP_MINUTES_MAX, IssuedKey, WebhookKeyView

WEBHOOK = "whk"
SIGNAL = "sig"
TRADE = "trd"
TRADINGVIEW_PATH = "/api/v1/webhooks/tradingview"
_WEBHOOK_ID = ["whk_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"]
_REFERENCE_MAX = 128
_MILLISECONDS_FROM = 100_000_000_000  # as seconds that would be the year 5138
_MILLION = 1_000_000
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""No alert was raised before; such a time says nothing, and not that an exit is too old."""
_NUMBER_LENGTH_MAX = 64
_EXPONENT_MAX = 24
_SAID_MAX = 128
_STRANGE_NUMBER = "Input should be a number"
_STRANGE_TIME = "Input should be a time: ISO 8601, or seconds since 1970"


class _Unreadable:
    """A number with more digits than any amount has; never converted."""

    def __init__(self, text: str) -> None:
        self._text = text[:_SAID_MAX]

    def __str__(self) -> str:
        return self._text


def _number(value: object) -> object:
    """A number, also as the text that a quoted placeholder of a chart makes of it."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise ValueError(_STRANGE_NUMBER)  # noqa: TRY004 - pydantic wants ValueError
    text = str(value).strip()
    # Bounded before it is converted, and before anything compares it: an exponent is cheap to send.
    if len(text) > _NUMBER_LENGTH_MAX:
        raise ValueError(_STRANGE_NUMBER)
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(_STRANGE_NUMBER) from None
    if not number.is_finite() or (
        number and not -_EXPONENT_MAX < number.adjusted() < _EXPONENT_MAX
    ):
        raise ValueError(_STRANGE_NUMBER)
    return number


def _percent(value: object) -> object:
    """A number of percent, with or without its sign."""
    return _number(value.strip().removesuffix("%") if isinstance(value, str) else value)


def _action(value: object) -> object:
    known = value.strip().lower() if isinstance(value, str) else None
    if known not in ACTIONS:
        raise ValueError(f"Input should be one of {', '.join(ACTIONS)}")
    return known


def _symbol(value: object) -> object:
    known = market_symbol(value) if isinstance(value, str) else None
    if known is None:
        raise ValueError("Input should name a market like BTC-USD")
    return known


def _reference(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _not_blank(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("Input should be printable and not blank")
    return text


def _moment(value: object) -> object:
    """ISO 8601 (without a zone UTC), or seconds or milliseconds since 1970."""
    text = str(value).strip()
    if len(text) > _NUMBER_LENGTH_MAX or isinstance(value, _Unreadable):
        raise ValueError(_STRANGE_TIME)
    is_count = isinstance(value, int | Decimal) and not isinstance(value, bool)
    try:
        if is_count or text.isdecimal():
            count = Decimal(str(_number(value)))
            seconds = count / 1000 if count >= _MILLISECONDS_FROM else count
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                microseconds=int(seconds * _MILLION)
            )
        else:
            told = datetime.fromisoformat(text)
            moment = (told if told.tzinfo else told.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, ArithmeticError):
        raise ValueError(_STRANGE_TIME) from None
    if moment < _EARLIEST:  # an empty placeholder, or a difference
        raise ValueError(_STRANGE_TIME)
    return moment


_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
Percent = Annotated[
    Decimal,
    BeforeValidator(_percent),
    Field(gt=0, le=100, max_digits=24, allow_inf_nan=False),
    WithJsonSchema(
        {"anyOf": [{**_POSITIVE, "maximum": 100}, {"type": "string"}], "examples": [50]}
    ),
]
Number = Annotated[
    Decimal,
    BeforeValidator(_number),
    Field(gt=0, max_digits=24, allow_inf_nan=False),
    WithJsonSchema({"anyOf": [_POSITIVE, {"type": "string"}], "examples": [500.0]}),
]


class TradingViewAlert(BaseModel):
    """An alert's message. Names it does not know are ignored: charts send what users write."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    symbol: Annotated[
        str,
        BeforeValidator(_symbol),
        WithJsonSchema({"type": "string", "examples": ["BTC-USD"]}),
        Field(description="BTC-USD, BTC/USD, BTCUSD or COINBASE:BTCUSD (`{{ticker}}`)."),
    ]
    action: Annotated[
        str,
        BeforeValidator(_action),
        WithJsonSchema({"type": "string", "enum": list(ACTIONS), "examples": ["buy"]}),
    ]
    price: Number | None = Field(default=None, description="For the record; orders go by quotes.")
    strategy: Annotated[Text, AfterValidator(_not_blank)] | None = Field(
        default=None, examples=["APEX_V72"], max_length=100
    )
    size_usd: Number | None = Field(
        default=None, description="An entry of at most this, or an exit of this much, in USD."
    )
    quantity: Number | None = Field(
        default=None, description="The same in the base currency; goes before percent and size_usd."
    )
    percent: Percent | None = Field(
        default=None, description="How much of the position an exit closes; entries ignore it."
    )
    id: (
        Annotated[
            str,
            BeforeValidator(_reference),
            Field(max_length=_REFERENCE_MAX),
            AfterValidator(_not_blank),
            WithJsonSchema({"type": "string", "examples": ["breakout-2026-01-29T10:42"]}),
        ]
        | None
    ) = Field(
        default=None,
        description="The same id with the same time is the same alert; without time, for 60 s.",
    )
    time: (
        Annotated[
            datetime,
            BeforeValidator(_moment),
            WithJsonSchema({"type": "string", "format": "date-time"}),
        ]
        | None
    ) = Field(default=None, description="When it was raised (`{{timenow}}`), not the bar's time.")
    api_key: SecretText = Field(examples=["your_webhook_key"])

    def to_domain(self) -> AlertWish:
        """The alert without its key."""
        action, side = ACTIONS[self.action]
        return AlertWish(
            symbol=self.symbol,
            action=action,
            side=side,
            price=self.price,
            size_usd=self.size_usd,
            quantity=self.quantity,
            percent=self.percent,
            strategy=self.strategy,
            reference=self.id,
            alerted_at=self.time,
        )


def parse_alert(body: bytes) -> tuple[str | None, AlertOffer]:
    """Read a body, whatever its content type: the key, and what it offers.

    What an exit can do without is left out of an alert where it cannot be used, and named.

    Raises:
        AlertTooLarge: it is longer than any alert; it was not read.
        AlertMalformed: it is no JSON object, and no key can be found in it either.
    """
    if len(body) > ALERT_BYTES_MAX:
        raise AlertTooLarge
    try:
        offered = json.loads(
            body,
            strict=False,
            parse_float=_json_number,
            parse_int=_json_number,
            parse_constant=Decimal,
        )
    except (ValueError, RecursionError, ArithmeticError):
        offered = None
    if not isinstance(offered, dict):
        return _malformed(body)
    key = offered.get("api_key")
    if not isinstance(key, str):
        return None, AlertOffer()
    wish, problems = _read(offered)
    if wish is None and set(problems) <= _DISPENSABLE:
        wish, _ = _read({name: it for name, it in offered.items() if name not in problems})
        if wish is not None:
            return key, AlertOffer(wish=replace(wish, unusable=problems), said=_said(offered))
    return key, AlertOffer(wish=wish, problems=problems, said=_said(offered))


_DISPENSABLE = frozenset({"price", "size_usd", "quantity", "percent", "strategy", "id", "time"})
"""Fields without which it is still clear what is to be closed."""

_KEY = re.compile(r"nwk_[A-Za-z0-9_-]{43}")
_WORDS = ("symbol", "action", "id", *sorted(_DISPENSABLE - {"id"}))
"""Fields of which a list shows what was sent: all but the key."""

_SAID = re.compile(rf'"({"|".join(_WORDS)})"\s*:\s*"?([^",{{}}\[\]\s]{{1,128}})')


def _read(offered: Mapping[str, Any]) -> tuple[AlertWish | None, dict[str, str]]:
    """The alert, or what is wrong with it: only our own words, what was sent may be a secret."""
    try:
        return TradingViewAlert.model_validate(offered).to_domain(), {}
    except ValidationError as failure:
        return None, {
            ".".join(map(str, error["loc"][:1])): error["msg"].removeprefix("Value error, ")
            for error in failure.errors(include_input=False, include_url=False)
        }


def _malformed(body: bytes) -> tuple[str, AlertOffer]:
    """A body that cannot be read, if it names one key: its owner shall see that it came."""
    text = body.decode(errors="replace")
    keys = set(_KEY.findall(text))
    if len(keys) != 1:
        raise AlertMalformed
    said = _said(dict(_SAID.findall(text)))
    problems = {"body": "The body must be a JSON object"}
    return keys.pop(), AlertOffer(problems=problems, said=said, is_malformed=True)


def _said(offered: Mapping[str, Any]) -> dict[str, str]:
    """The fields as they were sent, cut and without anything that looks like a key."""
    found: dict[str, str] = {}
    for name in _WORDS:
        if name not in offered:
            continue
        text = "".join(it for it in _word(offered[name])[:_SAID_MAX] if it.isprintable()).strip()
        if text or name in _DISPENSABLE:
            found[name] = re.sub(r"nwk_[A-Za-z0-9_-]*", "nwk_***", text)
    return found


def _word(value: object) -> str:
    """A value as it stood in the message; of lists and objects only that they were one."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    return str(value)


def _json_number(text: str) -> object:
    if len(text) > _NUMBER_LENGTH_MAX:
        return _Unreadable(text)
    try:
        return int(text) if text.lstrip("-").isdecimal() else Decimal(text)
    except ArithmeticError:
        return _Unreadable(text)


class AlertReceivedData(View):
    """The alert is stored; `trade_id` is the trade it opens, or the one it closes."""

    received: Literal[True] = True
    trade_id: str | None = Field(
        examples=["trd_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"],
        description="Null where it closes and nothing of the kind is held.",
    )
    status: Literal["processing", "duplicate"] = Field(
        default="processing",
        description="processing: taken in, whatever was decided; the outcome is in the list.",
    )
    signal_id: str = Field(examples=["sig_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])

    @classmethod
    def from_domain(cls, receipt: Receipt) -> AlertReceivedData:
        """Render a receipt."""
        return cls(
            trade_id=None if receipt.trade_id is None else wire_id(TRADE, receipt.trade_id),
            status="duplicate" if receipt.is_duplicate else "processing",
            signal_id=wire_id(SIGNAL, receipt.alert_id),
        )


class WebhookKeyItem(View):
    """A key; its secret is not shown again."""

    webhook_id: str = Field(examples=_WEBHOOK_ID)
    provider: Literal["tradingview"] = "tradingview"
    url: str = Field(default=TRADINGVIEW_PATH, examples=[TRADINGVIEW_PATH])
    key_masked: str = Field(examples=["nwk_***x7Qa"])
    created_at: WallTime
    last_used_at: WallTime | None
    expires_at: datetime | None = Field(description="When a replaced key ends.")

    @classmethod
    def from_domain(cls, view: WebhookKeyView) -> WebhookKeyItem:
        """Render a key."""
        return cls(
            webhook_id=wire_id(WEBHOOK, view.id),
            key_masked=f"nwk_***{view.hint}",
            created_at=view.created_at,
            last_used_at=view.last_used_at,
            expires_at=view.ends_at,
        )


class WebhookKeysData(View):
    """The keys that are good at present."""

    webhooks: list[WebhookKeyItem]


class WebhookKeyRequest(Request):
    """How to replace a key."""

    overlap_minutes: int = Field(
        default=0,
        ge=0,
        le=OVERLAP_MINUTES_MAX,
        strict=True,
        examples=[10],
        description="How long the replaced key stays good.",
    )

    @property
    def overlap(self) -> timedelta:
        """The same as a length of time."""
        return timedelta(minutes=self.overlap_minutes)


class WebhookKeyIssuedData(View):
    """A new key; `webhook_key` is shown this once and goes into the alert's `api_key`."""

    webhook_id: str = Field(examples=_WEBHOOK_ID)
    webhook_key: str = Field(examples=["nwk_shown_once"])
    url: str = Field(default=TRADINGVIEW_PATH, examples=[TRADINGVIEW_PATH])
    message: str = "Webhook key created. It is shown only once"

    @classmethod
    def from_domain(cls, issued: IssuedKey) -> WebhookKeyIssuedData:
        """Render a new key."""
        return cls(webhook_id=wire_id(WEBHOOK, issued.id), webhook_key=issued.secret)


def body_documentation() -> dict[str, Any]:
    """The OpenAPI part of a body that is JSON under either content type."""
    schema = TradingViewAlert.model_json_schema(ref_template="#/components/schemas/{model}")
    return {
        "requestBody": {
            "required": True,
            "description": "The alert's message as JSON, also when it comes as text/plain.",
            "content": {"application/json": {"schema": schema}, "text/plain": {"schema": schema}},
        }
    }
