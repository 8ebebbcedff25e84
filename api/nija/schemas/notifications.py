"""Wire models of notifications."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from api.kit.wire import Request, SecretText, Text, View, WallTime, wire_id
from api.nija.schemas.account import POSITION
from api.nija.schemas.common import Pagination
from services.notifying.channels import ChannelView, TestResult
from services.notifying.preferences import PreferencesView
from services.notifying.views import DeliveryView, NotificationPage, NotificationView

CHANNEL = "chn"
NOTICE = "ntc"
PER_PAGE_MAX = 100

CategoryName = Literal["trades", "alerts", "billing", "reports"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
ClockTime = Annotated[
    str, StringConstraints(strict=True, pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
]
_CHANNEL_ID = ["chn_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"]
_URLS = ["ntfys://ntfy.sh/my-topic"]
_ALL: list[CategoryName] = ["trades", "alerts", "billing", "reports"]
_Categories = Annotated[list[CategoryName], Field(min_length=1, max_length=len(_ALL))]


def _optional(**parts: Any) -> Any:
    """A field that may be left out but not be null; what is left out stays as it is."""
    return Field(default=None, json_schema_extra=_without_default, **parts)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class ChannelRequest(Request):
    """A channel: an address as Apprise writes them, and the kinds of news that it gets."""

    name: Text = Field(examples=["Phone"])
    url: SecretText = Field(
        examples=_URLS,
        description=(
            "mailto(s)://, json(s)://, xml(s)://, form(s)://, ntfy(s)://, gotify(s)://, mmost(s)://,"
            " rocket(s)://, discord://, slack://, tgram://, gchat://, webex://, workflows://,"
            " zulip://, pover://, pbul://, prowl://, join://, pagerduty://, opsgenie://, twilio://;"
            " stored encrypted and never shown again."
        ),
    )
    categories: _Categories | None = Field(
        default=None, examples=[_ALL], description="All where left out."
    )


class ChannelPatch(Request):
    """New values; what is left out stays."""

    name: Text = _optional(examples=["Phone"])
    url: SecretText = _optional(examples=_URLS)
    categories: _Categories = _optional(examples=[["trades", "alerts"]])
    enabled: StrictBool = _optional(examples=[True])

    def to_changes(self) -> dict[str, Any]:
        """What was sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class PreferencesPatch(Request):
    """New values; what is left out stays."""

    timezone: Text = _optional(examples=["Europe/Berlin"])
    report_time: ClockTime = _optional(examples=["08:00"])
    weekly_day: Weekday = _optional(examples=["monday"])

    def to_changes(self) -> dict[str, Any]:
        """What was sent."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}


class ChannelItem(View):
    """A channel; its address is shown masked only."""

    channel_id: str = Field(examples=_CHANNEL_ID)
    name: str = Field(examples=["Phone"])
    service: str = Field(examples=["ntfy"])
    address_masked: str = Field(examples=["ntfys://ntfy.sh/***"])
    categories: list[str] = Field(examples=[_ALL])
    enabled: bool
    last_sent_at: WallTime | None
    last_error: str | None = Field(description="Of the latest attempt, if that failed.")
    last_error_at: WallTime | None
    created_at: WallTime

    @classmethod
    def from_domain(cls, view: ChannelView) -> ChannelItem:
        """Render a channel."""
        shown = {name: getattr(view, name) for name in cls.model_fields if name != "channel_id"}
        return cls(channel_id=wire_id(CHANNEL, view.id), **shown)


class NotificationPreferencesData(View):
    """When reports come, and where mails go."""

    timezone: str = Field(examples=["Europe/Berlin"])
    report_time: str = Field(examples=["08:00"])
    weekly_day: str = Field(examples=["monday"])
    mail_address: str = Field(examples=["user@example.com"])
    mail_available: bool = Field(description="Whether this installation sends mails.")

    @classmethod
    def from_domain(cls, view: PreferencesView) -> NotificationPreferencesData:
        """Render preferences."""
        return cls(**{name: getattr(view, name) for name in cls.model_fields})


class NotificationsConfigData(View):
    """Preferences and channels."""

    preferences: NotificationPreferencesData
    channels: list[ChannelItem]


class ChannelTestData(View):
    """What became of a test notification, which is sent once."""

    status: Literal["sent", "failed"]
    error: str | None = Field(examples=["The mail server cannot be reached"])

    @classmethod
    def from_domain(cls, result: TestResult) -> ChannelTestData:
        """Render a result."""
        return cls(status="sent" if result.sent else "failed", error=result.error)


class NotificationsQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    page: int = Field(default=1, ge=1, le=10_000)
    per_page: int = Field(default=50, ge=1, le=PER_PAGE_MAX)


class DeliveryItem(View):
    """A notification at one channel; `mail` is the user's own address."""

    channel: str = Field(examples=["mail"])
    status: str = Field(examples=["sent"], description="pending, sending, sent, failed or skipped")
    attempts: int = Field(examples=[1])
    error: str | None
    finished_at: WallTime | None

    @classmethod
    def from_domain(cls, view: DeliveryView) -> DeliveryItem:
        """Render a delivery."""
        return cls(**{name: getattr(view, name) for name in cls.model_fields})


class NotificationFigure(View):
    """A value that a notification shows."""

    name: str = Field(examples=["Still open"])
    value: str = Field(examples=["1.5"], description="As a mail shows it.")


class NotificationItem(View):
    """Something the user was told, or is to be."""

    notification_id: str = Field(examples=["ntc_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    kind: str = Field(examples=["stop_hit"])
    category: str = Field(examples=["trades"])
    title: str = Field(examples=["Stop hit: BTC-USD, net -$12.40"])
    text: str = Field(
        examples=["Closed by stop loss."], description="Its sentences, as a mail says them."
    )
    figures: list[NotificationFigure]
    position_id: str | None = Field(description="The position that it is about.")
    status: str = Field(
        examples=["sent"], description="new, on_its_way, sent, failed, nowhere or stale"
    )
    created_at: WallTime
    delivered_at: WallTime | None
    deliveries: list[DeliveryItem]

    @classmethod
    def from_domain(cls, view: NotificationView) -> NotificationItem:
        """Render a notice."""
        return cls(
            notification_id=wire_id(NOTICE, view.id),
            kind=view.kind,
            category=view.category,
            title=view.title,
            text=view.text,
            figures=[NotificationFigure(name=name, value=value) for name, value in view.figures],
            position_id=wire_id(POSITION, view.position_id) if view.position_id else None,
            status=view.status,
            created_at=view.created_at,
            delivered_at=view.delivered_at,
            deliveries=[DeliveryItem.from_domain(one) for one in view.deliveries],
        )


class NotificationsData(View):
    """A page of what the user was told, newest first."""

    notifications: list[NotificationItem]
    pagination: Pagination

    @classmethod
    def from_domain(cls, found: NotificationPage, *, page: int, per_page: int) -> NotificationsData:
        """Render a page."""
        return cls(
            notifications=[NotificationItem.from_domain(one) for one in found.notifications],
            pagination=Pagination.of(page=page, per_page=per_page, total_items=found.total),
        )
