"""From a wish to enter to an order, or to a refusal that says why.

One fixed pipeline of gates judges every entry, the strategy's and an outside signal's alike. All
gates are evaluated and recorded; the first that fails names the reason. What is unknown (equity,
exposure, the day's P&L) refuses: nothing is ever assumed to be zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.markets import FeeRates, MarketRules
from domain.money import ONE, ZERO, pct
from domain.orders import OrderType, TimeInForce
from domain.positions import Direction
from domain.risk import EffectiveLimits, RiskProfile, daily_loss_limit
from domain.sizing import Ceiling, Size, least_entry_quantity, size_under
from domain.strategies.apex.config import DEFAULT_CONFIG, ApexConfig
from domain.strategies.apex.gates import REASONS, Gate, GateName, ReasonCode
from domain.strategies.apex.levels import (
    WIDENED_SLIPPAGE_MAX,
    Levels,
    entry_limit_price,
    protective_levels,
)


class EntrySource(StrEnum):
    """Who wants to enter."""

    STRATEGY = "strategy"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True)
class EntryConditions:
    """Yes-or-no facts about the bot, the venue and the market.

    None has a default: forgetting one must not pass.

    Attributes:
        kill_switch_active: any scope that covers the account.
        entries_allowed: the run may enter (running; not paused, stopping, exit-only).
        pair_allowed: the symbol is among the user's allowed pairs.
        mode_allowed: not a live run whose user has switched to paper trading since it started.
        keys_work: the venue took the account's keys when they were last used.
        entries_settled: every entry's outcome is known, so it is known what the account holds.
        data_fresh: the venue answers and the newest bar is the newest there is.
        hole_blocks_entry: the evaluation's flag; candles are missing shortly before the bar.
    """

    kill_switch_active: bool
    entries_allowed: bool
    pair_allowed: bool
    mode_allowed: bool
    keys_work: bool
    entries_settled: bool
    data_fresh: bool
    hole_blocks_entry: bool


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """The account at the moment of decision; amounts in the quote currency, None where unknown.

    Attributes:
        equity: cash plus market value (spot) or wallet plus unrealised P&L (margin).
        exposure: notional of open positions at market plus that of pending entries.
        available_cash: quote currency not reserved by other intents.
        positions: open and pending positions.
        entries_today: entries of this UTC day in this mode.
        holds_symbol: whether the symbol has an open or pending position.
        daily_net_pnl: the day's realised net plus open P&L; negative for a loss.
    """

    equity: Decimal | None
    exposure: Decimal | None
    available_cash: Decimal | None
    positions: int
    entries_today: int
    holds_symbol: bool
    daily_net_pnl: Decimal | None


@dataclass(frozen=True, slots=True)
class EntryRequest:
    """A wish to enter, with everything it is judged by.

    Attributes:
        rules: the market (its symbol is the one traded).
        direction: long or short.
        source: the strategy or an outside signal.
        decision_price: the bar's close, or the market price when an outside signal arrived.
        atr: of the last closed bar, in the quote currency; None where there are too few bars.
        score: strategy score; None for an outside signal.
        profile: the run's risk level.
        limits: the lower of plan and settings, for the account's mode.
        fees: of the account's own tier.
        conditions: yes-or-no facts.
        account: figures of the account.
        size_usd: ceiling in the quote currency that an outside signal carries.
        quantity: ceiling in the base currency that an outside signal carries.
    """

    rules: MarketRules
    direction: Direction
    source: EntrySource
    decision_price: Decimal
    atr: Decimal | None
    score: int | None
    profile: RiskProfile
    limits: EffectiveLimits
    fees: FeeRates
    conditions: EntryConditions
    account: AccountFigures
    size_usd: Decimal | None = None
    quantity: Decimal | None = None

    def __post_init__(self) -> None:
        if self.decision_price <= ZERO:
            raise ValueError("A decision price must be positive")
        if (self.score is None) is (self.source is EntrySource.STRATEGY):
            raise ValueError("The strategy has a score, an outside signal has none")

    @property
    def symbol(self) -> str:
        """The market's symbol."""
        return self.rules.symbol


@dataclass(frozen=True, slots=True)
class EntryRefusal:
    """No entry.

    Attributes:
        reason: code of the first gate that failed.
        detail: what that gate says, for people.
        gates: every gate, in pipeline order.
    """

    reason: ReasonCode
    detail: str
    gates: tuple[Gate, ...]


@dataclass(frozen=True, slots=True)
class EntryPlan:
    """An entry order and what is meant to follow.

    The stop and targets are those of the decision price; `plan_exit` sets the binding ones from the
    fill price.

    Attributes:
        symbol: market.
        direction: long or short.
        quantity: base currency, on the quantity step.
        limit_price: the worst acceptable price, on the price step.
        decision_price: what the size was computed from.
        notional: quantity times decision price, in the quote currency.
        worst_cost: what must be reserved: quantity at the highest possible price plus the taker
            fee.
        atr: the ATR that stop and targets use.
        stop: planned stop.
        targets: planned targets, nearest first.
        risk_distance: 1 R in the quote currency a unit.
        risk_amount: loss at the stop before fees, in the quote currency.
        risk_pct: the same as percent of equity.
        round_trip_rate: c, to hand on to `plan_exit`.
        binding: name of the ceiling that set the size.
        gates: every gate, in pipeline order.
        order_type: always limit.
        time_in_force: always immediate or cancel.
    """

    symbol: str
    direction: Direction
    quantity: Decimal
    limit_price: Decimal
    decision_price: Decimal
    notional: Decimal
    worst_cost: Decimal
    atr: Decimal
    stop: Decimal
    targets: tuple[Decimal, ...]
    risk_distance: Decimal
    risk_amount: Decimal
    risk_pct: Decimal
    round_trip_rate: Decimal
    binding: str
    gates: tuple[Gate, ...]
    order_type: OrderType = OrderType.LIMIT
    time_in_force: TimeInForce = TimeInForce.IOC


def plan_entry(
    request: EntryRequest, config: ApexConfig = DEFAULT_CONFIG
) -> EntryPlan | EntryRefusal:
    """Judge an entry by every gate and, if all pass, size and price it.

    An outside signal passes the score and fee gates by rule; having no score, its size is capped
    like a full score.
    """
    draft = _Draft.of(request, config)
    gates = (
        *_standing_gates(request),
        *_account_gates(request),
        *_trade_gates(request, draft, config),
    )
    failed = next((gate for gate in gates if not gate.passed), None)
    if failed is not None:
        return EntryRefusal(REASONS[failed.name], failed.detail, gates)
    # Gates of unknown figures fail, so all of these are known here.
    assert request.account.equity is not None
    assert request.atr is not None
    assert draft.levels is not None
    assert draft.size is not None
    quantity, risk = draft.size.quantity, draft.levels.risk_distance
    return EntryPlan(
        symbol=request.symbol,
        direction=request.direction,
        quantity=quantity,
        limit_price=draft.limit_price,
        decision_price=request.decision_price,
        notional=quantity * request.decision_price,
        worst_cost=quantity * draft.highest_price * (ONE + request.fees.taker_rate),
        atr=request.atr,
        stop=draft.levels.stop,
        targets=draft.levels.targets,
        risk_distance=risk,
        risk_amount=quantity * risk,
        risk_pct=pct(quantity * risk, request.account.equity),
        round_trip_rate=request.fees.round_trip_rate,
        binding=draft.size.binding.name,
        gates=gates,
    )


@dataclass(frozen=True, slots=True)
class _Draft:
    """Prices and sizes of the entry as far as they can be computed."""

    limit_price: Decimal
    highest_price: Decimal
    levels: Levels | None
    size: Size | None

    @classmethod
    def of(cls, request: EntryRequest, config: ApexConfig) -> _Draft:
        limit = entry_limit_price(
            request.direction,
            request.decision_price,
            request.rules.price_step,
            config.slippage_rate,
        )
        highest = max(limit, request.decision_price)
        levels = None
        if request.atr is not None and request.atr > ZERO:
            levels = protective_levels(
                request.direction,
                request.decision_price,
                request.atr,
                request.fees.round_trip_rate,
                request.rules,
                config=config,
            )
        size = None if levels is None else _size(request, levels, highest, config)
        return cls(limit, highest, levels, size)

    def ceiling(self, name: str) -> Decimal:
        """Quantity that one ceiling allows; zero while unknown."""
        ceilings = () if self.size is None else self.size.ceilings
        return next((ceiling.quantity for ceiling in ceilings if ceiling.name == name), ZERO)


def _size(
    request: EntryRequest, levels: Levels, highest: Decimal, config: ApexConfig
) -> Size | None:
    account, profile = request.account, request.profile
    if account.equity is None or account.exposure is None or account.available_cash is None:
        return None
    equity = account.equity
    cost = highest * (ONE + request.fees.taker_rate)
    room = profile.exposure_rate * equity - account.exposure
    ceilings = [
        Ceiling.of_quantity("risk_to_stop", profile.risk_rate * equity / levels.risk_distance),
        Ceiling.of_notional("equity_share", config.size_rate(request.score) * equity, highest),
        Ceiling.of_notional("exposure", room, highest),
        Ceiling.of_notional("position_size", request.limits.max_position_size, highest),
        Ceiling.of_notional("cash", account.available_cash, cost),
    ]
    if request.rules.quantity_max is not None:
        ceilings.append(Ceiling.of_quantity("venue_quantity_max", request.rules.quantity_max))
    if request.rules.notional_max is not None:
        ceilings.append(
            Ceiling.of_notional("venue_notional_max", request.rules.notional_max, highest)
        )
    if request.size_usd is not None:
        ceilings.append(Ceiling.of_notional("signal_size", request.size_usd, highest))
    if request.quantity is not None:
        ceilings.append(Ceiling.of_quantity("signal_quantity", request.quantity))
    lowest = min(request.decision_price, levels.stop, *levels.targets)
    least = least_entry_quantity(
        request.rules, lowest_price=lowest, taker_rate=request.fees.taker_rate
    )
    return size_under(ceilings, least=least, quantity_step=request.rules.quantity_step)


def _standing_gates(request: EntryRequest) -> Iterator[Gate]:
    """Whether entries are possible at all, whatever the account holds."""
    conditions, rules = request.conditions, request.rules
    yield _gate(GateName.KILL_SWITCH, not conditions.kill_switch_active, "off", "active")
    yield _gate(
        GateName.RUN_STATE, conditions.entries_allowed, "the run may enter", "the run may not enter"
    )
    yield _gate(
        GateName.SUBSCRIPTION,
        request.limits.may_enter,
        "the plan covers this mode",
        "the plan has no live trading",
    )
    bad = "the settings were switched to paper trading"
    yield _gate(GateName.MODE, conditions.mode_allowed, "the settings allow this mode", bad)
    yield _gate(
        GateName.PAIR,
        conditions.pair_allowed,
        f"{rules.symbol} is allowed",
        f"{rules.symbol} is not among the allowed pairs",
    )
    yield _gate(
        GateName.MARKET, rules.active, "the market is open", "the venue has suspended the market"
    )
    yield _gate(GateName.KEYS, conditions.keys_work, "accepted", "the venue refuses the API keys")
    yield _gate(
        GateName.UNSETTLED_ENTRY,
        conditions.entries_settled,
        "none",
        "it is not known yet what became of an earlier entry",
    )
    yield _gate(GateName.DATA, conditions.data_fresh, "up to date", "market data is stale")
    yield _gate(
        GateName.CANDLE_HOLE,
        not conditions.hole_blocks_entry,
        "no recent hole in the candles",
        "too few bars since a hole in the candles",
    )
    yield _gate(
        GateName.DIRECTION,
        request.direction is Direction.LONG or rules.can_short,
        f"{request.direction} is possible",
        "the venue cannot short this market",
    )


def _account_gates(request: EntryRequest) -> Iterator[Gate]:
    """Whether the account may take another position now."""
    account, limits = request.account, request.limits
    yield _gate(
        GateName.ONE_PER_SYMBOL,
        not account.holds_symbol,
        "no position in the symbol",
        "the symbol has an open or pending position",
    )
    yield _compared(
        GateName.MAX_POSITIONS,
        account.positions < limits.max_positions,
        f"{account.positions} of {limits.max_positions} positions",
    )
    yield _compared(
        GateName.DAILY_TRADES,
        account.entries_today < limits.max_daily_trades,
        f"{account.entries_today} of {limits.max_daily_trades} entries today",
    )
    yield _equity_gate(account)
    yield _daily_loss_gate(request)


def _equity_gate(account: AccountFigures) -> Gate:
    figures = {
        "equity": account.equity,
        "exposure": account.exposure,
        "available cash": account.available_cash,
        "the day's P&L": account.daily_net_pnl,
    }
    unknown = ", ".join(name for name, amount in figures.items() if amount is None)
    return _gate(
        GateName.EQUITY, not unknown, f"equity {_money(account.equity)}", f"unknown: {unknown}"
    )


def _daily_loss_gate(request: EntryRequest) -> Gate:
    account = request.account
    if account.equity is None or account.daily_net_pnl is None:
        return Gate(GateName.DAILY_LOSS, passed=False, detail="the day's P&L is unknown")
    limit = daily_loss_limit(request.limits.max_daily_loss, request.profile, account.equity)
    return _compared(
        GateName.DAILY_LOSS,
        account.daily_net_pnl > -limit,
        f"the day's net P&L is {_money(account.daily_net_pnl)}, the stop is at {_money(-limit)}",
    )


def _trade_gates(request: EntryRequest, draft: _Draft, config: ApexConfig) -> Iterator[Gate]:
    """Whether this trade is worth making and can be made."""
    yield _score_gate(request)
    yield _price_step_gate(request, draft)
    yield _stop_gate(request, draft)
    yield _reward_gate(request, draft, config)
    if draft.size is None:
        unknown = "cannot be judged: ATR, equity, exposure or cash is unknown"
        for name in (GateName.EXPOSURE, GateName.CASH, GateName.SIZE):
            yield Gate(name, passed=False, detail=unknown)
        return
    least, quantity = draft.size.least, draft.size.quantity
    for name, ceiling in ((GateName.EXPOSURE, "exposure"), (GateName.CASH, "cash")):
        room = draft.ceiling(ceiling)
        yield _compared(
            name,
            room >= least,
            f"room for {_money(room * draft.highest_price)}, the least trade is "
            f"{_money(least * draft.highest_price)}",
        )
    yield _compared(
        GateName.SIZE,
        draft.size.is_feasible,
        f"{draft.size.binding.name} allows {quantity.normalize():f} {request.rules.base}, "
        f"the least trade is {least.normalize():f}",
    )


def _score_gate(request: EntryRequest) -> Gate:
    if request.score is None:
        return Gate(GateName.SCORE, passed=True, detail="an outside signal has no score")
    least = request.profile.entry_score
    return _compared(
        GateName.SCORE, request.score >= least, f"score {request.score}, needed {least}"
    )


def _price_step_gate(request: EntryRequest, draft: _Draft) -> Gate:
    """The next price of the market must not lie too far from the decision price."""
    slippage = abs(draft.limit_price - request.decision_price) / request.decision_price
    return _compared(
        GateName.PRICE_STEP,
        draft.limit_price > ZERO and slippage <= WIDENED_SLIPPAGE_MAX,
        f"the limit is {_percent(slippage)} from the price, "
        f"one price step is {request.rules.price_step.normalize():f}",
    )


def _stop_gate(request: EntryRequest, draft: _Draft) -> Gate:
    """A stop must lie between zero and the price, at least a price step away."""
    if draft.levels is None:
        return Gate(GateName.STOP, passed=False, detail="there is no ATR to place a stop with")
    distance = draft.levels.risk_distance
    stays_positive = request.decision_price - distance > ZERO
    return _compared(
        GateName.STOP,
        stays_positive and distance >= request.rules.price_step,
        f"stop at {draft.levels.stop.normalize():f}, "
        f"1 R is {_percent(distance / request.decision_price)}",
    )


def _reward_gate(request: EntryRequest, draft: _Draft, config: ApexConfig) -> Gate:
    """(T3 - c) / (R + c) >= 1.5, here as distances; not for outside signals."""
    if request.source is EntrySource.SIGNAL:
        return Gate(GateName.REWARD, passed=True, detail="not applied to outside signals")
    if draft.levels is None:
        return Gate(GateName.REWARD, passed=False, detail="there is no ATR to place targets with")
    fee = request.fees.round_trip_rate * request.decision_price
    reward = draft.levels.target_distances[-1] - fee
    risk = draft.levels.risk_distance + fee
    return _compared(
        GateName.REWARD,
        reward >= config.minimum_reward * risk,
        f"reward to risk after {_percent(request.fees.round_trip_rate)} of fees is "
        f"{reward / risk:.2f}, "
        f"needed {config.minimum_reward}",
    )


def _gate(name: GateName, passed: bool, good: str, bad: str) -> Gate:
    return Gate(name, passed, good if passed else bad)


def _compared(name: GateName, passed: bool, figures: str) -> Gate:
    return Gate(name, passed, figures)


def _money(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"


def _percent(rate: Decimal) -> str:
    return f"{rate * 100:.3f} %"
