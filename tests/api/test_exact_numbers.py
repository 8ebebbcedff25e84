"""Prices of 1e-9 and volumes of 1e12 come out as they are stored: digit by digit, without exponent.

Answers are compared as text, since a JSON parser may make another number of the same digits.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal, localcontext
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.kit.wire import base_quantity, quote_amount, quote_price, ratio, to_json
from tests.api.fakes import VENUE_NOW
from tests.api.harness import Api, World
from tests.api.seeding import account_of, hold, make_closed, make_position, make_run, watch_venue

PRICE, LATER = "0.000000001234", "0.000000001235"
VOLUME = "1234567890123.00000001"

_prices = st.decimals(min_value=Decimal("1E-12"), max_value=Decimal("1E-6"), places=18)
_volumes = st.decimals(min_value=0, max_value=Decimal("1E12"), places=18)


def exactly(text: bytes) -> Decimal:
    assert re.fullmatch(rb"-?[0-9]+(\.[0-9]+)?", text), text
    return Decimal(text.decode())


@given(_prices)
def test_a_price_is_written_as_it_is(price: Decimal) -> None:
    assert exactly(to_json(quote_price(price))) == price


@given(_volumes)
def test_a_quantity_is_written_as_it_is(volume: Decimal) -> None:
    assert exactly(to_json(base_quantity(volume))) == volume


@given(_prices, _volumes.filter(bool))
def test_amounts_keep_eight_places_or_eight_digits(price: Decimal, volume: Decimal) -> None:
    with localcontext(prec=100):
        amount = price * volume
        shown = exactly(to_json(quote_amount(amount)))
        bound = Decimal("5E-9") if amount >= Decimal("1E-5") else amount.scaleb(-7)
        assert abs(shown - amount) <= bound


@given(_prices, st.integers(1, 10**6))
def test_an_average_without_an_end_keeps_ten_digits(price: Decimal, parts: int) -> None:
    average = price / parts
    shown = exactly(to_json(quote_price(average)))
    with localcontext(prec=100):
        assert abs(shown - average) <= average.scaleb(-9)


@pytest.mark.parametrize("form", [quote_amount, quote_price, base_quantity, ratio])
@pytest.mark.parametrize("digits", ["9" * 60, "-" + "9" * 40 + "." + "9" * 20, "0", "-0"])
def test_no_number_is_too_long(form: object, digits: str) -> None:
    assert callable(form)
    exactly(to_json(form(Decimal(digits))))


async def _seed(world: World, user: Api) -> None:
    await watch_venue(world, BONK=LATER)
    run = await make_run(world, user)
    await hold(world, await account_of(world, user), "BONK", VOLUME)
    with localcontext(prec=60):
        entry, exit_ = Decimal(VOLUME) * Decimal(PRICE), Decimal(VOLUME) * Decimal(LATER)
        gained = exit_ - entry
    coins = {
        "symbol": "BONK-USD",
        "planned_quantity": Decimal(VOLUME),
        "entry_quantity": Decimal(VOLUME),
        "entry_notional": entry,
    }
    await make_position(
        world,
        run,
        **coins,
        open_quantity=Decimal(VOLUME),
        stop_loss=Decimal("0.000000001233"),
        take_profit=Decimal("0.00000000125"),
        id=UUID(int=1),
    )
    await make_closed(
        world,
        run,
        pnl=str(gained),
        fees="0.000000001",
        closed_at=VENUE_NOW - timedelta(minutes=1),
        **coins,
        exit_quantity=Decimal(VOLUME),
        exit_notional=exit_,
        id=UUID(int=2),
    )


def member(text: str, name: str) -> str:
    """The text of the first number of a name."""
    found = re.search(rf'"{name}":(-?[0-9.eE+-]+)', text)
    assert found, (name, text)
    return found[1]


@pytest.mark.integration
async def test_every_answer_shows_the_digits_that_are_stored(world: World, user: Api) -> None:
    await _seed(world, user)

    positions = (await user.call("GET", "/account/positions")).text
    history = (await user.call("GET", "/account/history?status=closed")).text
    others = (
        "/account/balance",
        "/account/performance?period=7d",
        "/account/stats",
        "/analytics/dashboard",
        "/analytics/trades?group_by=day",
    )
    answers = [positions, history, *[(await user.call("GET", path)).text for path in others]]

    assert member(positions, "entry_price") == PRICE
    assert member(positions, "current_price") == LATER
    assert member(positions, "stop_loss") == "0.000000001233"
    assert member(positions, "take_profit") == "0.00000000125"
    assert member(positions, "quantity") == VOLUME
    assert member(history, "entry_price") == PRICE
    assert member(history, "exit_price") == LATER
    assert member(history, "quantity") == VOLUME
    assert member(history, "fees") == "0.000000001"
    # 1234567890123.00000001 * 1e-12
    assert member(history, "realized_pnl") == "1.23456789"
    for text in answers:
        assert not re.search(r":-?[0-9.]+[eE]", text), text
