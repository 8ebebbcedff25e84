"""Faults that are drawn are such that the exchange takes, and the blinding ones are known."""

from __future__ import annotations

from random import Random

import pytest

from chaos.faults import blinds, draw
from simulator.faults import fault_of

PRODUCTS = ("BTC-USD", "ETH-USD")


def test_the_exchange_takes_every_fault_that_is_drawn() -> None:
    rng = Random(3)
    for _ in range(2_000):
        fault = draw(rng, PRODUCTS, 20.0)
        lasting = fault.pop("for_seconds", None)

        fault_of(fault | ({} if lasting is None else {"from_ms": 0, "until_ms": 1_000}))


def test_every_kind_comes_and_the_same_seed_draws_the_same() -> None:
    drawn = [draw(rng, PRODUCTS, 20.0) for rng in [Random(5)] for _ in range(2_000)]

    assert drawn == [draw(rng, PRODUCTS, 20.0) for rng in [Random(5)] for _ in range(2_000)]
    assert len({fault["kind"] for fault in drawn}) >= 24


@pytest.mark.parametrize(
    ("fault", "is_blinding"),
    [
        ({"kind": "timeout", "call": "place"}, False),
        ({"kind": "timeout", "call": "quotes"}, True),
        ({"kind": "server_error", "call": "products"}, False),
        ({"kind": "server_error"}, True),
        ({"kind": "maintenance"}, True),
        ({"kind": "product_mode"}, True),
        ({"kind": "order_stuck"}, False),
        ({"kind": "candle_malformed"}, False),
    ],
)
def test_a_fault_blinds_where_no_price_is_shown_or_no_exit_taken(
    fault: dict[str, str], *, is_blinding: bool
) -> None:
    assert blinds(fault) is is_blinding
