"""Alerts put together over a real PostgreSQL and the engine with its fake venue."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from adapters.embedded.postgres_roles import DatabaseUrls
from api.nija.schemas.webhooks import parse_alert
from domain.contracts.alerts import SignalResult
from domain.ports import WorkflowServiceUnavailable
from services.alerts.following import AlertFollowing
from services.alerts.intake import AlertIntake, Receipt
from services.alerts.keys import WebhookKeys
from services.alerts.sweeping import AlertSweep
from services.alerts.views import AlertViews
from services.limits.allowance import Meter
from services.reads import Reads
from tests.api.fakes import FakeDispatch
from tests.api.harness import ALERT_AGE as AGE
from tests.api.harness import ALERTS_A_MINUTE as A_MINUTE
from tests.support.engine import Engine, RunningBot
from tests.support.traders import PAIRS, Trader
from tests.support.written_bars import written_bars

EXIT_SECONDS = 20.0
"""However busy the machine is, answers wait for their exits."""


@dataclass
class FakeAlertWorkflows:
    """Remembers what is followed; may be away."""

    followed: list[UUID] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    is_away: bool = False

    async def follow_alert(self, user_id: UUID, alert_id: UUID, *, delay_seconds: float) -> None:
        if self.is_away:
            raise WorkflowServiceUnavailable
        self.followed.append(alert_id)
        self.delays.append(delay_seconds)


@dataclass
class Desk:
    """Everything an alert goes through, and ways to look at its row."""

    engine: Engine
    reads: Reads
    dispatch: FakeDispatch
    workflows: FakeAlertWorkflows
    intake: AlertIntake
    keys: WebhookKeys
    views: AlertViews
    following: AlertFollowing
    sweep: AlertSweep

    async def key(self, trader: Trader, *, overlap: timedelta = timedelta(0)) -> str:
        return (await self.keys.issue(trader.principal, overlap=overlap)).secret

    async def bot_with_key(self, **options: Any) -> tuple[RunningBot, str]:
        bot = await self.engine.start_bot(**options)
        return bot, await self.key(bot.trader)

    async def send(
        self, key: str, *, symbol: str = "BTC-USD", action: str = "buy", **fields: Any
    ) -> Receipt:
        """What the route does with a body."""
        body = {"symbol": symbol, "action": action, "api_key": key, **fields}
        return await self.send_raw(json.dumps(body).encode())

    async def send_raw(self, body: bytes) -> Receipt:
        """The same with a body of any form."""
        key, offer = parse_alert(body)
        return await self.intake.receive(key, offer, Meter())

    async def follow(self, bot: RunningBot, alert_id: UUID) -> SignalResult:
        return await self.following.follow(bot.trader.user_id, alert_id)

    async def alert(self, alert_id: UUID) -> Mapping[str, Any]:
        (row,) = await self.engine.rows("SELECT * FROM alerts WHERE id = :id", id=alert_id)
        return row

    async def alerts(self, trader: Trader) -> Sequence[Mapping[str, Any]]:
        return await self.engine.rows(
            "SELECT * FROM alerts WHERE user_id = :id ORDER BY received_at, id", id=trader.user_id
        )

    async def decisions(self, bot: RunningBot) -> dict[str, tuple[str, str]]:
        rows = await self.engine.rows(
            "SELECT cause, action, reason FROM decisions WHERE bot_id = :id", id=bot.bot_id
        )
        return {row["cause"]: (row["action"], row["reason"]) for row in rows}


@asynccontextmanager
async def open_desk(urls: DatabaseUrls) -> AsyncIterator[Desk]:
    engine = Engine(urls)
    bars = written_bars(engine)
    for symbol in PAIRS:
        bars.write(engine, symbol, None)
    reads = Reads(urls.app, engine.wall, pool_size=2)
    await reads.open()
    dispatch, workflows = FakeDispatch(), FakeAlertWorkflows()
    intake = AlertIntake(
        urls.app,
        urls.system,
        engine.database,
        engine.wall,
        dispatch,
        age_max=AGE,
        a_minute=A_MINUTE,
        exit_seconds=EXIT_SECONDS,
    )
    await intake.open()
    following = AlertFollowing(engine.database, engine.workflows, engine.wall)
    try:
        yield Desk(
            engine=engine,
            reads=reads,
            dispatch=dispatch,
            workflows=workflows,
            intake=intake,
            keys=WebhookKeys(engine.database, reads, engine.wall),
            views=AlertViews(reads),
            following=following,
            sweep=AlertSweep(engine.database, engine.workflows, workflows, following, engine.wall),
        )
    finally:
        await intake.close()
        await reads.close()
        await engine.close()
