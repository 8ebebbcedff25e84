from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.coinbase.errors import ApiError
from simulator.coinbase.wire import iso, milliseconds, parse_order
from simulator.engine.rules import rules_for
from simulator.engine.values import OrderRefusedError
from simulator.exact import plain
from tests.simulator.engines import engine, order

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.decimals().map(str),
    st.sampled_from(["BUY", "SELL", "1e999999", "-0", "0.01", "50000", "1e-30"]),
    st.lists(st.integers(), max_size=2),
)
amounts = st.dictionaries(
    st.sampled_from(["base_size", "quote_size", "limit_price", "post_only"]), scalars
)
bodies = st.fixed_dictionaries(
    {
        "client_order_id": st.one_of(st.just("id"), scalars),
        "product_id": scalars,
        "side": st.one_of(st.just("BUY"), scalars),
        "order_configuration": st.one_of(
            scalars,
            st.dictionaries(
                st.sampled_from(
                    ["market_market_ioc", "sor_limit_ioc", "limit_limit_gtc", "limit_limit_fok"]
                ),
                st.one_of(amounts, scalars),
                min_size=1,
                max_size=1,
            ),
        ),
    }
)


@given(bodies)
def test_no_body_can_break_the_venue(body: dict[str, Any]) -> None:
    venue = engine()
    try:
        request = parse_order(body)
        placed = order(venue, request.side)
        placed.request = request
        venue.submit(placed)
    except (ApiError, OrderRefusedError):
        assert not venue.take_changes()


@given(st.integers(0, 4 * 10**12))
def test_times_survive_the_wire(time_ms: int) -> None:
    assert milliseconds(iso(time_ms)) == time_ms


def test_time_without_zone_is_utc() -> None:
    assert milliseconds("1970-01-01T00:00:01") == milliseconds("1970-01-01T01:00:01+01:00") == 1000


@pytest.mark.parametrize(
    ("amount", "text"), [("0E-8", "0"), ("1E+3", "1000"), ("0.100", "0.1"), ("1E-8", "0.00000001")]
)
def test_amounts_are_plain(amount: str, text: str) -> None:
    assert plain(Decimal(amount)) == text


def test_rules_judge_the_largest_parsable_amount() -> None:
    fields = {"base_size": "999999999999999.99999999", "limit_price": "999999999999999.99"}
    body = {
        "client_order_id": "id",
        "side": "BUY",
        "order_configuration": {"limit_limit_gtc": fields},
    }

    with pytest.raises(OrderRefusedError):
        rules_for("BTC-USD", Decimal(100)).check(parse_order(body))
