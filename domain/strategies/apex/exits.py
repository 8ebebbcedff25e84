"""How a position leaves: stop, three targets, break-even, trailing, reversal.

`ExitPlan` is the whole state. It changes only on facts (a fill, a closed bar, a user's command),
never when an order is merely sent, so a step is taken exactly once whatever happens to its order.
The stop only ever tightens, except by the user's own command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Any

from domain.errors import DomainError, ErrorKind
from domain.markets import MarketRules
from domain.money import ZERO, floor_to_step
from domain.orders import Leg
from domain.positions import Direction
from domain.strategies.apex.config import DEFAULT_CONFIG, ApexConfig
from domain.strategies.apex.evaluation import Evaluation
from domain.strategies.apex.levels import (
    break_even_price,
    protective_levels,
    stop_price,
    target_price,
    trailing_price,
)
from domain.triggers import Condition, Trigger, TriggerKind

TARGET_LEGS = (Leg.TARGET_1, Leg.TARGET_2, Leg.TARGET_3)


class ExitReason(StrEnum):
    """Why a position was left; the `exit_reason` of the API."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    SIGNAL_REVERSAL = "signal_reversal"
    SIGNAL_CLOSE = "signal_close"
    MANUAL = "manual"
    BOT_STOPPED = "bot_stopped"
    EMERGENCY_STOP = "emergency_stop"
    KILL_SWITCH = "kill_switch"
    CLOSED_ELSEWHERE = "closed_elsewhere"
    """All that was left had gone without an order of ours."""
    WRITTEN_OFF = "written_off"
    """Its user gave up what was left."""


class InvalidProtection(DomainError):
    """A stop or target that would fire at once, or that is no price; `fields` says which."""

    kind = ErrorKind.INVALID
    code = "invalid_protection"


@dataclass(frozen=True, slots=True)
class ExitTarget:
    """One step of the way out.

    Attributes:
        leg: which order leg it is.
        price: where it fires, in the quote currency.
        quantity: what it closes, in the base currency; the last open target closes whatever is
            left.
        is_done: set by its fill.
    """

    leg: Leg
    price: Decimal
    quantity: Decimal
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """Everything known about how a position will leave.

    Attributes:
        direction: of the position.
        entry_price: average price of the entry fills.
        quantity: original quantity that can be sold, in the base currency.
        stop: current protective stop.
        targets: steps, nearest first, done ones included.
        round_trip_rate: c, the fees of entering and leaving as a fraction, at entry.
        trail_multiple: distance of the trailing stop in ATR.
        best_close: highest close since the entry (lowest for a short); starts at the entry price.
        is_trailing: whether the first target has filled, so the stop is at break-even or better and
            follows.
        last_bar_closed_at: close time of the last bar seen; older ones are ignored.
    """

    direction: Direction
    entry_price: Decimal
    quantity: Decimal
    stop: Decimal
    targets: tuple[ExitTarget, ...]
    round_trip_rate: Decimal
    trail_multiple: Decimal
    best_close: Decimal
    is_trailing: bool
    last_bar_closed_at: datetime

    @property
    def open_targets(self) -> tuple[ExitTarget, ...]:
        """Targets still to come, nearest first."""
        return tuple(target for target in self.targets if not target.is_done)

    @property
    def next_target(self) -> ExitTarget | None:
        """The target that the API shows as `take_profit`."""
        return next(iter(self.open_targets), None)

    @property
    def stop_reason(self) -> ExitReason:
        """What it is called when the stop fires now."""
        return ExitReason.TRAILING_STOP if self.is_trailing else ExitReason.STOP_LOSS

    def to_record(self) -> dict[str, Any]:
        """JSON form; decimals and times as strings."""
        return {
            "direction": self.direction.value,
            "entry_price": str(self.entry_price),
            "quantity": str(self.quantity),
            "stop": str(self.stop),
            "targets": [
                {
                    "leg": target.leg.value,
                    "price": str(target.price),
                    "quantity": str(target.quantity),
                    "is_done": target.is_done,
                }
                for target in self.targets
            ],
            "round_trip_rate": str(self.round_trip_rate),
            "trail_multiple": str(self.trail_multiple),
            "best_close": str(self.best_close),
            "is_trailing": self.is_trailing,
            "last_bar_closed_at": self.last_bar_closed_at.isoformat(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> ExitPlan:
        """Read what `to_record` wrote."""
        return cls(
            direction=Direction(record["direction"]),
            entry_price=Decimal(record["entry_price"]),
            quantity=Decimal(record["quantity"]),
            stop=Decimal(record["stop"]),
            targets=tuple(
                ExitTarget(
                    leg=Leg(target["leg"]),
                    price=Decimal(target["price"]),
                    quantity=Decimal(target["quantity"]),
                    is_done=target["is_done"],
                )
                for target in record["targets"]
            ),
            round_trip_rate=Decimal(record["round_trip_rate"]),
            trail_multiple=Decimal(record["trail_multiple"]),
            best_close=Decimal(record["best_close"]),
            is_trailing=record["is_trailing"],
            last_bar_closed_at=datetime.fromisoformat(record["last_bar_closed_at"]),
        )


def plan_exit(
    *,
    direction: Direction,
    entry_price: Decimal,
    quantity: Decimal,
    atr: Decimal,
    filled_at: datetime,
    round_trip_rate: Decimal,
    rules: MarketRules,
    config: ApexConfig = DEFAULT_CONFIG,
) -> ExitPlan:
    """The initial protection of what was filled.

    Args:
        direction: long or short.
        entry_price: average price of the entry fills.
        quantity: the position's remaining quantity after the entry's fees; rounded down to the
            quantity step.
        atr: the ATR that the entry was decided with.
        filled_at: venue time of the last entry fill; bars closed until then are not "since the
            entry".
        round_trip_rate: c of the account's own fee tier.
        rules: steps and minimums of the market.
        config: the multiples and fractions.
    """
    levels = protective_levels(direction, entry_price, atr, round_trip_rate, rules, config=config)
    sellable = floor_to_step(quantity, rules.quantity_step)
    targets = tuple(
        ExitTarget(leg, price, floor_to_step(sellable * fraction, rules.quantity_step))
        for leg, price, fraction in zip(
            TARGET_LEGS, levels.targets, config.target_fractions, strict=True
        )
    )
    return ExitPlan(
        direction=direction,
        entry_price=entry_price,
        quantity=sellable,
        stop=levels.stop,
        targets=_fit(targets, sellable, levels.stop, rules),
        round_trip_rate=round_trip_rate,
        trail_multiple=config.trail_multiple,
        best_close=entry_price,
        is_trailing=False,
        last_bar_closed_at=filled_at,
    )


def on_entry_filled(
    plan: ExitPlan,
    *,
    entry_price: Decimal,
    quantity: Decimal,
    atr: Decimal,
    filled_at: datetime,
    rules: MarketRules,
    config: ApexConfig = DEFAULT_CONFIG,
) -> ExitPlan:
    """Protect what a further fill of the entry added, before anything has left.

    Stop and targets are those of the new average, each as far as it still was what the entry had
    given it: a stop or a target that the user has set since stays as it is, and bars that were seen
    stay seen.

    Args:
        plan: the state before the fill.
        entry_price: average price of all entry fills.
        quantity: the position's remaining quantity, as for `plan_exit`.
        atr: the ATR that the entry was decided with.
        filled_at: venue time of the fill.
        rules: steps and minimums of the market.
        config: the multiples and fractions.
    """

    def planned(price: Decimal, size: Decimal) -> ExitPlan:
        return plan_exit(
            direction=plan.direction,
            entry_price=price,
            quantity=size,
            atr=atr,
            filled_at=filled_at,
            round_trip_rate=plan.round_trip_rate,
            rules=rules,
            config=config,
        )

    before, fresh = planned(plan.entry_price, plan.quantity), planned(entry_price, quantity)
    stop = fresh.stop if plan.stop == before.stop else plan.stop
    targets = fresh.targets
    if plan.targets != before.targets:
        targets = _fit(plan.targets, fresh.quantity, stop, rules)
    best = fresh.best_close if plan.best_close == plan.entry_price else plan.best_close
    return replace(
        plan,
        entry_price=entry_price,
        quantity=fresh.quantity,
        stop=stop,
        targets=targets,
        best_close=best,
    )


def exit_quantity(plan: ExitPlan, leg: Leg, remaining: Decimal, rules: MarketRules) -> Decimal:
    """What an exit order of `leg` has to close, in the base currency.

    A target closes its own quantity, the last open one and every other leg all that remains. Never
    more than remains.
    """
    sellable = max(ZERO, floor_to_step(remaining, rules.quantity_step))
    target = next((target for target in plan.open_targets[:-1] if target.leg is leg), None)
    return sellable if target is None else min(target.quantity, sellable)


def on_target_filled(
    plan: ExitPlan, leg: Leg, *, remaining: Decimal, rules: MarketRules
) -> ExitPlan:
    """Mark a target as taken once its order is final with a fill.

    The first one moves the stop to break-even plus c and starts the trail. A fill short of the
    target's quantity leaves the rest to later targets; the last target stays open until nothing
    sellable remains. Repeating a call changes nothing.

    Args:
        plan: the state before the fill.
        leg: the target's leg.
        remaining: the position's remaining quantity after the fill.
        rules: steps and minimums of the market.
    """
    if all(target.leg is not leg for target in plan.open_targets):
        return plan
    is_last = plan.open_targets[-1].leg is leg
    sellable = floor_to_step(remaining, rules.quantity_step)
    if not (is_last and sellable > ZERO):
        plan = replace(
            plan,
            targets=tuple(
                replace(target, is_done=True) if target.leg is leg else target
                for target in plan.targets
            ),
        )
    break_even = break_even_price(
        plan.direction, plan.entry_price, plan.round_trip_rate, rules.price_step
    )
    plan = replace(plan, stop=_tighter(plan, break_even), is_trailing=True)
    return on_exit_filled(plan, remaining=remaining, rules=rules)


def on_exit_filled(plan: ExitPlan, *, remaining: Decimal, rules: MarketRules) -> ExitPlan:
    """Fit the open targets to what remains after any other exit fill.

    For example a manual partial close, or a stop order that filled in part.
    """
    done = tuple(target for target in plan.targets if target.is_done)
    sellable = max(ZERO, floor_to_step(remaining, rules.quantity_step))
    return replace(plan, targets=done + _fit(plan.open_targets, sellable, plan.stop, rules))


def on_bar_closed(
    plan: ExitPlan, *, close: Decimal, atr: Decimal, closed_at: datetime, rules: MarketRules
) -> ExitPlan:
    """Note a closed bar; while trailing, follow the best close at 1.5 ATR of this bar.

    The stop only ever tightens. Bars must come in order; one not newer than the last seen changes
    nothing.
    """
    if closed_at <= plan.last_bar_closed_at:
        return plan
    best = max if plan.direction is Direction.LONG else min
    plan = replace(plan, best_close=best(plan.best_close, close), last_bar_closed_at=closed_at)
    if not plan.is_trailing:
        return plan
    trailed = trailing_price(
        plan.direction, plan.best_close, atr, plan.trail_multiple, rules.price_step
    )
    return replace(plan, stop=_tighter(plan, trailed))


def change_protection(
    plan: ExitPlan,
    *,
    market_price: Decimal,
    rules: MarketRules,
    remaining: Decimal,
    stop_loss: Decimal | None = None,
    take_profit: Decimal | None = None,
) -> ExitPlan:
    """A user's own stop or target.

    `stop_loss` sets the stop, wider ones included, and trailing goes on from there. `take_profit`
    replaces every remaining target by that one, for all that remains. None leaves a part as it is.

    Raises:
        InvalidProtection: not a price, or beyond the market so that it would fire at once.
    """
    sign = plan.direction.sign
    if stop_loss is not None:
        if stop_loss <= ZERO or (market_price - stop_loss) * sign <= ZERO:
            side = "below" if plan.direction is Direction.LONG else "above"
            message = f"The stop of a {plan.direction} position must be {side} the market price"
            raise InvalidProtection(message, details={"fields": {"stop_loss": message}})
        plan = replace(
            plan,
            stop=stop_price(plan.direction, stop_loss, rules.price_step, below=market_price),
        )
    if take_profit is not None:
        if take_profit <= ZERO or (take_profit - market_price) * sign <= ZERO:
            side = "above" if plan.direction is Direction.LONG else "below"
            message = f"The target of a {plan.direction} position must be {side} the market price"
            raise InvalidProtection(message, details={"fields": {"take_profit": message}})
        only = ExitTarget(
            leg=plan.open_targets[-1].leg if plan.open_targets else TARGET_LEGS[-1],
            price=target_price(plan.direction, take_profit, rules.price_step),
            quantity=floor_to_step(remaining, rules.quantity_step),
        )
        done = tuple(
            target for target in plan.targets if target.is_done and target.leg is not only.leg
        )
        plan = replace(plan, targets=(*done, only))
    return plan


def calls_for_exit(direction: Direction, evaluation: Evaluation, entry_score: int) -> bool:
    """Whether filter and score call for the opposite side, on any venue, shortable or not."""
    return evaluation.calls_for(entry_score) is direction.opposite


def exit_triggers(plan: ExitPlan, owner_id: str, armed_at: datetime) -> tuple[Trigger, ...]:
    """The plan's stop and open targets as price conditions, ids `<owner>:<leg>`.

    A trigger that exists already is to be `moved` to the new price, so that it keeps protecting
    during the move.

    Args:
        plan: the current state.
        owner_id: the position.
        armed_at: venue time of the fact that made them: the entry's fill.
    """
    losing, winning = Condition.AT_OR_BELOW, Condition.AT_OR_ABOVE
    if plan.direction is Direction.SHORT:
        losing, winning = winning, losing

    def trigger(leg: Leg, kind: TriggerKind, condition: Condition, price: Decimal) -> Trigger:
        return Trigger(f"{owner_id}:{leg}", owner_id, kind, condition, price, armed_at)

    return (
        trigger(Leg.STOP, TriggerKind.STOP, losing, plan.stop),
        *(
            trigger(target.leg, TriggerKind.TARGET, winning, target.price)
            for target in plan.open_targets
        ),
    )


def _tighter(plan: ExitPlan, candidate: Decimal) -> Decimal:
    return (
        max(plan.stop, candidate) if plan.direction is Direction.LONG else min(plan.stop, candidate)
    )


def _fit(
    targets: Sequence[ExitTarget], total: Decimal, stop: Decimal, rules: MarketRules
) -> tuple[ExitTarget, ...]:
    """Share `total` among open targets so that every exit can be traded.

    A target that is too small, that would leave too little behind it, or that coincides with the
    next one, is merged into the next one; the last takes what is left. "Too small" is judged at the
    least favourable price among stop and targets.
    """
    if not targets or total <= ZERO:
        return ()
    worst = min(stop, *(target.price for target in targets))
    least = max(rules.quantity_min, rules.notional_min / worst)
    fitted: list[ExitTarget] = []
    left, carried = total, ZERO
    for target, following in pairwise(targets):
        quantity = min(target.quantity + carried, left)
        is_too_small = quantity <= ZERO or quantity < least or left - quantity < least
        if is_too_small or target.price == following.price:
            carried = quantity
            continue
        fitted.append(replace(target, quantity=quantity))
        left, carried = left - quantity, ZERO
    last = targets[-1]
    return (*fitted, replace(last, quantity=left))
