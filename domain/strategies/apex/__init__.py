"""APEX V7.2: one trend strategy on closed five-minute candles, long and short alike.

`evaluate` judges a window of bars, `plan_entry` turns a wish to enter into an order or a refusal,
`plan_exit` and its companions protect what was filled. Outside signals use the same entry and exit
rules, without score and fee rule.
"""

from domain.strategies.apex.config import (
    BAR,
    DEFAULT_CONFIG,
    STRATEGY,
    STRATEGY_VERSION,
    WINDOW,
    ApexConfig,
)
from domain.strategies.apex.entries import (
    AccountFigures,
    EntryConditions,
    EntryPlan,
    EntryRefusal,
    EntryRequest,
    EntrySource,
    plan_entry,
)
from domain.strategies.apex.evaluation import Evaluation, evaluate
from domain.strategies.apex.exits import (
    ExitPlan,
    ExitReason,
    ExitTarget,
    InvalidProtection,
    calls_for_exit,
    change_protection,
    exit_quantity,
    exit_triggers,
    on_bar_closed,
    on_entry_filled,
    on_exit_filled,
    on_target_filled,
    plan_exit,
)
from domain.strategies.apex.gates import Gate, GateName, ReasonCode
from domain.strategies.apex.levels import Levels, protective_levels

__all__ = [
    "BAR",
    "DEFAULT_CONFIG",
    "STRATEGY",
    "STRATEGY_VERSION",
    "WINDOW",
    "AccountFigures",
    "ApexConfig",
    "EntryConditions",
    "EntryPlan",
    "EntryRefusal",
    "EntryRequest",
    "EntrySource",
    "Evaluation",
    "ExitPlan",
    "ExitReason",
    "ExitTarget",
    "Gate",
    "GateName",
    "InvalidProtection",
    "Levels",
    "ReasonCode",
    "calls_for_exit",
    "change_protection",
    "evaluate",
    "exit_quantity",
    "exit_triggers",
    "on_bar_closed",
    "on_entry_filled",
    "on_exit_filled",
    "on_target_filled",
    "plan_entry",
    "plan_exit",
    "protective_levels",
]
