"""Contracts of the bot workflow: input and memory, signals, results of its activities."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from pydantic import Field

from domain.contracts.base import Contract
from domain.orders import OrderState
from domain.positions import Direction

BOT_WORKFLOW = "bot"
QUERY_STATUS = "status"
REMEMBERED_SIGNALS_MAX = 200
"""How many trade signal ids a bot remembers, to hand a repeated one on only once."""


def bot_workflow_id(bot_id: UUID) -> str:
    """The one workflow of a bot."""
    return f"bot:{bot_id}"


class BotSignal(StrEnum):
    """Names of the signals a bot takes; frozen, histories hold them."""

    STOP = "stop"
    EMERGENCY_STOP = "emergency_stop"
    UPDATE_SETTINGS = "update_settings"
    PAUSE = "pause"
    RESUME = "resume"
    TRADE_SIGNAL = "trade_signal"
    ALERT_RECEIVED = "alert_received"
    BAR_CLOSED = "bar_closed"
    ORDER_UPDATE = "order_update"
    TRIGGER_FIRED = "trigger_fired"


class BotRef(Contract):
    """Which bot, and whose."""

    user_id: UUID
    bot_id: UUID


class SignalAction(StrEnum):
    """What an outside signal wishes."""

    BUY = "buy"
    SELL = "sell"
    CLOSE = "close"


class TradeSignal(Contract):
    """An outside wish to trade, made durable by the workflow's history.

    `signal_id` becomes the position's id, so the same signal never makes two positions. `size_usd`
    (quote currency) and `quantity` (base currency) are ceilings of an entry, and the part that an
    exit closes, as `percent` is. `side` bounds a close to positions of that side. After
    `expires_at` (wall time) it is refused instead of acted on.
    """

    signal_id: UUID
    action: SignalAction
    symbol: str
    size_usd: Decimal | None = None
    quantity: Decimal | None = None
    expires_at: datetime | None = None
    percent: Decimal | None = None
    side: Direction | None = None


class Nudge(Contract):
    """A message that says only *look at your rows*; the rest helps a reader of the history."""

    revision: int | None = None
    at: datetime | None = None
    ids: tuple[UUID, ...] = ()


class BotMemory(Contract):
    """All state a bot's workflow carries from run to run. Everything else is in the database."""

    pending_signals: tuple[TradeSignal, ...] = ()
    remembered_signals: tuple[UUID, ...] = ()
    guard_due: bool = True
    hunt_due: bool = True
    kind: str = "apex"
    venue: str = ""
    mode: str = ""
    state: str = ""


class BotInput(Contract):
    """What a bot's workflow is started with."""

    bot: BotRef
    memory: BotMemory = BotMemory()


class OrderTask(Contract):
    """A live order that needs the next step: sending, or looking up.

    `keys` is the version of its account's keys; a delay because they are refused ends with them.
    """

    order_id: UUID
    state: OrderState
    leg: str = ""
    symbol: str = ""
    keys: int = 0


class GuardResult(Contract):
    """What guarding found: the orders to carry out and where the bot stands."""

    orders: tuple[OrderTask, ...] = ()
    state: str = ""
    venue: str = ""
    mode: str = ""
    open_positions: int = 0
    finished: bool = False
    may_enter: bool = False
    recheck_seconds: float | None = None


class HuntInput(Contract):
    """Ask for decisions on new bars and on these signals."""

    bot: BotRef
    signals: tuple[TradeSignal, ...] = ()


class HuntResult(Contract):
    """What hunting decided: orders to carry out, whether exits were asked for, whether to go on.

    `more` says that there were more alerts than one hunt takes.
    """

    orders: tuple[OrderTask, ...] = ()
    exits_requested: bool = False
    more: bool = False
    decisions: int = 0
    summary: str = ""


class OrderInput(Contract):
    """Which order, and whose."""

    user_id: UUID
    order_id: UUID


class OrderResult(Contract):
    """Where an order stands; `guard_due` is false where its booking left nothing to guard.

    `keys_refused_seconds` is set where its keys are refused: how long to wait for other keys before
    it is looked up again all the same.
    """

    state: OrderState
    filled_quantity: Decimal = Decimal(0)
    guard_due: bool = True
    summary: str = ""
    keys_refused_seconds: float | None = None


class BotStatus(Contract):
    """Answer to the status query."""

    state: str
    venue: str
    mode: str
    open_positions: int
    orders_in_flight: int
    pending_signals: int
    doing: str


class WatchInput(Contract):
    """Which venue to watch."""

    venue: str
    realm: str


class WatchResult(Contract):
    """How a watch ended; it is started again."""

    looks: int = Field(default=0, ge=0)
