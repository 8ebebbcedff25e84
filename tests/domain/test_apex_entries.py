from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.markets import FeeRates, MarketRules
from domain.orders import OrderType, TimeInForce
from domain.positions import Direction
from domain.risk import RISK_PROFILES, EffectiveLimits, RiskLevel
from domain.strategies.apex import (
    AccountFigures,
    EntryConditions,
    EntryPlan,
    EntryRefusal,
    EntryRequest,
    EntrySource,
    GateName,
    ReasonCode,
    plan_entry,
)
from domain.strategies.apex.levels import entry_limit_price

RULES = MarketRules(
    symbol="BTC-USD",
    base="BTC",
    quote="USD",
    quantity_step=Decimal("0.00000001"),
    price_step=Decimal("0.01"),
    quantity_min=Decimal("0.0001"),
    notional_min=Decimal(1),
    can_short=True,
)
CONDITIONS = EntryConditions(
    kill_switch_active=False,
    entries_allowed=True,
    pair_allowed=True,
    mode_allowed=True,
    keys_work=True,
    entries_settled=True,
    data_fresh=True,
    hole_blocks_entry=False,
)
ACCOUNT = AccountFigures(
    equity=Decimal(10_000),
    exposure=Decimal(0),
    available_cash=Decimal(10_000),
    positions=0,
    entries_today=0,
    holds_symbol=False,
    daily_net_pnl=Decimal(0),
)
LIMITS = EffectiveLimits(
    may_enter=True,
    max_position_size=Decimal(2000),
    max_positions=3,
    max_daily_trades=10,
    max_daily_loss=Decimal(200),
)
REQUEST = EntryRequest(
    rules=RULES,
    direction=Direction.LONG,
    source=EntrySource.STRATEGY,
    decision_price=Decimal(40_000),
    atr=Decimal(200),
    score=4,
    profile=RISK_PROFILES[RiskLevel.MEDIUM],
    limits=LIMITS,
    fees=FeeRates(Decimal("0.0005"), Decimal("0.001")),
    conditions=CONDITIONS,
    account=ACCOUNT,
)
SIGNAL = replace(REQUEST, source=EntrySource.SIGNAL, score=None)


def planned(request: EntryRequest) -> EntryPlan:
    plan = plan_entry(request)
    assert isinstance(plan, EntryPlan), plan
    return plan


def refused(request: EntryRequest) -> EntryRefusal:
    refusal = plan_entry(request)
    assert isinstance(refusal, EntryRefusal), refusal
    return refusal


def with_account(request: EntryRequest = REQUEST, **changes: object) -> EntryRequest:
    return replace(request, account=replace(request.account, **changes))  # type: ignore[arg-type]


def with_limits(**changes: object) -> EntryRequest:
    return replace(REQUEST, limits=replace(LIMITS, **changes))  # type: ignore[arg-type]


def with_conditions(**changes: bool) -> EntryRequest:
    return replace(REQUEST, conditions=replace(CONDITIONS, **changes))


def test_a_plan_holds_order_and_protection() -> None:
    plan = planned(REQUEST)
    assert (plan.order_type, plan.time_in_force) == (OrderType.LIMIT, TimeInForce.IOC)
    assert plan.limit_price == Decimal(40_080)
    assert plan.stop == Decimal(39_700)
    assert plan.targets == (Decimal(40_300), Decimal(40_600), Decimal(40_900))
    assert plan.risk_distance == Decimal(300)
    assert plan.round_trip_rate == Decimal("0.002")
    assert plan.binding == "equity_share"
    # 4 % of equity at the limit price, the highest the order can fill at.
    assert plan.quantity == Decimal("0.00998003")
    assert plan.quantity * plan.limit_price <= Decimal(400)
    assert plan.risk_amount == plan.quantity * 300
    assert plan.worst_cost == plan.quantity * Decimal(40_080) * Decimal("1.001")


def test_every_gate_is_recorded_in_one_order() -> None:
    gates = planned(REQUEST).gates
    assert tuple(gate.name for gate in gates) == tuple(GateName)
    assert all(gate.passed and gate.detail for gate in gates)


def test_a_refusal_records_every_gate_and_names_the_first_failure() -> None:
    request = with_account(positions=3, holds_symbol=True)
    refusal = refused(replace(request, conditions=replace(CONDITIONS, data_fresh=False)))
    assert tuple(gate.name for gate in refusal.gates) == tuple(GateName)
    failed = [gate.name for gate in refusal.gates if not gate.passed]
    assert failed == [GateName.DATA, GateName.ONE_PER_SYMBOL, GateName.MAX_POSITIONS]
    assert refusal.reason is ReasonCode.DATA_STALE
    assert refusal.detail == "market data is stale"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (with_conditions(kill_switch_active=True), ReasonCode.KILL_SWITCH_ACTIVE),
        (with_conditions(entries_allowed=False), ReasonCode.ENTRIES_NOT_ALLOWED),
        (with_limits(may_enter=False), ReasonCode.SUBSCRIPTION_REQUIRED),
        (with_conditions(pair_allowed=False), ReasonCode.PAIR_NOT_ALLOWED),
        (with_conditions(mode_allowed=False), ReasonCode.PAPER_TRADING_ONLY),
        (replace(REQUEST, rules=replace(RULES, active=False)), ReasonCode.MARKET_INACTIVE),
        (with_conditions(keys_work=False), ReasonCode.KEYS_REFUSED),
        (with_conditions(entries_settled=False), ReasonCode.ENTRY_UNSETTLED),
        (with_conditions(data_fresh=False), ReasonCode.DATA_STALE),
        (with_conditions(hole_blocks_entry=True), ReasonCode.CANDLE_HOLE),
        (
            replace(REQUEST, direction=Direction.SHORT, rules=replace(RULES, can_short=False)),
            ReasonCode.SHORT_NOT_SUPPORTED,
        ),
        (with_account(holds_symbol=True), ReasonCode.POSITION_EXISTS),
        (with_account(positions=3), ReasonCode.MAX_POSITIONS_REACHED),
        (with_account(entries_today=10), ReasonCode.DAILY_TRADES_REACHED),
        (with_account(equity=None), ReasonCode.EQUITY_UNKNOWN),
        (with_account(exposure=None), ReasonCode.EQUITY_UNKNOWN),
        (with_account(available_cash=None), ReasonCode.EQUITY_UNKNOWN),
        (with_account(daily_net_pnl=None), ReasonCode.EQUITY_UNKNOWN),
        (with_account(daily_net_pnl=Decimal(-200)), ReasonCode.DAILY_LOSS_REACHED),
        (replace(REQUEST, score=2), ReasonCode.SCORE_TOO_LOW),
        (replace(REQUEST, atr=None), ReasonCode.NO_VALID_STOP),
        (replace(REQUEST, atr=Decimal(0)), ReasonCode.NO_VALID_STOP),
        (replace(REQUEST, atr=Decimal("0.001")), ReasonCode.NO_VALID_STOP),
        (replace(REQUEST, atr=Decimal(30_000)), ReasonCode.NO_VALID_STOP),
        (
            replace(REQUEST, fees=FeeRates(Decimal("0.004"), Decimal("0.006"))),
            ReasonCode.REWARD_TOO_SMALL,
        ),
        (with_account(exposure=Decimal(6000)), ReasonCode.EXPOSURE_REACHED),
        (with_account(available_cash=Decimal("0.5")), ReasonCode.INSUFFICIENT_CASH),
        (with_limits(max_position_size=Decimal(0)), ReasonCode.BELOW_VENUE_MINIMUM),
        (
            replace(REQUEST, rules=replace(RULES, notional_min=Decimal(500))),
            ReasonCode.BELOW_VENUE_MINIMUM,
        ),
    ],
)
def test_each_gate_refuses_with_its_reason(request_: EntryRequest, reason: ReasonCode) -> None:
    refusal = refused(request_)
    assert refusal.reason is reason
    assert refusal.detail


@pytest.mark.parametrize(("level", "least"), [("low", 4), ("medium", 3), ("high", 3)])
def test_the_risk_level_sets_the_entry_score(level: str, least: int) -> None:
    request = replace(REQUEST, profile=RISK_PROFILES[RiskLevel(level)])
    assert planned(replace(request, score=least)).quantity > 0
    assert refused(replace(request, score=least - 1)).reason is ReasonCode.SCORE_TOO_LOW


@pytest.mark.parametrize(("score", "share"), [(3, 300), (4, 400), (5, 500)])
def test_the_score_caps_the_share_of_equity(score: int, share: int) -> None:
    plan = planned(replace(REQUEST, score=score))
    assert plan.binding == "equity_share"
    assert plan.quantity * plan.limit_price == pytest.approx(Decimal(share), abs=Decimal("0.001"))


@pytest.mark.parametrize(("level", "risked"), [("low", 50), ("medium", 100), ("high", 200)])
def test_risk_to_the_stop_binds_when_the_stop_is_far(level: str, risked: int) -> None:
    # A stop 30,000 away: the capped notional of 500 USD alone would risk 374.
    profile = RISK_PROFILES[RiskLevel(level)]
    plan = planned(replace(SIGNAL, profile=profile, atr=Decimal(20_000)))
    assert plan.binding == "risk_to_stop"
    assert plan.risk_amount == pytest.approx(Decimal(risked), abs=Decimal("0.001"))
    assert plan.risk_amount <= risked


@pytest.mark.parametrize(
    ("name", "request_", "most"),
    [
        ("position_size", with_limits(max_position_size=Decimal(150)), Decimal(150)),
        ("exposure", with_account(exposure=Decimal(5900)), Decimal(100)),
        ("signal_size", replace(SIGNAL, size_usd=Decimal(120)), Decimal(120)),
        (
            "signal_quantity",
            replace(SIGNAL, quantity=Decimal("0.002")),
            Decimal("0.002") * 40_080,
        ),
    ],
)
def test_the_lowest_ceiling_binds(name: str, request_: EntryRequest, most: Decimal) -> None:
    plan = planned(request_)
    assert plan.binding == name
    assert plan.quantity * plan.limit_price == pytest.approx(most, abs=Decimal("0.001"))
    assert plan.quantity * plan.limit_price <= most


def test_cash_covers_the_worst_price_and_the_fee() -> None:
    plan = planned(with_account(available_cash=Decimal(100)))
    assert plan.binding == "cash"
    assert Decimal("99.99") < plan.worst_cost <= Decimal(100)


def test_an_outside_signal_needs_no_score_and_no_reward() -> None:
    expensive = replace(SIGNAL, fees=FeeRates(Decimal("0.004"), Decimal("0.006")))
    plan = planned(expensive)
    # 2.5 round trips of 1.2 % are farther than 1, 2 and 3 R.
    assert set(plan.targets) == {Decimal(41_200)}
    assert plan.quantity * plan.limit_price <= Decimal(500)


def test_an_outside_signal_does_not_raise_its_own_ceiling() -> None:
    assert planned(replace(SIGNAL, size_usd=Decimal(100_000))).notional <= Decimal(500)


def test_scores_belong_to_the_strategy_only() -> None:
    with pytest.raises(ValueError, match="score"):
        replace(REQUEST, score=None)
    with pytest.raises(ValueError, match="score"):
        replace(SIGNAL, score=3)


def test_a_short_is_a_mirrored_long() -> None:
    plan = planned(replace(REQUEST, direction=Direction.SHORT))
    assert plan.limit_price == Decimal(39_920)
    assert plan.stop == Decimal(40_300)
    assert plan.targets == (Decimal(39_700), Decimal(39_400), Decimal(39_100))


@pytest.mark.parametrize(
    ("direction", "price", "step", "limit"),
    [
        (Direction.LONG, "100", "0.15", "100.20"),
        (Direction.LONG, "100.03", "0.15", "100.20"),
        (Direction.SHORT, "100", "0.15", "99.90"),
        (Direction.LONG, "0.00001234", "0.00000001", "0.00001236"),
    ],
)
def test_the_limit_never_passes_the_slippage_cap(
    direction: Direction, price: str, step: str, limit: str
) -> None:
    found = entry_limit_price(direction, Decimal(price), Decimal(step), Decimal("0.002"))
    assert found == Decimal(limit)


@pytest.mark.parametrize(
    ("direction", "price", "step", "limit"),
    [
        (Direction.LONG, "100", "0.25", "100.25"),
        (Direction.LONG, "100.40", "1", "101"),
        (Direction.SHORT, "100", "0.25", "99.75"),
        (Direction.SHORT, "100.40", "1", "100"),
        (Direction.LONG, "0.00000400", "0.00000001", "0.00000401"),
    ],
)
def test_a_price_step_beyond_the_slippage_cap_widens_the_limit_by_one_step(
    direction: Direction, price: str, step: str, limit: str
) -> None:
    found = entry_limit_price(direction, Decimal(price), Decimal(step), Decimal("0.002"))
    assert found == Decimal(limit)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_price_step_that_would_cost_too_much_is_refused_with_its_reason(
    direction: Direction,
) -> None:
    rules = replace(RULES, price_step=Decimal(2))
    coarse = replace(
        SIGNAL, rules=rules, direction=direction, decision_price=Decimal(100), atr=Decimal(5)
    )
    assert refused(coarse).reason is ReasonCode.PRICE_STEP_TOO_COARSE
    dearer = replace(coarse, decision_price=Decimal(200), atr=Decimal(10))
    plan = planned(dearer)
    assert abs(plan.limit_price - 200) == Decimal(2)
    # What one step costs more is part of the size.
    assert plan.quantity * max(plan.limit_price, Decimal(200)) <= Decimal(500)


def test_an_entry_is_cut_to_the_markets_maximum() -> None:
    by_quantity = replace(SIGNAL, rules=replace(RULES, quantity_max=Decimal("0.005")))
    by_notional = replace(SIGNAL, rules=replace(RULES, notional_max=Decimal(150)))

    assert (planned(by_quantity).quantity, planned(by_quantity).binding) == (
        Decimal("0.005"),
        "venue_quantity_max",
    )
    plan = planned(by_notional)
    assert plan.binding == "venue_notional_max"
    assert plan.quantity * plan.limit_price <= Decimal(150)


def test_a_maximum_below_the_least_trade_leaves_nothing_to_enter_with() -> None:
    rules = replace(RULES, quantity_max=Decimal("0.00009"))
    refusal = refused(replace(SIGNAL, rules=rules))
    assert refusal.reason is ReasonCode.BELOW_VENUE_MINIMUM
    assert "venue_quantity_max" in refusal.detail


@pytest.mark.parametrize("at_limit", ["-200", "-200.01", "-5000"])
def test_the_lower_daily_loss_limit_counts(at_limit: str) -> None:
    # Medium stops at 3 % of equity (300 USD), the settings at 200 USD.
    assert planned(with_account(daily_net_pnl=Decimal("-199.99"))).quantity > 0
    refusal = refused(with_account(daily_net_pnl=Decimal(at_limit)))
    assert refusal.reason is ReasonCode.DAILY_LOSS_REACHED
    generous = replace(LIMITS, max_daily_loss=Decimal(10_000))
    lossy = with_account(replace(REQUEST, limits=generous), daily_net_pnl=Decimal(-300))
    assert refused(lossy).reason is ReasonCode.DAILY_LOSS_REACHED


def test_the_reward_rule_holds_exactly_at_its_limit() -> None:
    # 3R - c = 1.5 (R + c)  <=>  R = 5/3 c; with c = 0.3 % of 40,000 = 120 that is R = 200.
    fees = FeeRates(Decimal(0), Decimal("0.0015"))
    edge = replace(REQUEST, fees=fees, atr=Decimal(200) / Decimal("1.5"))
    assert planned(replace(edge, atr=Decimal("133.3334"))).quantity > 0
    assert refused(replace(edge, atr=Decimal("133.3333"))).reason is ReasonCode.REWARD_TOO_SMALL


def test_an_entry_too_small_to_leave_at_its_stop_is_not_made() -> None:
    # 310 USD would pass the minimum of 305 at the entry, but not at a stop 0.75 % below.
    rules = replace(RULES, notional_min=Decimal(305))
    request = replace(SIGNAL, rules=rules, atr=Decimal(2000), size_usd=Decimal(310))
    assert refused(request).reason is ReasonCode.BELOW_VENUE_MINIMUM


amounts = st.decimals(min_value=0, max_value=100_000, places=2)


@given(
    direction=st.sampled_from(Direction),
    price=st.decimals(min_value="0.01", max_value=100_000, places=2),
    atr_rate=st.decimals(min_value="0.0005", max_value="0.2", places=4),
    score=st.integers(0, 5),
    level=st.sampled_from(RiskLevel),
    equity=amounts,
    exposure=amounts,
    cash=amounts,
    size_limit=amounts,
    taker_rate=st.decimals(min_value=0, max_value="0.01", places=4),
    quantity_step=st.sampled_from([Decimal("0.00000001"), Decimal("0.001"), Decimal(1)]),
    price_step=st.sampled_from([Decimal("0.01"), Decimal("0.5")]),
)
def test_no_plan_exceeds_any_ceiling(
    direction: Direction,
    price: Decimal,
    atr_rate: Decimal,
    score: int,
    level: RiskLevel,
    equity: Decimal,
    exposure: Decimal,
    cash: Decimal,
    size_limit: Decimal,
    taker_rate: Decimal,
    quantity_step: Decimal,
    price_step: Decimal,
) -> None:
    rules = replace(RULES, quantity_step=quantity_step, price_step=price_step)
    profile = RISK_PROFILES[level]
    request = replace(
        REQUEST,
        rules=rules,
        direction=direction,
        decision_price=price,
        atr=price * atr_rate,
        score=score,
        profile=profile,
        fees=FeeRates(Decimal(0), taker_rate),
        limits=replace(LIMITS, max_position_size=size_limit),
        account=replace(ACCOUNT, equity=equity, exposure=exposure, available_cash=cash),
    )
    plan = plan_entry(request)
    if isinstance(plan, EntryRefusal):
        assert any(not gate.passed for gate in plan.gates)
        return
    highest = max(plan.limit_price, price)
    worst_notional = plan.quantity * highest
    assert plan.quantity > 0
    assert plan.quantity % quantity_step == 0
    assert plan.limit_price % price_step == 0
    assert score >= profile.entry_score
    assert plan.quantity * plan.risk_distance <= profile.risk_rate * equity
    assert worst_notional <= Decimal(score) / 100 * equity
    assert exposure + worst_notional <= profile.exposure_rate * equity
    assert worst_notional <= size_limit
    assert plan.worst_cost <= cash
    # Within the slippage cap, or the very next price where the market has none there.
    beyond = (plan.limit_price - price) * direction.sign
    is_next_price = 0 < beyond <= price_step and beyond <= Decimal("0.01") * price
    assert beyond <= Decimal("0.002") * price or is_next_price
    assert (price - plan.stop) * direction.sign > 0
    assert all((target - price) * direction.sign > 0 for target in plan.targets)
    assert plan.quantity * min(plan.stop, *plan.targets) >= rules.notional_min
