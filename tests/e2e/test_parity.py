"""The same bars in give the same orders out: a live run and a paper run of one recorded morning.

Both run the worker's own code against fresh servers and a market that stands still until everybody
has finished with the minute. The live one trades at the exchange simulator through ccxt, the paper
one against the same books through its own ledger.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.embedded.temporal import EmbeddedTemporal
from domain.markets import Mode
from domain.ports import VenueCredentials
from domain.strategies.apex import ExitPlan
from services.database import Database
from tests.support.databases import fresh_database
from tests.support.platform import Platform, stepped_platform
from tests.support.simulator_process import Simulator, running_simulator
from tests.support.stack import temporal_server
from tests.support.traders import PAIRS, Trader, add_trader

pytestmark = [
    pytest.mark.integration,
    pytest.mark.e2e,
    pytest.mark.skipif(
        not os.environ.get("NIJA_MARKET_DATA_DIR"),
        reason="NIJA_MARKET_DATA_DIR is not set: the recorded candles are needed",
    ),
]

START = "2018-04-05T08:40:00Z"
MINUTES = 90
FEE_TIER = "vip"  # taker 0.10 %, maker 0.06 %
FEES = {"paper_taker_fee_rate": Decimal("0.001"), "paper_maker_fee_rate": Decimal("0.0006")}
Row = Mapping[str, Any]

# Ids, wall times and the epoch differ between two runs by nature; nothing else may.
EVALUATIONS = """
SELECT symbol, bar_at, config_hash, code_version, side, score, record
FROM evaluations ORDER BY bar_at, symbol"""
DECISIONS = """
SELECT symbol, bar_at, decided_at, action, score, reason, gates, cause
FROM decisions ORDER BY bar_at, symbol"""
ORDERS = """
SELECT o.symbol, o.leg, o.side, o.attempt, o.type, o.quantity, o.limit_price, o.state,
       o.filled_quantity, o.refusal_code, o.venue_sent_at
FROM orders o JOIN positions p ON p.id = o.position_id
ORDER BY o.venue_sent_at, o.symbol, o.leg, o.attempt"""
FILLS = """
SELECT symbol, side, price, quantity, fee, fee_currency, liquidity, filled_at
FROM fills ORDER BY filled_at, symbol, side, price, quantity"""
POSITIONS = """
SELECT symbol, side, state, decision_price, planned_quantity, entry_quantity, entry_notional,
       exit_notional, fees, realized_pnl, exit_reason, stop_loss, take_profit, opened_at, closed_at
FROM positions ORDER BY opened_at, symbol"""
EQUITY = "SELECT at, cash, equity, unrealized_pnl FROM equity_snapshots ORDER BY at"
BALANCES = "SELECT currency, total FROM balances WHERE total <> 0 ORDER BY currency"
COMPARED = {
    "evaluations": EVALUATIONS,
    "decisions": DECISIONS,
    "orders": ORDERS,
    "fills": FILLS,
    "positions": POSITIONS,
    "equity": EQUITY,
    "balances": BALANCES,
}


@dataclass(frozen=True)
class Run:
    """What a run left behind: the rows compared, its raw orders and fills, and the venue's dump."""

    rows: Mapping[str, Sequence[Row]]
    positions: Sequence[Row]
    orders: Sequence[Row]
    fills: Sequence[Row]
    venue: Mapping[str, Any] | None
    seconds_per_minute: float


@dataclass(frozen=True)
class Servers:
    """Fresh servers for one run."""

    database: DatabaseUrls
    temporal: EmbeddedTemporal
    simulator: Simulator


@pytest.fixture
def servers(postgres: EmbeddedPostgres) -> Iterator[Mapping[Mode, Servers]]:
    with ExitStack() as stack:
        yield {
            mode: Servers(
                fresh_database(postgres.local_urls),
                stack.enter_context(temporal_server()),
                stack.enter_context(
                    running_simulator(
                        NIJA_MARKET_DATA_DIR=os.environ["NIJA_MARKET_DATA_DIR"],
                        NIJA_REPLAY_START=START,
                        NIJA_SIMULATOR_SYMBOLS=",".join(PAIRS),
                        NIJA_SIMULATOR_FEE_TIER=FEE_TIER,
                    )
                ),
            )
            for mode in Mode
        }


async def test_a_live_and_a_paper_run_of_the_same_candles_do_the_same(
    servers: Mapping[Mode, Servers], capsys: pytest.CaptureFixture[str]
) -> None:
    live, paper = await asyncio.gather(
        *(_run(servers[mode], mode) for mode in (Mode.LIVE, Mode.PAPER))
    )

    with capsys.disabled():
        sys.stdout.write(
            f"\nparity: {MINUTES} minutes, live {live.seconds_per_minute * 1000:.0f} ms and paper "
            f"{paper.seconds_per_minute * 1000:.0f} ms a minute, "
            + ", ".join(f"{len(rows)} {name}" for name, rows in paper.rows.items())
            + "\n"
        )
    for name in COMPARED:
        assert paper.rows[name] == live.rows[name], name
    assert _exit_plans(paper) == _exit_plans(live)
    entered = [row for row in live.rows["decisions"] if row["action"].startswith("enter_")]
    assert len(entered) >= 2, "the slice must contain entries, or nothing was compared"
    assert {row["state"] for row in live.rows["positions"]} == {"closed"}
    _assert_equal_to_the_venue(live)


async def _run(servers: Servers, mode: Mode) -> Run:
    simulator = servers.simulator
    async with stepped_platform(
        servers.database, servers.temporal.address, simulator, **FEES
    ) as platform:
        keys = simulator.open_account({"USD": "10000"})
        trader = await add_trader(
            platform.database, mode=mode, credentials=keys, vault=platform.vault
        )
        spent = await _trade(platform, trader, mode)
        return await _left_behind(platform, spent, keys if mode is Mode.LIVE else None)


async def _trade(platform: Platform, trader: Trader, mode: Mode) -> float:
    """Start, play the slice, stop with everything closed; seconds that each minute took."""
    await platform.trading.start(
        trader.principal,
        broker="coinbase",
        paper_trading=mode is Mode.PAPER,
        risk_profile="medium",
    )
    await platform.settle(PAIRS)
    begun = time.perf_counter()
    for _ in range(MINUTES):
        await platform.advance(PAIRS)
    spent = (time.perf_counter() - begun) / MINUTES
    await platform.trading.stop(trader.principal, close_positions=True, emergency=False)
    await platform.settle(PAIRS)
    return spent


async def _left_behind(
    platform: Platform, seconds_per_minute: float, keys: VenueCredentials | None
) -> Run:
    return Run(
        rows={name: await _rows(platform.database, query) for name, query in COMPARED.items()},
        positions=await _rows(
            platform.database, "SELECT * FROM positions ORDER BY opened_at, symbol"
        ),
        orders=await _rows(platform.database, "SELECT * FROM orders"),
        fills=await _rows(platform.database, "SELECT * FROM fills"),
        venue=platform.simulator.dump(keys) if keys else None,
        seconds_per_minute=seconds_per_minute,
    )


async def _rows(database: Database, query: str) -> Sequence[Row]:
    async with database.as_system() as session:
        connection = await session.connection()
        return [dict(row) for row in (await connection.execute(text(query))).mappings()]


def _exit_plans(run: Run) -> Sequence[ExitPlan]:
    return [ExitPlan.from_record(row["exit_plan"]) for row in run.positions]


def _assert_equal_to_the_venue(live: Run) -> None:
    """Our books of the live account are the venue's books."""
    assert live.venue is not None
    ours = {
        row["client_order_id"]: (row["venue_order_id"], row["state"], row["filled_quantity"])
        for row in live.orders
    }
    theirs = {
        order["client_order_id"]: (
            order["order_id"],
            order["status"].lower(),
            Decimal(order["filled_size"]),
        )
        for order in live.venue["orders"]
    }
    assert ours == theirs

    def key(fill: Row, *names: str) -> tuple[object, ...]:
        return (*(Decimal(fill[name]) for name in names), fill["side"].lower())

    assert sorted(key(fill, "price", "quantity", "fee") for fill in live.fills) == sorted(
        key(fill, "price", "size", "fee") for fill in live.venue["fills"]
    )
    assert {row["currency"]: row["total"] for row in live.rows["balances"]} == {
        currency: Decimal(balance["total"])
        for currency, balance in live.venue["balances"].items()
        if Decimal(balance["total"])
    }
