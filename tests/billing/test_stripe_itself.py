"""Against Stripe's own test mode, when NIJA_STRIPE_TEST_KEY holds a test key. Not in CI."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from adapters.clock import SystemClock
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.stripe.calls import make_client, make_transport
from adapters.stripe.prices import make_prices
from adapters.stripe.provider import StripeProvider
from domain.billing import SubscriptionStatus
from domain.plans import Tier
from domain.principal import Principal, Role
from models.people import User
from services.billing.commands import Commands
from services.billing.errors import PaymentFailed
from services.billing.refreshing import Refreshing
from services.billing.subscriptions import Subscriptions
from services.billing.views import BillingViews
from services.database import Database
from tests.billing.harness import MONTHLY, YEARLY, FakeBillingWorkflows

KEY = os.environ.get("NIJA_STRIPE_TEST_KEY", "")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not KEY.startswith("sk_test_"), reason="NIJA_STRIPE_TEST_KEY is not set"),
]


@dataclass
class RealTill:
    """Billing on Stripe's test mode, and one user."""

    database: Database
    who: Principal
    subscriptions: Subscriptions
    views: BillingViews


@pytest.fixture
async def till(urls: DatabaseUrls) -> AsyncIterator[RealTill]:
    transport = make_transport()
    await make_prices(make_client(KEY, transport))
    await transport.close_async()  # type: ignore[no-untyped-call]  # untyped there
    clock, database = SystemClock(), Database(urls.app, urls.system, pool_size=3)
    provider = StripeProvider.connect(KEY)
    commands = Commands(
        database,
        provider,
        FakeBillingWorkflows(),
        Refreshing(database, provider, clock),
        clock,
    )
    user_id = uuid4()
    async with database.as_system() as session:
        session.add(
            User(
                id=user_id,
                email=f"{user_id.hex}@example.com",
                full_name="A Test",
                password_hash="-",
                created_at=clock.now(),
            )
        )
    yield RealTill(
        database,
        Principal(user_id, uuid4(), Role.USER),
        Subscriptions(database, commands),
        BillingViews(database, provider, clock),
    )
    await provider.close()
    await database.close()


async def test_upgrade_change_downgrade_and_cancel(till: RealTill) -> None:
    subscriptions, who = till.subscriptions, till.who
    with pytest.raises(PaymentFailed):
        await subscriptions.upgrade(
            who,
            tier=Tier.BASIC,
            interval=MONTHLY,
            payment_method_id="pm_card_chargeCustomerFail",
        )

    first = await subscriptions.upgrade(
        who, tier=Tier.BASIC, interval=MONTHLY, payment_method_id="pm_card_visa"
    )
    assert first.amount_due_now == 49

    second = await subscriptions.upgrade(
        who, tier=Tier.PRO, interval=YEARLY, payment_method_id=None
    )
    assert second.proration_credit < 0
    assert second.amount_due_now == second.amount + second.proration_credit

    down = await subscriptions.downgrade(who, tier=Tier.BASIC, interval=MONTHLY)
    view = await till.views.current(who)
    assert (view.tier, view.scheduled_tier) == ("pro", "basic")
    assert down.effective_at == view.period_end

    assert (await subscriptions.cancel(who, immediately=False)).cancel_at_period_end
    ended = await subscriptions.cancel(who, immediately=True)
    assert ended.refund_amount > 0
    view = await till.views.current(who)
    assert (view.tier, view.status) == ("free", SubscriptionStatus.CANCELED)
    assert len(await till.views.invoices(who, limit=10)) == 2


async def test_credit_of_a_cheaper_period_is_refunded_at_once(till: RealTill) -> None:
    subscriptions, who = till.subscriptions, till.who
    await subscriptions.upgrade(
        who, tier=Tier.BASIC, interval=YEARLY, payment_method_id="pm_card_visa"
    )
    changed = await subscriptions.upgrade(
        who, tier=Tier.PRO, interval=MONTHLY, payment_method_id=None
    )
    assert changed.amount_due_now == 0

    ended = await subscriptions.cancel(who, immediately=True)

    assert 469 <= ended.refund_amount <= 470, "the year, less some seconds"
