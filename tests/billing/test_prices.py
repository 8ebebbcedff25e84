"""`nija stripe make-prices`: the plan table at Stripe, made once."""

from __future__ import annotations

import pytest

from adapters.stripe.calls import make_client, make_transport
from adapters.stripe.prices import PriceBook, make_prices_at
from domain.billing import PAID_CHOICES, ProviderMisconfigured
from domain.plans import PLANS, Tier
from tests.billing.harness import KEY
from tests.support.clocks import FakeWall
from tests.support.command_line import nija_said
from tests.support.stripe_standin import StandIn, stripe_standin

pytestmark = pytest.mark.integration


def asked(standin: StandIn) -> dict[str, tuple[int, str, str]]:
    """What each price that may be used asks for: cents, currency, how often."""
    return {
        price.lookup_key: (price.unit_amount, price.currency, price.recurring["interval"])
        for price in standin.prices()
        if price.active
    }


async def test_the_command_makes_what_the_plan_table_says_and_makes_it_once() -> None:
    async with stripe_standin(FakeWall().now) as standin:
        env = {"NIJA_STRIPE_SECRET_KEY": KEY, "NIJA_STRIPE_API_BASE": standin.url}

        code, said = await nija_said("stripe", "make-prices", **env)
        assert code == 0, said
        again, repeated = await nija_said("stripe", "make-prices", **env)

        assert again == 0
        assert said.count("made") == repeated.count("exists") == len(PAID_CHOICES)
        assert "nija_pro_yearly: 1430 USD, made" in said
        assert KEY not in said + repeated
        assert asked(standin) == {
            "nija_basic_monthly": (49_00, "usd", "month"),
            "nija_basic_yearly": (470_00, "usd", "year"),
            "nija_pro_monthly": (149_00, "usd", "month"),
            "nija_pro_yearly": (1430_00, "usd", "year"),
            "nija_enterprise_monthly": (499_00, "usd", "month"),
            "nija_enterprise_yearly": (4790_00, "usd", "year"),
        }
        names = sorted(product.name for product in standin.products())
        assert names == sorted(f"NIJA {plan.name}" for plan in PLANS.values() if plan.price_monthly)


async def test_what_stripe_has_forgotten_the_keys_of_is_not_made_again() -> None:
    async with stripe_standin(FakeWall().now) as standin:
        await make_prices_at(KEY, api_base=standin.url)
        standin.answers.clear()

        standing = await make_prices_at(KEY, api_base=standin.url)

        assert not any(price.is_new for price in standing)
        assert len(standin.prices()) == len(PAID_CHOICES)
        assert len(standin.products()) == len(list(Tier)) - 1


async def test_a_price_that_is_wrong_is_named_and_nothing_is_made() -> None:
    async with stripe_standin(FakeWall().now) as standin:
        await make_prices_at(KEY, api_base=standin.url)
        wrong = next(one for one in standin.prices() if one.lookup_key == "nija_pro_monthly")
        wrong.unit_amount = 129_00
        env = {"NIJA_STRIPE_SECRET_KEY": KEY, "NIJA_STRIPE_API_BASE": standin.url}

        code, said = await nija_said("stripe", "make-prices", **env)

        assert code == 1
        assert f"nija_pro_monthly ({wrong.id})" in said
        assert len(standin.prices()) == len(PAID_CHOICES)
        wrong._archive()
        standing = await make_prices_at(KEY, api_base=standin.url)
        assert [price.choice.lookup_key for price in standing if price.is_new] == [
            "nija_pro_monthly"
        ]
        assert asked(standin)["nija_pro_monthly"] == (149_00, "usd", "month")
        assert len(standin.products()) == len(list(Tier)) - 1, "of the same product"


async def test_what_a_person_can_mend_is_said_in_a_sentence() -> None:
    assert await nija_said("stripe", "make-prices") == (1, "NIJA_STRIPE_SECRET_KEY is not set.\n")
    code, said = await nija_said(
        "stripe",
        "make-prices",
        NIJA_STRIPE_SECRET_KEY=KEY,
        NIJA_STRIPE_API_BASE="http://127.0.0.1:9",
    )
    assert code == 1
    assert "Traceback" not in said
    assert "run this again" in said


async def test_without_its_price_a_plan_cannot_be_bought_and_the_log_says_what_to_do() -> None:
    async with stripe_standin(FakeWall().now) as standin:
        transport = make_transport()
        book = PriceBook(make_client(KEY, transport, api_base=standin.url))
        with pytest.raises(ProviderMisconfigured, match="nija stripe make-prices"):
            await book.price_of(PAID_CHOICES[0])
        await transport.close_async()  # type: ignore[no-untyped-call]  # untyped there
