"""What a bot must keep apart: runs on several accounts, markets quoted in other currencies."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest

from adapters.embedded.postgres_roles import DatabaseUrls
from domain.markets import Mode, Realm
from domain.positions import Direction
from models.connections import Account
from models.ledgers import Balance, PaperBalance
from tests.support.engine import Engine, RunningBot, buy
from tests.support.fake_venue import FakeVenue
from tests.support.traders import OPENING, VENUE
from tests.support.written_bars import written_bars

pytestmark = pytest.mark.integration


async def test_refused_keys_of_a_run_that_only_exits_keep_no_other_run_from_entering(
    engine: Engine,
) -> None:
    bot = await engine.start_bot(mode=Mode.LIVE)
    bars = written_bars(engine)
    await engine.open_position(bot)
    await engine.trading.stop(bot.trader.principal, close_positions=False, emergency=False)
    await _add_paper_account(engine, bot)
    await engine.trading.start(
        bot.trader.principal, broker="coinbase", paper_trading=True, risk_profile="medium"
    )
    await engine.guard(bot)
    engine.account(bot).refuses_keys = True
    bars.write(engine, "BTC-USD", None)
    bars.write(engine, "ETH-USD", Direction.LONG)

    result = await engine.hunt(bot)
    asked = await engine.hunt(bot, buy("BTC-USD"))

    assert (len(result.orders), len(asked.orders)) == (1, 1)
    assert (await engine.bot(bot)).state == "running"


async def test_a_market_in_another_currency_than_the_accounts_is_not_entered(
    shared_database: DatabaseUrls,
) -> None:
    """Equity, limits and P&L are dollars; taken for bitcoins, they buy far too much."""
    engine = Engine(shared_database, FakeVenue("BTC-USD", "ETH-BTC"))
    try:
        market = engine.venue.market
        market.last["ETH-BTC"] = Decimal("0.05")
        rules = replace(market.rules_by_symbol["ETH-BTC"], price_step=Decimal("0.000001"))
        market.rules_by_symbol["ETH-BTC"] = rules
        bars = written_bars(engine)
        bot = await engine.start_bot(balances={"USD": OPENING, "BTC": Decimal(5)})
        await engine.watching.look(market.key)
        bars.write(
            engine,
            "ETH-BTC",
            Direction.LONG,
            close=Decimal("0.05"),
            atr=Decimal("0.001"),
        )

        result = await engine.hunt(bot)
        asked = await engine.hunt(bot, buy("ETH-BTC"))

        assert (result.orders, asked.orders) == ((), ())
        rows = await engine.rows("SELECT reason FROM decisions WHERE run_id = :run", run=bot.run_id)
        assert {row["reason"] for row in rows} == {"pair_not_allowed"}
    finally:
        await engine.close()


async def _add_paper_account(engine: Engine, bot: RunningBot) -> None:
    account_id, user_id, now = uuid4(), bot.trader.user_id, engine.wall.now()
    async with engine.database.as_system() as session:
        session.add(
            Account(
                id=account_id,
                user_id=user_id,
                venue=VENUE,
                realm=Realm.SIMULATED,
                mode=Mode.PAPER,
                created_at=now,
                opening_equity=OPENING,
            )
        )
        await session.flush()
        held = {"account_id": account_id, "currency": "USD", "user_id": user_id, "total": OPENING}
        session.add(Balance.model_validate({**held, "observed_at": now}))
        session.add(PaperBalance.model_validate(held))
    engine.venue.open(account_id, USD=str(OPENING))
