"""The gates of an entry: their order, their names, and what a refusal by each is called."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class GateName(StrEnum):
    """The checks of the pipeline, in their order."""

    KILL_SWITCH = "kill_switch"
    RUN_STATE = "run_state"
    SUBSCRIPTION = "subscription"
    MODE = "mode"
    PAIR = "pair"
    MARKET = "market"
    KEYS = "keys"
    UNSETTLED_ENTRY = "unsettled_entry"
    DATA = "data"
    CANDLE_HOLE = "candle_hole"
    DIRECTION = "direction"
    ONE_PER_SYMBOL = "one_per_symbol"
    MAX_POSITIONS = "max_positions"
    DAILY_TRADES = "daily_trades"
    EQUITY = "equity"
    DAILY_LOSS = "daily_loss"
    SCORE = "score"
    PRICE_STEP = "price_step"
    STOP = "stop"
    REWARD = "reward"
    EXPOSURE = "exposure"
    CASH = "cash"
    SIZE = "size"


class ReasonCode(StrEnum):
    """Why there was no entry. Stable: clients and decision logs rely on the values."""

    NOT_ENOUGH_BARS = "not_enough_bars"
    NO_SETUP = "no_setup"
    KILL_SWITCH_ACTIVE = "kill_switch_active"
    ENTRIES_NOT_ALLOWED = "entries_not_allowed"
    SUBSCRIPTION_REQUIRED = "subscription_required"
    PAPER_TRADING_ONLY = "paper_trading_only"
    PAIR_NOT_ALLOWED = "pair_not_allowed"
    MARKET_INACTIVE = "market_inactive"
    KEYS_REFUSED = "keys_refused"
    ENTRY_UNSETTLED = "entry_unsettled"
    DATA_STALE = "data_stale"
    CANDLE_HOLE = "candle_hole"
    SHORT_NOT_SUPPORTED = "short_not_supported"
    POSITION_EXISTS = "position_exists"
    MAX_POSITIONS_REACHED = "max_positions_reached"
    DAILY_TRADES_REACHED = "daily_trades_reached"
    EQUITY_UNKNOWN = "equity_unknown"
    DAILY_LOSS_REACHED = "daily_loss_reached"
    SCORE_TOO_LOW = "score_too_low"
    PRICE_STEP_TOO_COARSE = "price_step_too_coarse"
    NO_VALID_STOP = "no_valid_stop"
    REWARD_TOO_SMALL = "reward_too_small"
    EXPOSURE_REACHED = "exposure_reached"
    INSUFFICIENT_CASH = "insufficient_cash"
    BELOW_VENUE_MINIMUM = "below_venue_minimum"


REASONS = {
    GateName.KILL_SWITCH: ReasonCode.KILL_SWITCH_ACTIVE,
    GateName.RUN_STATE: ReasonCode.ENTRIES_NOT_ALLOWED,
    GateName.SUBSCRIPTION: ReasonCode.SUBSCRIPTION_REQUIRED,
    GateName.MODE: ReasonCode.PAPER_TRADING_ONLY,
    GateName.PAIR: ReasonCode.PAIR_NOT_ALLOWED,
    GateName.MARKET: ReasonCode.MARKET_INACTIVE,
    GateName.KEYS: ReasonCode.KEYS_REFUSED,
    GateName.UNSETTLED_ENTRY: ReasonCode.ENTRY_UNSETTLED,
    GateName.DATA: ReasonCode.DATA_STALE,
    GateName.CANDLE_HOLE: ReasonCode.CANDLE_HOLE,
    GateName.DIRECTION: ReasonCode.SHORT_NOT_SUPPORTED,
    GateName.ONE_PER_SYMBOL: ReasonCode.POSITION_EXISTS,
    GateName.MAX_POSITIONS: ReasonCode.MAX_POSITIONS_REACHED,
    GateName.DAILY_TRADES: ReasonCode.DAILY_TRADES_REACHED,
    GateName.EQUITY: ReasonCode.EQUITY_UNKNOWN,
    GateName.DAILY_LOSS: ReasonCode.DAILY_LOSS_REACHED,
    GateName.SCORE: ReasonCode.SCORE_TOO_LOW,
    GateName.PRICE_STEP: ReasonCode.PRICE_STEP_TOO_COARSE,
    GateName.STOP: ReasonCode.NO_VALID_STOP,
    GateName.REWARD: ReasonCode.REWARD_TOO_SMALL,
    GateName.EXPOSURE: ReasonCode.EXPOSURE_REACHED,
    GateName.CASH: ReasonCode.INSUFFICIENT_CASH,
    GateName.SIZE: ReasonCode.BELOW_VENUE_MINIMUM,
}
"""What a failed gate is called in decisions and refusals."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One check and how it went, in words."""

    name: GateName
    passed: bool
    detail: str

    def to_record(self) -> dict[str, Any]:
        """JSON form for the decision log."""
        return {"name": self.name.value, "passed": self.passed, "detail": self.detail}
