"""Wire models of Configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from api.kit.wire import Amount, Money, Request, SecretText, Symbol, View, WallTime, wire_id
from domain.ports import VenueCredentials
from services.connections import ConnectionTest, ConnectionView, Removal
from services.errors import InvalidSetting
from services.user_settings import SettingsView

BROKER = "brk"
_BROKER_ID = ["brk_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"]
_PARAMS_MAX = 16


class TradingSettings(View):
    """What the bot may do."""

    risk_level: Literal["low", "medium", "high"]
    max_position_size_usd: Amount = Field(examples=[500.0])
    max_concurrent_positions: int = Field(examples=[5])
    max_daily_loss_usd: Amount = Field(examples=[200.0])
    allowed_pairs: list[str] = Field(examples=[["BTC-USD", "ETH-USD", "SOL-USD"]])
    paper_trading: bool
    strategy_may_close_signals: bool = Field(
        description="Whether the strategy's reversal exit also closes what a signal opened."
    )


class NotificationSettings(View):
    """What the user is told."""

    email_enabled: bool
    push_enabled: bool
    trade_notifications: bool
    daily_summary: bool
    weekly_report: bool


class AdvancedSettings(View):
    """Switches that need the backtest engine; off until it comes."""

    enable_meta_ai: bool
    enable_mmin: bool
    enable_gmig: bool
    execution_intelligence: bool


class SettingsData(View):
    """All settings."""

    trading: TradingSettings
    notifications: NotificationSettings
    advanced: AdvancedSettings

    @classmethod
    def from_domain(cls, view: SettingsView) -> SettingsData:
        """Render settings; the leaves have the contract's names."""

        def section(model: type[View]) -> dict[str, Any]:
            return {name: getattr(view, name) for name in model.model_fields}

        return cls(
            trading=TradingSettings(**section(TradingSettings)),
            notifications=NotificationSettings(**section(NotificationSettings)),
            advanced=AdvancedSettings(**section(AdvancedSettings)),
        )


_Pairs = Annotated[list[Symbol], Field(fail_fast=True)]
"""As many as a plan allows, which its service judges."""


class _Section(BaseModel):
    """Part of a change. Unknown names get an error of their own, so they are collected here."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)


def _optional(example: Any = None) -> Any:
    """A leaf that may be left out but not be null; what is left out stays as it is."""
    examples = None if example is None else [example]
    return Field(default=None, examples=examples, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default", None)


class TradingChange(_Section):
    """New values; what is left out stays."""

    risk_level: StrictStr = _optional("high")
    max_position_size_usd: Money = _optional(1000.0)
    max_concurrent_positions: StrictInt = _optional(8)
    max_daily_loss_usd: Money = _optional(200.0)
    allowed_pairs: _Pairs = _optional(["BTC-USD", "ETH-USD"])
    paper_trading: StrictBool = _optional(True)
    strategy_may_close_signals: StrictBool = _optional(False)


class NotificationChange(_Section):
    """New values; what is left out stays."""

    email_enabled: StrictBool = _optional(False)
    push_enabled: StrictBool = _optional(True)
    trade_notifications: StrictBool = _optional(True)
    daily_summary: StrictBool = _optional(True)
    weekly_report: StrictBool = _optional(True)


class AdvancedChange(_Section):
    """New values; what is left out stays."""

    enable_meta_ai: StrictBool = _optional(False)
    enable_mmin: StrictBool = _optional(False)
    enable_gmig: StrictBool = _optional(False)
    execution_intelligence: StrictBool = _optional(False)


class SettingsChange(_Section):
    """A partial, nested change of settings."""

    trading: TradingChange = Field(default_factory=TradingChange)
    notifications: NotificationChange = Field(default_factory=NotificationChange)
    advanced: AdvancedChange = Field(default_factory=AdvancedChange)

    def to_wishes(self) -> dict[str, Any]:
        """The leaves that were sent, by name.

        Raises:
            InvalidSetting: a name, of a section or of a leaf, that does not exist.
        """
        unknown = list(self.model_extra or {})
        wishes: dict[str, Any] = {}
        for name in ("trading", "notifications", "advanced"):
            section: _Section = getattr(self, name)
            unknown += [f"{name}.{leaf}" for leaf in section.model_extra or {}]
            leaves = type(section).model_fields
            sent = [leaf for leaf in leaves if leaf in section.model_fields_set]
            wishes |= {leaf: getattr(section, leaf) for leaf in sent}
        if unknown:
            raise InvalidSetting(
                f"Setting name not recognized: {', '.join(sorted(unknown))[:200]}",
                details={"settings": sorted(unknown)[:50]},
            )
        return wishes


class SettingsChangedData(View):
    """Which leaves have another value now."""

    message: str = Field(examples=["Settings updated successfully"])
    updated_fields: list[str] = Field(examples=[["risk_level", "max_position_size_usd"]])


class BrokerKeys(Request):
    """Keys of an account at a broker. They must be allowed to view and trade, not to withdraw."""

    api_key: SecretText = Field(examples=["your_api_key_here"])
    api_secret: SecretText = Field(examples=["your_api_secret_here"])
    additional_params: dict[StrictStr, StrictStr] = Field(
        default_factory=dict, max_length=_PARAMS_MAX, examples=[{"org_id": "org_id_here"}]
    )

    def to_domain(self) -> VenueCredentials:
        """The keys as the venues take them."""
        return VenueCredentials(self.api_key, self.api_secret, dict(self.additional_params))


class BrokerAddRequest(BrokerKeys):
    """A broker and its keys."""

    broker: StrictStr = Field(max_length=50, examples=["coinbase"])


class RemoveQuery(BaseModel):
    """How to remove a connection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    force: bool = Field(
        default=False, description="Remove at once, leaving open positions unmanaged."
    )


class BrokerItem(View):
    """A broker connection."""

    broker_id: str = Field(examples=_BROKER_ID)
    name: str = Field(examples=["coinbase"])
    display_name: str = Field(examples=["Coinbase Advanced Trade"])
    status: str = Field(examples=["connected"], description="connected, broken or exit_only")
    last_connected: WallTime | None
    api_key_masked: str = Field(examples=["sk_live_***abc123"])
    permissions: list[str] = Field(examples=[["read", "trade"]])
    created_at: WallTime
    realm: Literal["simulated", "real"]
    last_error: str | None

    @classmethod
    def from_domain(cls, view: ConnectionView) -> BrokerItem:
        """Render a connection."""
        return cls(
            broker_id=wire_id(BROKER, view.id),
            name=view.venue,
            display_name=view.display_name,
            status=view.status,
            last_connected=view.last_connected_at,
            api_key_masked=view.api_key_masked,
            permissions=view.permissions,
            created_at=view.created_at,
            realm=view.realm,
            last_error=view.last_error,
        )


class BrokersData(View):
    """Every broker connection."""

    brokers: list[BrokerItem]


class BrokerConnectedData(View):
    """A connection stands."""

    broker_id: str = Field(examples=_BROKER_ID)
    message: str = Field(examples=["Broker connected successfully"])
    status: str = Field(examples=["connected"])
    warning: str | None = Field(
        examples=["The account has no USD to trade with"],
        description="What keeps its bot from opening positions, if anything.",
    )


class BrokerRemovedData(View):
    """A connection is gone, or going."""

    message: str = Field(examples=["Broker removed successfully"])
    open_positions: int = Field(examples=[2])
    warning: str | None = Field(examples=["Close positions before removing broker"])
    status: str = Field(examples=["exit_only"])

    @classmethod
    def from_domain(cls, removal: Removal) -> BrokerRemovedData:
        """Render a removal."""
        warning = None
        if removal.open_positions:
            warning = "Close positions before removing broker"
        elif removal.status == "exit_only":
            warning = "What became of an order is not known yet; the broker goes once it is"
        return cls(
            message="Broker removed successfully",
            open_positions=removal.open_positions,
            warning=warning,
            status=removal.status,
        )


class BrokerTestData(View):
    """What a broker answered."""

    status: str = Field(examples=["connected"])
    latency_ms: int = Field(examples=[145])
    permissions: list[str] = Field(examples=[["read", "trade"]])
    account_balance: Amount | None = Field(
        examples=[10450.75], description="In USD; null while something held has no quote."
    )
    warning: str | None = Field(
        examples=["The account has no USD to trade with"],
        description="What keeps its bot from opening positions, if anything.",
    )

    @classmethod
    def from_domain(cls, test: ConnectionTest) -> BrokerTestData:
        """Render a test."""
        return cls(
            status=test.status,
            latency_ms=test.keys.latency_ms,
            permissions=test.keys.permissions.names,
            account_balance=test.keys.equity,
            warning=test.keys.warning,
        )
