"""Positions (= trades), orders (= intents), fills and triggers."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from domain.money import ZERO
from domain.orders import FINAL_STATES, Leg, Liquidity, OrderState, OrderType, Side, TimeInForce
from domain.positions import Direction, PositionState
from domain.refusals import FORM_REFUSED
from domain.triggers import Condition
from models.columns import amount_field, json_field, new_id, one_of, owned_by, timestamp_field

_FINAL = ", ".join(f"'{state}'" for state in sorted(FINAL_STATES))
NOT_FINAL = f"state NOT IN ({_FINAL})"
_FORM_REFUSED = ", ".join(f"'{code}'" for code in sorted(FORM_REFUSED))
_CLOSED_TRADES = (
    ("closed", ""),
    ("wins", " AND realized_pnl > fees"),
    ("losses", " AND realized_pnl < fees"),
)


class ExitState(StrEnum):
    """How an exit that is due gets on, or that none can be made."""

    WORKING = "working"
    FAILING = "failing"
    """An order of it was refused, or it is not through although it has been due for long."""
    NO_KEYS = "no_keys"
    """The connection was removed: nothing can be sold, whether or not it is due."""


class CancelOutcome(StrEnum):
    """What became of the latest attempt to cancel an order; only its report tells its end."""

    ASKING = "asking"
    """The attempt was recorded and may have left; what became of it is not known."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Position(SQLModel, table=True):
    """An entry with its exits: NIJA's position and trade are this one row.

    Quantities are in the base currency; notionals, fees and profits in the quote currency. They
    are a fold over the position's fills, written in the transaction that stores the fills.
    `surplus_quantity` is what exits traded beyond what was held, `came_back` that the position was
    taken for cancelled when its entry filled after all.

    `realized_pnl` is the price P&L of what was sold so far, None while nothing is filled.

    `closed_elsewhere_quantity` left the account by manual actions, at a price that nobody knows;
    `written_off_quantity` was given up by its user. Neither is part of the realised P&L; fees paid
    for them are.

    While an exit is due, `exit_due_at` is since when (wall time), `exit_state` whether it gets on,
    `exit_attempts` how many orders in a row filled nothing and `exit_error` why the latest did not.
    `exit_asked_at` is when somebody last asked for it (wall time), again or for the first time.
    `sellable_quantity` is what the venue had free for the exit when it last refused one for want of
    funds.
    """

    __tablename__ = "positions"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("account_id", "accounts"),
        owned_by("run_id", "bot_runs"),
        one_of("state", PositionState),
        one_of("side", Direction),
        CheckConstraint("entry_quantity >= 0 AND exit_quantity >= 0", name="quantities"),
        CheckConstraint("exit_quantity <= entry_quantity", name="never_oversold"),
        CheckConstraint("surplus_quantity >= 0", name="surplus_not_negative"),
        CheckConstraint("open_quantity >= 0", name="open_not_negative"),
        CheckConstraint(
            "closed_elsewhere_quantity >= 0 AND written_off_quantity >= 0", name="gone_not_negative"
        ),
        one_of("exit_state", ExitState),
        Index(
            "uq_positions_live_symbol",
            "account_id",
            "symbol",
            unique=True,
            # An entry taken for lost may fill after all, beside the position that took its place.
            postgresql_where=text("state IN ('pending', 'open') AND NOT came_back"),
        ),
        Index(
            "ix_positions_live",
            "user_id",
            "account_id",
            postgresql_where=text("state IN ('pending', 'open')"),
        ),
        # Those that no roll-up counts.
        Index(
            "ix_positions_cancelled",
            "user_id",
            "account_id",
            postgresql_include=["symbol", "closed_at"],
            postgresql_where=text("state = 'cancelled'"),
        ),
        # Pages of the history are found without the rows themselves.
        Index(
            "ix_positions_account_opened",
            "user_id",
            "account_id",
            text("opened_at DESC"),
            text("id DESC"),
            postgresql_include=["symbol", "state", "closed_at"],
        ),
        *(
            Index(
                f"ix_positions_{name}",
                "account_id",
                "closed_at",
                "id",
                postgresql_where=text(f"state = 'closed'{also}"),
            )
            for name, also in _CLOSED_TRADES
        ),
        Index("ix_positions_run", "run_id"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    run_id: UUID
    symbol: str
    side: str
    state: str = PositionState.PENDING
    source: str = "strategy"
    planned_quantity: Decimal = amount_field()
    planned_notional: Decimal = amount_field()
    decision_price: Decimal = amount_field()
    entry_quantity: Decimal = amount_field(default=ZERO)
    entry_notional: Decimal = amount_field(default=ZERO)
    exit_quantity: Decimal = amount_field(default=ZERO)
    exit_notional: Decimal = amount_field(default=ZERO)
    surplus_quantity: Decimal = amount_field(default=ZERO)
    open_quantity: Decimal = amount_field(default=ZERO)
    fees: Decimal = amount_field(default=ZERO)
    atr: Decimal = amount_field()
    round_trip_fee_rate: Decimal = amount_field()
    rules: dict[str, Any] = json_field()
    exit_plan: dict[str, Any] | None = json_field(nullable=True)
    stop_loss: Decimal | None = amount_field(nullable=True)
    take_profit: Decimal | None = amount_field(nullable=True)
    close_requested: str | None = None
    close_cause: str | None = None
    realized_pnl: Decimal | None = amount_field(nullable=True)
    exit_reason: str | None = None
    opened_at: datetime = timestamp_field()
    closed_at: datetime | None = timestamp_field(nullable=True)
    came_back: bool = False
    closed_elsewhere_quantity: Decimal = amount_field(default=ZERO)
    written_off_quantity: Decimal = amount_field(default=ZERO)
    exit_state: str | None = None
    exit_due_at: datetime | None = timestamp_field(nullable=True)
    exit_attempts: int = 0
    exit_error: str | None = None
    exit_asked_at: datetime | None = timestamp_field(nullable=True)
    sellable_quantity: Decimal | None = amount_field(nullable=True)


class Order(SQLModel, table=True):
    """An order and the intent it came from. The row exists before anything is sent.

    `missed_at` is when the venue, which had accepted it, first did not list it, or when it was kept
    from being sent again; unset once the venue lists it.
    `sends` counts how often it was sent, always under its one client order id, `refused_sends` how
    many of those were answered with a refusal; `sent_at` (wall) and `venue_sent_at` are of the
    latest send, `venue_first_sent_at` of the first. `cancels` counts attempts to cancel it; the
    latest was recorded at `cancel_asked_at` (wall), before it left. `set_aside_at` (wall) is since
    when the rest of its position leaves beside this exit, which its venue does not give back.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("account_id", "run_id", "cause", "leg", "attempt"),
        UniqueConstraint("account_id", "client_order_id"),
        UniqueConstraint("account_id", "venue_order_id"),
        owned_by("account_id", "accounts"),
        owned_by("bot_id", "bots"),
        owned_by("run_id", "bot_runs"),
        owned_by("position_id", "positions"),
        owned_by("trigger_id", "triggers"),
        one_of("state", OrderState),
        one_of("side", Side),
        one_of("type", OrderType),
        one_of("time_in_force", TimeInForce),
        one_of("leg", Leg),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("filled_quantity >= 0", name="filled_not_negative"),
        CheckConstraint("attempt >= 1", name="attempt_from_one"),
        CheckConstraint("sends >= 0 AND cancels >= 0", name="counts_not_negative"),
        CheckConstraint("refused_sends BETWEEN 0 AND sends", name="refused_sends_range"),
        one_of("cancel_outcome", CancelOutcome),
        CheckConstraint("(type = 'limit') = (limit_price IS NOT NULL)", name="limit_has_price"),
        Index(
            "uq_orders_live_exit",
            "position_id",
            "set_aside_at",
            unique=True,
            postgresql_where=text(f"leg <> 'entry' AND {NOT_FINAL}"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_orders_live", "account_id", postgresql_where=text(NOT_FINAL)),
        Index("ix_orders_live_bot", "bot_id", postgresql_where=text(NOT_FINAL)),
        Index("ix_orders_position", "position_id", "intended_at", "attempt"),
        Index(
            "ix_orders_entries", "user_id", "intended_at", postgresql_where=text("leg = 'entry'")
        ),
        Index(
            "ix_orders_traded",
            "account_id",
            "settled_at",
            postgresql_where=text("filled_quantity > 0"),
        ),
        # What an exit has learned of the form that its market takes.
        Index(
            "ix_orders_form_refused",
            "position_id",
            "refusal_code",
            "settled_at",
            postgresql_where=text(f"refusal_code IN ({_FORM_REFUSED})"),
        ),
        Index("ix_orders_absent", "settled_at", postgresql_where=text("state='absent'")),
        Index(
            "ix_orders_settled",
            "account_id",
            "settled_at",
            postgresql_where=text("filled_quantity > 0"),
        ),
        Index("ix_orders_account_created", "user_id", "account_id", text("created_at DESC")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    bot_id: UUID
    run_id: UUID
    position_id: UUID
    trigger_id: UUID | None = None
    cause: str
    leg: str
    attempt: int = 1
    client_order_id: str
    venue_order_id: str | None = None
    symbol: str
    side: str
    type: str
    time_in_force: str = TimeInForce.IOC
    quantity: Decimal = amount_field()
    limit_price: Decimal | None = amount_field(nullable=True)
    reserved_quote: Decimal = amount_field(default=ZERO)
    state: str = OrderState.INTENDED
    filled_quantity: Decimal = amount_field(default=ZERO)
    refusal_code: str | None = None
    refusal_reason: str | None = None
    created_at: datetime = timestamp_field()
    intended_at: datetime = timestamp_field()
    sent_at: datetime | None = timestamp_field(nullable=True)
    venue_sent_at: datetime | None = timestamp_field(nullable=True)
    missed_at: datetime | None = timestamp_field(nullable=True)
    sends: int = 0
    refused_sends: int = 0
    venue_first_sent_at: datetime | None = timestamp_field(nullable=True)
    cancels: int = 0
    cancel_asked_at: datetime | None = timestamp_field(nullable=True)
    cancel_outcome: str | None = None
    cancel_reason: str | None = None
    set_aside_at: datetime | None = timestamp_field(nullable=True)
    settled_at: datetime | None = timestamp_field(nullable=True)


class ExitRequestState(StrEnum):
    """open -> done (sold, or its position is closed) or denied (it cannot be sold).

    `merged`: its quantity was added to that of an open one, which carries it out.
    """

    OPEN = "open"
    MERGED = "merged"
    DONE = "done"
    DENIED = "denied"


class ExitRequest(SQLModel, table=True):
    """A part of a position that a person or an alert asked to leave; the rest stays protected.

    A request for all of a position is `Position.close_requested` instead. `quantity` is in the base
    currency, `requested_at` venue time, `created_at` and `ended_at` wall time. Its exit orders have
    the cause `request:{id}`. One that is merged into another has none.
    """

    __tablename__ = "exit_requests"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("position_id", "cause"),
        owned_by("account_id", "accounts"),
        owned_by("position_id", "positions"),
        owned_by("merged_into", "exit_requests"),
        one_of("state", ExitRequestState),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("state <> 'merged' OR merged_into IS NOT NULL", name="merged_into"),
        Index("ix_exit_requests_open", "position_id", postgresql_where=text("state = 'open'")),
        Index("ix_exit_requests_merged_into", "merged_into"),
        Index("ix_exit_requests_cause", "cause"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    position_id: UUID
    cause: str
    quantity: Decimal = amount_field()
    reason: str
    state: str = ExitRequestState.OPEN
    refusal_code: str | None = None
    refusal_reason: str | None = None
    merged_into: UUID | None = None
    requested_at: datetime = timestamp_field()
    created_at: datetime = timestamp_field()
    ended_at: datetime | None = timestamp_field(nullable=True)


class Fill(SQLModel, table=True):
    """One execution at the venue; `fee_quote` is the fee valued in the quote currency."""

    __tablename__ = "fills"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        UniqueConstraint("account_id", "venue_fill_id"),
        owned_by("account_id", "accounts"),
        owned_by("order_id", "orders"),
        owned_by("position_id", "positions"),
        one_of("side", Side),
        one_of("liquidity", Liquidity),
        CheckConstraint("quantity > 0 AND price > 0", name="positive"),
        Index("ix_fills_position", "position_id"),
        Index("ix_fills_account_time", "account_id", "filled_at"),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    order_id: UUID
    position_id: UUID
    venue_fill_id: str
    symbol: str
    side: str
    price: Decimal = amount_field()
    quantity: Decimal = amount_field()
    fee: Decimal = amount_field()
    fee_currency: str
    fee_quote: Decimal = amount_field()
    liquidity: str
    filled_at: datetime = timestamp_field()


class TriggerState(StrEnum):
    """armed -> fired (the watcher saw the price) -> done (its exit is final); or cancelled."""

    ARMED = "armed"
    FIRED = "fired"
    DONE = "done"
    CANCELLED = "cancelled"


class Trigger(SQLModel, table=True):
    """A price condition the watcher waits for: at or below, or at or above, `price`.

    `past_prices` are the prices it had, each with the venue time until when (`moved_at` is the last
    of them). `set_at` is the database's own time when the row got its present price: a quote that
    was asked for later is newer, whatever the venue's clock says.
    """

    __tablename__ = "triggers"
    __table_args__ = (
        UniqueConstraint("user_id", "id"),
        owned_by("account_id", "accounts"),
        owned_by("bot_id", "bots"),
        owned_by("position_id", "positions"),
        one_of("state", TriggerState),
        one_of("direction", Condition),
        CheckConstraint("price > 0", name="price_positive"),
        Index(
            "uq_triggers_live_leg",
            "position_id",
            "leg",
            unique=True,
            postgresql_where=text("state IN ('armed', 'fired')"),
        ),
        Index(
            "ix_triggers_armed",
            "venue",
            "realm",
            "symbol",
            "direction",
            "price",
            postgresql_where=text("state='armed'"),
        ),
        Index(
            "ix_triggers_moved",
            "venue",
            "realm",
            "symbol",
            "moved_at",
            postgresql_where=text("state='armed' AND moved_at IS NOT NULL"),
        ),
        Index("ix_triggers_fired", "bot_id", postgresql_where=text("state='fired'")),
    )

    id: UUID = Field(default_factory=new_id, primary_key=True)
    user_id: UUID
    account_id: UUID
    bot_id: UUID
    position_id: UUID
    venue: str
    realm: str
    symbol: str
    leg: str
    direction: str
    price: Decimal = amount_field()
    quantity: Decimal | None = amount_field(nullable=True)
    state: str = TriggerState.ARMED
    armed_at: datetime = timestamp_field()
    moved_at: datetime | None = timestamp_field(nullable=True)
    past_prices: list[dict[str, str]] = json_field(factory=list)
    set_at: datetime | None = timestamp_field(nullable=True)
    fired_at: datetime | None = timestamp_field(nullable=True)
    fired_price: Decimal | None = amount_field(nullable=True)
