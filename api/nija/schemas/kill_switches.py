"""Wire models of the kill switch calls."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field, StrictBool, StrictStr

from api.kit.wire import Request, Text, View, WallTime, parse_wire_id, wire_id
from api.nija.schemas.admin import USER
from api.nija.schemas.common import Message
from models.controls import KillScope
from services.errors import InvalidRequest
from services.trading.kill_switches import Engaged, SwitchTarget, SwitchView

SWITCH = "ksw"
_USER_ID = ["usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"]


class SwitchScope(Request):
    """Whose entries: everybody's unless told otherwise."""

    scope: KillScope = Field(default=KillScope.GLOBAL, examples=["global"])
    user_id: StrictStr | None = Field(
        default=None, max_length=100, examples=[None], description="For scope `user`."
    )
    broker: StrictStr | None = Field(
        default=None, max_length=50, examples=[None], description="For scope `broker`."
    )

    def to_target(self) -> SwitchTarget:
        """What the service is asked for.

        Raises:
            InvalidRequest: what is named does not belong to the scope.
        """
        user_id = parse_wire_id(USER, self.user_id) if self.user_id else None
        wrong: dict[str, str] = {}
        if (self.scope is KillScope.USER) != (self.user_id is not None):
            wrong["user_id"] = "Name a user with scope user, and only then"
        elif self.user_id is not None and user_id is None:
            wrong["user_id"] = "A user id looks like usr_ and 32 digits"
        if (self.scope is KillScope.BROKER) != (self.broker is not None):
            wrong["broker"] = "Name a broker with scope broker, and only then"
        if wrong:
            raise InvalidRequest(wrong)
        return SwitchTarget(self.scope, user_id, self.broker.lower() if self.broker else None)


class EngageRequest(SwitchScope):
    """Stop all entries; protective exits go on."""

    reason: Text = Field(min_length=1, examples=["Market emergency - extreme volatility"])
    close_all_positions: StrictBool = False
    notify_users: StrictBool = True


class ReleaseQuery(SwitchScope):
    """Which switch to release, and why."""

    reason: Text = Field(min_length=1, examples=["Markets are calm again"])


class EngagedView(View):
    """The switch is engaged: no entry begins after this answer.

    `sends_in_flight` counts entries that left before and whose end is not known yet.
    """

    message: Message = Field(examples=["Global kill switch activated"])
    kill_switch_id: str = Field(examples=["ksw_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    scope: KillScope
    reason: str = Field(
        examples=["Market emergency - extreme volatility"], description="Why it was engaged first."
    )
    close_all_positions: bool = Field(description="Whether the switch closes positions.")
    closing_reason: str | None = Field(
        examples=[None], description="Why a later call added that; null where none did."
    )
    affected_users: int = Field(examples=[1245])
    active_positions: int = Field(examples=[3421])
    sends_in_flight: int = Field(examples=[0])
    telling: str = Field(examples=["started"], description="started, or pending until a server is")
    timestamp: WallTime

    @classmethod
    def from_domain(cls, engaged: Engaged) -> EngagedView:
        """Render what engaging came to."""
        name = engaged.target.scope.value.capitalize()
        return cls(
            message=f"{name} kill switch {_what_came(engaged)}",
            kill_switch_id=wire_id(SWITCH, engaged.id),
            scope=engaged.target.scope,
            reason=engaged.reason,
            close_all_positions=engaged.close_positions,
            closing_reason=engaged.closing_reason,
            affected_users=engaged.affected_users,
            active_positions=engaged.active_positions,
            sends_in_flight=engaged.sends_in_flight,
            telling="started" if engaged.is_telling else "pending",
            timestamp=engaged.engaged_at,
        )


def _what_came(engaged: Engaged) -> str:
    if engaged.is_new:
        return "activated"
    if engaged.is_closing_new:
        return "is already active; it closes open positions from now on"
    return "is already active" + (" and closes open positions" * engaged.close_positions)


def _written(report: dict[str, Any] | None) -> dict[str, Any] | None:
    """A report whose time is written like every other: workflows store it as text."""
    if report is None or "reported_at" not in report:
        return report
    return report | {"reported_at": datetime.fromisoformat(report["reported_at"])}


class SwitchItem(View):
    """A switch. `report` is what the latest telling of bots and users came to."""

    kill_switch_id: str = Field(examples=["ksw_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    scope: KillScope
    user_id: str | None = Field(examples=_USER_ID)
    broker: str | None = Field(examples=["coinbase"])
    reason: str
    engaged_at: WallTime
    engaged_by: str | None = Field(examples=_USER_ID)
    close_all_positions: bool
    closing_since: WallTime | None = Field(
        description="When a later call added closing; null where none did."
    )
    closing_by: str | None = Field(examples=_USER_ID)
    closing_reason: str | None
    released_at: WallTime | None
    released_by: str | None = Field(examples=_USER_ID)
    release_reason: str | None
    is_told: bool
    affected_users: int | None
    active_positions: int | None
    report: dict[str, Any] | None

    @classmethod
    def from_domain(cls, view: SwitchView) -> SwitchItem:
        """Render a switch."""

        def person(user_id: Any) -> str | None:
            return wire_id(USER, user_id) if user_id else None

        return cls(
            kill_switch_id=wire_id(SWITCH, view.id),
            scope=view.target.scope,
            user_id=person(view.target.user_id),
            broker=view.target.broker,
            reason=view.reason,
            engaged_at=view.engaged_at,
            engaged_by=person(view.engaged_by),
            close_all_positions=view.close_positions,
            closing_since=view.closing_since,
            closing_by=person(view.closing_by),
            closing_reason=view.closing_reason,
            released_at=view.released_at,
            released_by=person(view.released_by),
            release_reason=view.release_reason,
            is_told=view.is_told,
            affected_users=view.affected_users,
            active_positions=view.active_positions,
            report=_written(view.report),
        )


class SwitchesView(View):
    """Every engaged switch, and the latest released ones; `active` is about the global one."""

    active: bool
    kill_switches: list[SwitchItem]
    released: list[SwitchItem]


class ReleasedView(View):
    """Entries pass again, unless another switch covers them."""

    message: Message = Field(examples=["Global kill switch released"])
    kill_switch: SwitchItem

    @classmethod
    def from_domain(cls, view: SwitchView) -> ReleasedView:
        """Render the released switch."""
        return cls(
            message=f"{view.target.scope.value.capitalize()} kill switch released",
            kill_switch=SwitchItem.from_domain(view),
        )
