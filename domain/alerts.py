"""Alerts from outside: what they say, where they stand, and the port to their workflows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from domain.contracts.bots import SignalAction
from domain.positions import Direction


class AlertState(StrEnum):
    """Where an alert stands.

    `processing`: stored, nobody decided yet. `accepted`: the bot decided to trade. `executed`,
    `unfilled`: what came of that. `refused`, `expired`: the bot did not trade. `duplicate`,
    `stale`: never handed to the bot.
    """

    PROCESSING = "processing"
    ACCEPTED = "accepted"
    EXECUTED = "executed"
    UNFILLED = "unfilled"
    REFUSED = "refused"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    STALE = "stale"

    @property
    def is_open(self) -> bool:
        """Whether somebody must still look after it."""
        return self in OPEN_STATES


OPEN_STATES = (AlertState.PROCESSING, AlertState.ACCEPTED)

EXPIRED = "expired"
"""The reason of a decision on a signal that came too late to be acted on."""

NOT_RUNNING = "not_running"


@dataclass(frozen=True, slots=True)
class AlertWish:
    """A well-formed alert; amounts in quote currency, quantity in base currency.

    Attributes:
        reference: the sender's own id of the alert, if it gave one.
        alerted_at: when the sender says that it was raised.
    """

    symbol: str
    action: SignalAction
    price: Decimal | None = None
    size_usd: Decimal | None = None
    quantity: Decimal | None = None
    strategy: str | None = None
    reference: str | None = None
    alerted_at: datetime | None = None

    @property
    def leaves(self) -> Direction | None:
        """The side it takes back where one is held; None closes either."""
        if self.action is SignalAction.CLOSE:
            return None
        return Direction.LONG if self.action is SignalAction.SELL else Direction.SHORT


ACTIONS = {
    "buy": SignalAction.BUY,
    "long": SignalAction.BUY,
    "sell": SignalAction.SELL,
    "short": SignalAction.SELL,
    "close": SignalAction.CLOSE,
    "exit": SignalAction.CLOSE,
}
"""The words for an action."""

_QUOTES = ("USDT", "USDC", "USD", "EUR", "GBP")
_PAIR = re.compile(r"([A-Z0-9]{1,20})-([A-Z0-9]{2,10})")
_TICKER = re.compile(rf"([A-Z0-9]{{1,20}}?)({'|'.join(_QUOTES)})")


def market_symbol(text: str) -> str | None:
    """The market that a charting platform's ticker means; None where it names none.

    `BTC-USD`, `BTC/USD`, `BTCUSD` and `COINBASE:BTCUSD` are the same market.
    """
    ticker = text.strip().upper().rpartition(":")[2].replace("/", "-")
    found = _PAIR.fullmatch(ticker) or _TICKER.fullmatch(ticker)
    return f"{found[1]}-{found[2]}" if found else None


@dataclass(frozen=True, slots=True)
class TakenAlert:
    """A stored alert that is to be decided; `bot_id` is None where no run may enter."""

    alert_id: UUID
    user_id: UUID
    bot_id: UUID | None


class AlertWorkflows(Protocol):
    """Starts the workflows that follow alerts; the rows were committed before."""

    async def follow_alert(self, user_id: UUID, alert_id: UUID, *, delay_seconds: float) -> None:
        """Follow an alert to its end; once however often this is asked.

        Args:
            user_id: whose alert.
            alert_id: which one.
            delay_seconds: how long its first look may wait.

        Raises:
            WorkflowServiceUnavailable: not started; the sweep will.
        """
        ...
