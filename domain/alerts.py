"""Alerts from outside: what they say, where they stand, and the port to their workflows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
NO_POSITION = "no_position"
ALREADY_LEAVING = "already_leaving"
"""All that it asks to leave was asked to before."""

OVERTAKEN = "overtaken"
"""It waited for the market while a later signal left it."""


@dataclass(frozen=True, slots=True)
class AlertWish:
    """An alert that says what to do; amounts in quote currency, quantity in base currency.

    Attributes:
        side: closes positions of this side only; None closes either.
        percent: part of what is open that an exit closes.
        reference: the sender's own id of the alert, if it gave one.
        alerted_at: when the sender says that it was raised.
        unusable: what is wrong with its other fields. An exit goes without them, an entry is
            refused for them.
    """

    symbol: str
    action: SignalAction
    price: Decimal | None = None
    size_usd: Decimal | None = None
    quantity: Decimal | None = None
    strategy: str | None = None
    reference: str | None = None
    alerted_at: datetime | None = None
    side: Direction | None = None
    percent: Decimal | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)

    @property
    def leaves(self) -> Direction | None:
        """The side it takes back where one is held; None closes either."""
        return side_left(self.action, self.side)


def side_left(action: SignalAction, side: Direction | None) -> Direction | None:
    """The side of positions that an action takes back; None means either."""
    if action is SignalAction.CLOSE:
        return side
    return Direction.LONG if action is SignalAction.SELL else Direction.SHORT


@dataclass(frozen=True, slots=True)
class AlertOffer:
    """What came with a key: an alert, or what is wrong with it.

    Attributes:
        wish: what it asks for; None where that cannot be read.
        problems: what is wrong, by field, where there is no wish.
        said: its fields as they were sent, as far as they can be read, cut and without keys.
        is_malformed: it is no JSON object.
    """

    wish: AlertWish | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    said: Mapping[str, str] = field(default_factory=dict)
    is_malformed: bool = False


ACTIONS: Mapping[str, tuple[SignalAction, Direction | None]] = {
    "buy": (SignalAction.BUY, None),
    "long": (SignalAction.BUY, None),
    "sell": (SignalAction.SELL, None),
    "short": (SignalAction.SELL, None),
    "close": (SignalAction.CLOSE, None),
    "exit": (SignalAction.CLOSE, None),
    "flat": (SignalAction.CLOSE, None),
    "close_long": (SignalAction.CLOSE, Direction.LONG),
    "exit_long": (SignalAction.CLOSE, Direction.LONG),
    "close_short": (SignalAction.CLOSE, Direction.SHORT),
    "exit_short": (SignalAction.CLOSE, Direction.SHORT),
}
"""The words for an action, and the side of the positions it is about where that is said."""

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
    """A stored alert.

    Attributes:
        bot_id: the bot that is to decide on it; None where nobody has to.
        exits_of: the bot whose positions it has asked to leave.
        is_followed: whether something is still to come of it.
    """

    alert_id: UUID
    user_id: UUID
    bot_id: UUID | None
    exits_of: UUID | None = None
    is_followed: bool = True


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
