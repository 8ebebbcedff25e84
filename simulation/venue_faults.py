"""What the venue does wrong: drawn from the seed, call by call and for whole stretches of time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum

from simulator.faults.fault import Fault
from simulator.faults.kinds import Kind, Value

NOT_FOR_EXITS = (
    "clock",
    "rules",
    "public_fees",
    "candles",
    "quote",
    "order_book",
    "balances",
    "fees",
)
"""What an exit needs no answer to."""

CALLS = (*NOT_FOR_EXITS, "order", "find_order", "fills", "place")

SECONDS_BEFORE_EFFECT_MAX = 10.0
"""How late a command may reach the engine: less than what the product waits before it takes an
order that is not listed for one that never arrived."""


class Delivery(StrEnum):
    """What becomes of a command on its way."""

    FINE = "fine"
    LOST = "lost"
    """It never arrives; nobody answers."""
    ANSWER_LOST = "answer_lost"
    """It takes effect; the answer never arrives."""
    RESET = "reset"
    """It takes effect, then the connection breaks."""
    RESET_BEFORE = "reset_before"
    """The connection breaks before it takes effect."""
    SERVER_ERROR = "server_error"
    """It does not take effect; a 5xx says nothing about that."""
    LIMITED = "limited"
    """Refused for too many requests."""
    LATE = "late"
    """It takes effect seconds later, and is answered then."""
    SLOW_ANSWER = "slow_answer"
    """It takes effect at once and is answered seconds later."""


FAULTY = tuple(delivery for delivery in Delivery if delivery is not Delivery.FINE)


@dataclass(slots=True)
class VenueFaults:
    """The venue's bad actions in one run.

    Attributes:
        random: what every draw comes from.
        rate: share of calls and orders that something happens to.
        is_behaving: whether nothing does at present.
        outages: by call, until when it fails.
        keys_refused_until: by account, until when its keys are.
        in_flight: how many faults have hit an order on its way or being looked up.
        others: how many have hit anything else.
    """

    random: random.Random
    rate: float
    is_behaving: bool = True
    outages: dict[str, float] = field(default_factory=dict)
    keys_refused_until: dict[str, float] = field(default_factory=dict)
    in_flight: int = 0
    others: int = 0

    def behave(self) -> None:
        """Behave: what was begun ends."""
        self.is_behaving = True
        self.outages.clear()
        self.keys_refused_until.clear()

    def latency(self) -> float:
        """Seconds that a call takes one way."""
        return self.random.choice((0.01, 0.02, 0.05, 0.1))

    def is_out(self, call: str, now: float) -> bool:
        """Whether a call fails at present."""
        return self.outages.get(call, 0.0) > now or self.outages.get("all", 0.0) > now

    def question_fails(self) -> bool:
        """Whether a single question fails."""
        fails = not self.is_behaving and self.random.random() < self.rate / 4
        self.others += fails
        return fails

    def question_pause(self) -> float:
        """Seconds that an answer is held back."""
        if self.is_behaving or self.random.random() >= self.rate / 4:
            return 0.0
        return self.random.choice((0.5, 2.0, 6.0, 9.0))

    def delivery(self) -> Delivery:
        """What becomes of a command."""
        if self.is_behaving or self.random.random() >= self.rate:
            return Delivery.FINE
        self.in_flight += 1
        return self.random.choice(FAULTY)

    def seconds_late(self) -> float:
        """How late a command takes effect, or is answered."""
        return self.random.uniform(0.5, SECONDS_BEFORE_EFFECT_MAX)

    def order_faults(self) -> list[Fault]:
        """What the engine and the listings do to some orders, as faults of the simulator."""
        share = self.rate / 8

        def fault(kind: Kind, **parameters: Value) -> Fault:
            return Fault(kind=kind, probability=share, parameters=parameters)

        seconds = self.random.choice
        return [
            fault(Kind.ORDER_STUCK, status="PENDING", seconds=seconds((3, 20, 50))),
            fault(Kind.ORDER_STUCK, status="UNKNOWN_ORDER_STATUS", seconds=8, executed=True),
            fault(Kind.IOC_RESTS, seconds=seconds((5, 40)), share=0.5),
            fault(Kind.PARTIAL_FILL, share=0.4),
            fault(Kind.CANCEL_LATE, seconds=seconds((2, 10))),
            fault(
                Kind.ORDER_LISTED_LATE, seconds=seconds((1, 8, 25)), by_id=seconds((True, False))
            ),
            fault(Kind.FILLS_LATE, seconds=seconds((1, 10, 40))),
            fault(Kind.FILLS_IN_PIECES, pieces=3, seconds=seconds((1, 6))),
            fault(Kind.FILLS_TWICE),
            fault(Kind.FILLS_SHUFFLED),
        ]

    def begin_outage(self, now: float) -> str:
        """Let something fail for a while; what."""
        call = self.random.choice((*CALLS, "all"))
        length = self.random.choice((2.0, 6.0, 15.0, 60.0))
        self.outages[call] = max(self.outages.get(call, 0.0), now + length)
        self.others += 1
        return f"{call} fails for {length:.0f} s"

    def fail_beside_exits(self, until: float) -> None:
        """Let everything fail that an exit does not need."""
        self.outages = dict.fromkeys(NOT_FOR_EXITS, until)
        self.others += len(NOT_FOR_EXITS)

    def refuse_keys(self, account: str, now: float) -> str:
        """Refuse an account's keys for a while."""
        length = self.random.choice((5.0, 40.0, 120.0))
        self.keys_refused_until[account] = now + length
        self.others += 1
        return f"keys refused for {length:.0f} s"
