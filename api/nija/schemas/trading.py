"""Wire models of Trading Control."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictStr

from api.kit.wire import (
    BaseQuantity,
    Quantity,
    Request,
    Symbol,
    Text,
    VenueTime,
    View,
    WallTime,
    WholeOrPart,
    wire_id,
)
from api.nija.schemas.account import POSITION
from services.bot_views import DECISIONS_MAX, DecisionView, KillSwitchView, StatusView
from services.trading.commands import (
    BotStatusChange,
    CloseResult,
    EmergencyResult,
    StartResult,
    StopResult,
)

RUN = "run"
DECISION = "dec"


class StartRequest(Request):
    """How to run; what is left out comes from the settings."""

    broker: StrictStr | None = Field(default=None, max_length=50, examples=["coinbase"])
    paper_trading: StrictBool | None = Field(default=None, examples=[True])
    risk_profile: StrictStr | None = Field(
        default=None, max_length=50, examples=["medium"], description="low, medium or high"
    )


class StopRequest(Request):
    """How to stop."""

    close_positions: StrictBool = Field(
        default=False, description="Close positions now instead of leaving them to their exits."
    )
    emergency: StrictBool = Field(default=False, description="Do what emergency-stop does.")


class EmergencyStopRequest(Request):
    """Why, and whether to leave the market."""

    reason: Text = Field(
        default="Emergency stop requested", min_length=1, examples=["Market volatility"]
    )
    close_positions: StrictBool = Field(default=False)


class ReleaseRequest(Request):
    """Why trading may go on."""

    reason: Text = Field(default="Released by the user", min_length=1)


class DecisionsQuery(Request):
    """Which decisions."""

    symbol: Symbol | None = Field(default=None, description="Every decision on one pair.")
    limit: int = Field(default=50, ge=1, le=DECISIONS_MAX)


class StartView(View):
    """The bot is about to run."""

    status: str = Field(examples=["starting"])
    message: str = Field(examples=["Trading bot is starting"])
    estimated_ready_in_seconds: int = Field(examples=[10])

    @classmethod
    def from_domain(cls, result: StartResult) -> StartView:
        """Render a start."""
        return cls(
            status=result.status,
            message=result.message,
            estimated_ready_in_seconds=result.estimated_ready_seconds,
        )


class StopView(View):
    """Entries have ended."""

    status: str = Field(examples=["stopped"])
    message: str = Field(examples=["Trading bot stopped"])
    open_positions: int = Field(examples=[3])
    action_required: str | None = Field(
        examples=["Manual position closure recommended; stops and targets stay in force until then"]
    )

    @classmethod
    def from_domain(cls, result: StopResult) -> StopView:
        """Render a stop."""
        return cls(
            status=result.status,
            message=result.message,
            open_positions=result.open_positions,
            action_required=result.action_required,
        )


class EmergencyView(View):
    """Entries are blocked until released."""

    status: str = Field(examples=["emergency_stopped"])
    positions_closed: int = Field(examples=[3], description="Confirmed flat within 5 seconds.")
    positions_closing: int = Field(examples=[0], description="Still being closed.")
    message: str = Field(examples=["Emergency stop activated"])

    @classmethod
    def from_domain(cls, result: EmergencyResult) -> EmergencyView:
        """Render an emergency stop."""
        return cls(
            status=result.status,
            positions_closed=result.positions_closed,
            positions_closing=result.positions_closing,
            message=result.message,
        )


class BotChangeView(View):
    """The bot's new state."""

    status: str = Field(examples=["paused"])
    message: str

    @classmethod
    def from_domain(cls, change: BotStatusChange) -> BotChangeView:
        """Render a change of state."""
        return cls(status=change.status, message=change.message)


class KillSwitchItem(View):
    """What blocks entries."""

    scope: str = Field(examples=["user"])
    reason: str
    since: WallTime

    @classmethod
    def from_domain(cls, switch: KillSwitchView) -> KillSwitchItem:
        """Render a kill switch."""
        return cls(scope=switch.scope, reason=switch.reason, since=switch.since)


class TradingStatusView(View):
    """Where the bot stands. Scan times are the venue's clock, `uptime_seconds` is the wall's."""

    status: str = Field(examples=["running"])
    uptime_seconds: int = Field(examples=[3600])
    broker: str | None = Field(examples=["coinbase"])
    paper_trading: bool
    last_scan: VenueTime | None
    next_scan: VenueTime | None
    active_positions: int = Field(examples=[3])
    today_trades: int = Field(examples=[8], description="Entries since the venue's UTC midnight.")
    last_error: str | None
    mode: Literal["paper", "live"] | None
    realm: Literal["simulated", "real"] = Field(
        description="Whether venues are the real ones or the simulator."
    )
    risk_level: str = Field(examples=["medium"])
    exiting_positions: int = Field(
        description="Positions of earlier runs on other accounts that are still being exited."
    )
    run_id: str | None
    run_state: str | None = Field(examples=["entering"])
    started_at: WallTime | None
    strategy: str | None = Field(examples=["APEX_V72"])
    config_hash: str | None
    code_version: str | None
    venue_time: VenueTime | None
    kill_switch: KillSwitchItem | None

    @classmethod
    def from_domain(cls, view: StatusView) -> TradingStatusView:
        """Render a status."""
        switch = view.kill_switch
        return cls(
            status=view.status,
            uptime_seconds=view.uptime_seconds,
            broker=view.broker,
            paper_trading=view.paper_trading,
            last_scan=view.last_scan,
            next_scan=view.next_scan,
            active_positions=view.active_positions,
            today_trades=view.today_trades,
            last_error=view.last_error,
            mode=view.mode,
            realm=view.realm,
            risk_level=view.risk_level,
            exiting_positions=view.other_positions,
            run_id=None if view.run_id is None else wire_id(RUN, view.run_id),
            run_state=view.run_state,
            started_at=view.started_at,
            strategy=view.strategy,
            config_hash=view.config_hash,
            code_version=view.code_version,
            venue_time=view.venue_time,
            kill_switch=None if switch is None else KillSwitchItem.from_domain(switch),
        )


class DecisionItem(View):
    """What the bot did about a bar or a signal, and why."""

    decision_id: str
    symbol: str = Field(examples=["BTC-USD"])
    cause: str
    bar_at: VenueTime | None
    decided_at: VenueTime
    action: str = Field(examples=["none"])
    score: int | None
    reason: str
    gates: list[dict[str, Any]] = Field(description="Every check of the entry, in order.")
    position_id: str | None
    unfilled_reason: str | None = Field(
        description="Why an entry bought nothing.", examples=["no_liquidity_within_slippage_cap"]
    )
    filter: dict[str, Any] | None = Field(description="Conditions of the filter, by side.")
    evaluation: dict[str, Any] | None = Field(description="The strategy's full record of the bar.")

    @classmethod
    def from_domain(cls, view: DecisionView) -> DecisionItem:
        """Render a decision with the evaluation it rests on."""
        record = view.evaluation
        return cls(
            decision_id=wire_id(DECISION, view.id),
            symbol=view.symbol,
            cause=view.cause,
            bar_at=view.bar_at,
            decided_at=view.decided_at,
            action=view.action,
            score=view.score if view.score is not None or not record else record.get("score"),
            reason=view.reason,
            gates=view.gates,
            position_id=None if view.position_id is None else wire_id(POSITION, view.position_id),
            unfilled_reason=view.unfilled_reason,
            filter=record
            and {"long": record.get("long_filter"), "short": record.get("short_filter")},
            evaluation=record,
        )


class DecisionsView(View):
    """Decisions, newest first."""

    decisions: list[DecisionItem]


class CloseRequest(Request):
    """How much leaves; nothing said is all of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"percent": 50}]})

    percent: WholeOrPart | None = Field(
        default=None, description="Of what was not asked to leave before; the rest keeps its stop."
    )
    quantity: BaseQuantity | None = Field(
        default=None,
        description="The same in the base currency; more than is held closes all of it.",
    )


class ClosePositionView(View):
    """A position, or a part of it, is being left at the market."""

    position_id: str
    status: str = Field(
        examples=["closing"], description="closing, of a part reducing; written_off"
    )
    message: str
    quantity: Quantity | None = Field(
        examples=[0.01157],
        description="What is to leave by this call; null where it was written off.",
    )

    @classmethod
    def from_domain(cls, result: CloseResult) -> ClosePositionView:
        """Render a close."""
        return cls(
            position_id=wire_id(POSITION, result.position_id),
            status=result.status,
            message=result.message,
            quantity=result.quantity,
        )
