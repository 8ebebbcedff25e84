"""The commands of trading as the dialects call them; `services.trading` implements them."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol
from uuid import UUID

from domain.principal import Principal
from services.trading.commands import (
    BotStatusChange,
    CloseResult,
    EmergencyResult,
    StartResult,
    StopResult,
)


class TradingCommands(Protocol):
    """Every command commits to PostgreSQL before it informs a workflow.

    Raises:
        DomainError: the refusals of `services.errors`.
    """

    async def start(
        self,
        principal: Principal,
        *,
        broker: str | None,
        paper_trading: bool | None,
        risk_profile: str | None,
    ) -> StartResult:
        """Begin a new run; what is left out comes from the settings."""
        ...

    async def stop(
        self, principal: Principal, *, close_positions: bool, emergency: bool
    ) -> StopResult:
        """End entries; exits go on unless positions are closed at once."""
        ...

    async def emergency_stop(
        self, principal: Principal, *, reason: str, close_positions: bool
    ) -> EmergencyResult:
        """Block entries until released."""
        ...

    async def release(self, principal: Principal, *, reason: str) -> BotStatusChange:
        """Lift the user's own emergency stop."""
        ...

    async def pause(self, principal: Principal) -> BotStatusChange:
        """Stop entries for a while."""
        ...

    async def resume(self, principal: Principal) -> BotStatusChange:
        """Let a paused run enter again."""
        ...

    async def close_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        percent: Decimal | None,
        quantity: Decimal | None,
        command_id: UUID,
    ) -> CloseResult:
        """Leave one position at the market, or a part of it; once for each command."""
        ...

    async def write_off_position(self, principal: Principal, position_id: UUID) -> CloseResult:
        """Close in the books what cannot be sold."""
        ...

    async def modify_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        stop_loss: Decimal | None,
        take_profit: Decimal | None,
    ) -> None:
        """Replace the stop, the remaining targets, or both."""
        ...
