"""What users and an administrator do, all the time and at any moment, and what they are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text

from domain.alerts import AlertOffer, AlertWish
from domain.contracts.bots import SignalAction
from domain.errors import DomainError
from domain.markets import Mode
from domain.principal import Principal, Role
from models.columns import new_id
from models.controls import KillScope
from services.limits.allowance import Meter
from services.trading.kill_switches import SwitchTarget
from simulation.activities import is_expected
from simulation.cluster import Cluster
from simulation.confirmations import Confirmations, above_size, of_accounts, outside_pairs
from simulation.system import Services
from simulation.trace import Trace
from simulation.users import SimulatedUser
from simulation.venue import SYMBOLS
from simulation.violations import Violation

Outcome = Literal["done", "refused", "lost"]
PARTIAL_SHARE = 0.3
LOOK_SHARE = 0.7
"""How often users look at their positions first; else their alerts may come to nothing."""

READY_SHARE = 0.8
"""How often users first have a bot enter again that they have stopped or paused."""

RACE_SECONDS = 0.8
"""From an alert to its order's way to the venue, with latencies of all parts."""

SIZES = (Decimal(150), Decimal(300), Decimal(500), Decimal(1500))


@dataclass
class Callers:
    """Calls the API as users do."""

    cluster: Cluster
    trace: Trace
    fail: Callable[[Violation], None]
    calls: int = 0

    async def call(
        self, who: str, what: str, make: Callable[[Services], Coroutine[Any, Any, Any]]
    ) -> tuple[Outcome, Any]:
        """Make one call; what it answered, or that nobody knows what became of it."""
        self.calls += 1
        api = await self.cluster.api()
        task = api.process.spawn(make(api.services))
        await asyncio.wait({task, api.process.death}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() or task.cancelled() or not api.process.is_alive:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self.trace.add(who, f"{what}: no answer")
            return "lost", None
        failure = task.exception()
        if failure is None:
            self.trace.add(who, f"{what}: done")
            return "done", task.result()
        self.trace.add(who, f"{what}: {type(failure).__name__} {failure}")
        if isinstance(failure, DomainError):
            return "refused", failure
        if not is_expected(failure):
            self.fail(Violation("unexpected_error", f"{what}: {type(failure).__name__}: {failure}"))
        return "lost", None


class UserActions:
    """One user's doings.

    Args:
        user: the user.
        callers: how calls are made.
        confirmations: what the user is told is kept there.
        price_of: the venue's last price.
        random_: what the user does next.
    """

    def __init__(
        self,
        user: SimulatedUser,
        callers: Callers,
        confirmations: Confirmations,
        price_of: Callable[[str], Decimal],
        random_: random.Random,
    ) -> None:
        self._user = user
        self._callers = callers
        self._confirmations = confirmations
        self._price_of = price_of
        self._random = random_
        self._is_halted = False
        self._doings: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (30, self.alert),
            (14, self.storm),
            (8, self.race),
            (5, self.start),
            (2, self.stop),
            (2, self.pause),
            (3, self.resume),
            (1, self.emergency_stop),
            (2, self.release),
            (3, self.change_size),
            (2, self.change_pairs),
            (6, self.close_position),
            (6, self.modify_position),
        )

    async def act(self) -> None:
        """Do something; mostly after a look, and with a bot that may enter."""
        if self._is_halted and self._random.random() < READY_SHARE:
            await self.make_ready()
        elif self._random.random() < LOOK_SHARE:
            await self._look()
        weights = [weight for weight, _ in self._doings]
        (doing,) = self._random.choices(self._doings, weights)
        await doing[1]()

    async def _call(
        self, what: str, make: Callable[[Services], Coroutine[Any, Any, Any]]
    ) -> tuple[Outcome, Any]:
        return await self._callers.call(self._user.name, what, make)

    # --- the bot ----------------------------------------------------------------------------

    async def start(self, mode: Mode | None = None) -> None:
        """Start the bot, mostly live."""
        user, picked = self._user, mode
        if picked is None:
            picked = Mode.PAPER if self._random.random() < 0.25 else Mode.LIVE
        for what in ("stop", "emergency stop", "pause"):
            self._confirmations.end(user.name, what)
        risk = self._random.choice(("medium", "high"))
        await self._call(
            f"start {picked}",
            lambda services: services.trading.start(
                user.principal,
                broker="coinbase",
                paper_trading=picked is Mode.PAPER,
                risk_profile=risk,
            ),
        )

    async def stop(self) -> None:
        """Stop, with or without closing."""
        closes = self._random.random() < 0.5
        await self._stop(closes=closes)

    async def _stop(self, *, closes: bool) -> None:
        outcome, _ = await self._call(
            f"stop closes={closes}",
            lambda services: services.trading.stop(
                self._user.principal, close_positions=closes, emergency=False
            ),
        )
        if outcome == "done":
            self._confirm_no_entries("stop")

    async def pause(self) -> None:
        """Pause entries."""
        outcome, _ = await self._call(
            "pause", lambda services: services.trading.pause(self._user.principal)
        )
        if outcome == "done":
            self._confirm_no_entries("pause")

    async def resume(self) -> None:
        """Go on."""
        self._confirmations.end(self._user.name, "pause")
        await self._call("resume", lambda services: services.trading.resume(self._user.principal))

    async def emergency_stop(self) -> None:
        """Stop in an emergency."""
        closes = self._random.random() < 0.7
        outcome, _ = await self._call(
            f"emergency stop closes={closes}",
            lambda services: services.trading.emergency_stop(
                self._user.principal, reason="I said so", close_positions=closes
            ),
        )
        if outcome == "done":
            self._confirm_no_entries("emergency stop")

    async def release(self) -> None:
        """Release the emergency stop; the bot is stopped then."""
        await self._call(
            "release",
            lambda services: services.trading.release(self._user.principal, reason="fine again"),
        )

    def _confirm_no_entries(self, what: str) -> None:
        self._is_halted = True
        self._confirmations.make(self._user.name, what, of_accounts(*self._user.accounts))

    # --- settings ---------------------------------------------------------------------------

    async def shrink(self) -> None:
        """The smallest size of a position."""
        await self.change_size(SIZES[0] / 3)

    async def change_size(self, size: Decimal | None = None) -> None:
        """Another size of a position."""
        size = size or self._random.choice(SIZES)
        self._confirmations.end(self._user.name, "size")
        outcome, _ = await self._call(
            f"size {size}",
            lambda services: services.settings.update(
                self._user.principal, {"max_position_size_usd": size}
            ),
        )
        if outcome == "done":
            forbids = above_size(self._user.accounts, size, self._price_of)
            self._confirmations.make(self._user.name, "size", forbids)

    async def drop_pairs(self) -> None:
        """Pairs that were not allowed before, and none that were."""
        others = [symbol for symbol in SYMBOLS if symbol not in self._user.pairs]
        await self.change_pairs(others[:3] or [SYMBOLS[0]])

    async def change_pairs(self, pairs: list[str] | None = None) -> None:
        """Other pairs."""
        pairs = pairs or sorted(self._random.sample(SYMBOLS, self._random.choice((2, 3, 4))))
        self._confirmations.end(self._user.name, "pairs")
        outcome, _ = await self._call(
            f"pairs {' '.join(pairs)}",
            lambda services: services.settings.update(
                self._user.principal, {"allowed_pairs": pairs}
            ),
        )
        if outcome == "done":
            self._user.pairs = tuple(pairs)
            forbids = outside_pairs(self._user.accounts, frozenset(pairs))
            self._confirmations.make(self._user.name, "pairs", forbids)

    # --- alerts -----------------------------------------------------------------------------

    async def alert(self) -> None:
        """Raise one alert; now and then the same once more."""
        wish = self._wish()
        await self._send(wish)
        if self._random.random() < 0.1:
            await self._send(wish)

    async def storm(self) -> None:
        """Raise alerts for every pair at once."""
        wishes = [self._wish(symbol) for symbol in self._user.pairs]
        await asyncio.gather(*(self._send(wish) for wish in wishes))

    async def race(self) -> None:
        """Ask for entries, and a moment later for what forbids them.

        It falls before, between or after their intents and their sending. Then it is undone, or the
        bot would enter nothing any more.
        """
        forbidding = self._random.choice(
            (self._stop_openly, self.pause, self.emergency_stop, self.shrink, self.drop_pairs)
        )
        wishes = [self._wish(symbol, SignalAction.BUY) for symbol in self._user.pairs]
        sends = [asyncio.create_task(self._send(wish)) for wish in wishes]
        await asyncio.sleep(self._random.uniform(0.0, RACE_SECONDS))
        await forbidding()
        await asyncio.gather(*sends)
        await asyncio.sleep(self._random.choice((0.5, 5.0, 30.0)))
        await self.make_ready()

    async def _stop_openly(self) -> None:
        await self._stop(closes=False)

    async def make_ready(self) -> None:
        """Have the bot enter again, whatever keeps it from that."""
        self._is_halted = False
        await self.release()
        await self.start(Mode.LIVE)
        await self.resume()

    def _wish(self, symbol: str | None = None, action: SignalAction | None = None) -> AlertWish:
        user, random_ = self._user, self._random
        user.alerts += 1
        symbol = symbol or random_.choice(user.pairs)
        if action is None:
            # Mostly what the last alert of the pair leaves to be done.
            is_in = symbol in user.entered
            weights = (1, 8, 2) if is_in else (9, 1, 0)
            action = random_.choices(
                (SignalAction.BUY, SignalAction.CLOSE, SignalAction.SELL), weights
            )[0]
        is_partial = action is SignalAction.CLOSE and random_.random() < PARTIAL_SHARE
        percent = Decimal(random_.choice((20, 50, 75))) if is_partial else None
        is_decorated = random_.random() < 0.3
        if action is SignalAction.BUY or is_partial:
            user.entered.add(symbol)
        else:
            user.entered.discard(symbol)
        return AlertWish(
            percent=percent,
            symbol=symbol,
            action=action,
            size_usd=Decimal(random_.choice((40, 120, 700))) if is_decorated else None,
            reference=f"{user.name}-{user.alerts}" if random_.random() < 0.8 else None,
        )

    async def _send(self, wish: AlertWish) -> None:
        await self._call(
            f"alert {wish.action} {wish.symbol}",
            lambda services: services.intake.receive(
                self._user.key, AlertOffer(wish=wish), Meter()
            ),
        )

    # --- positions --------------------------------------------------------------------------

    async def close_position(self) -> None:
        """Close one of the open positions."""
        if (position := await self._some_position()) is not None:
            await self._call(
                f"close {position[1]}",
                lambda services: services.trading.close_position(self._user.principal, position[0]),
            )

    async def modify_position(self) -> None:
        """Move the stop or the target near the price, so that it is reached soon."""
        if (position := await self._some_position()) is None:
            return
        price = self._price_of(position[1])
        near = Decimal(self._random.choice(("0.0004", "0.001", "0.003", "0.01")))
        is_stop = self._random.random() < 0.6
        await self._call(
            f"{'stop' if is_stop else 'target'} of {position[1]} {near} away",
            lambda services: services.trading.modify_position(
                self._user.principal,
                position[0],
                stop_loss=price * (1 - near) if is_stop else None,
                take_profit=None if is_stop else price * (1 + near),
            ),
        )

    async def _look(self) -> None:
        """See what is open: what the user believed may never have been bought, or be sold."""
        positions = await self._positions()
        if positions is not None:
            self._user.entered = {symbol for _, symbol in positions}

    async def _some_position(self) -> tuple[UUID, str] | None:
        positions = await self._positions()
        return self._random.choice(positions) if positions else None

    async def _positions(self) -> list[tuple[UUID, str]] | None:
        """What is open; None where there was no answer."""

        async def read(services: Services) -> list[tuple[UUID, str]]:
            async with services.database.for_user(self._user.user_id) as session:
                connection = await session.connection()
                found = await connection.execute(
                    text("SELECT id, symbol FROM positions WHERE state = 'open' ORDER BY id")
                )
                return [(row.id, row.symbol) for row in found]

        outcome, positions = await self._call("reads positions", read)
        return positions if outcome == "done" else None


class Administrator:
    """Engages and releases kill switches."""

    def __init__(
        self,
        users: list[SimulatedUser],
        callers: Callers,
        confirmations: Confirmations,
        random_: random.Random,
    ) -> None:
        self._users = users
        self._callers = callers
        self._confirmations = confirmations
        self._random = random_
        self._principal = Principal(users[0].user_id, new_id(), Role.ADMIN)

    async def engage_and_release(self) -> None:
        """Stop somebody, or everybody, for a while."""
        is_global = self._random.random() < 0.3
        covered = self._users if is_global else [self._random.choice(self._users)]
        target = SwitchTarget() if is_global else SwitchTarget(KillScope.USER, covered[0].user_id)
        closes = self._random.random() < 0.6
        name = f"kill switch {target.scope.value} {covered[0].name}"
        outcome, _ = await self._callers.call(
            "admin",
            f"{name} closes={closes}",
            lambda services: services.switches.engage(
                self._principal,
                target,
                reason="a drill",
                close_positions=closes,
                notify_users=True,
            ),
        )
        if outcome == "done":
            accounts = tuple(account for user in covered for account in user.accounts)
            self._confirmations.make("admin", name, of_accounts(*accounts))
        await asyncio.sleep(self._random.choice((5.0, 40.0, 200.0)))
        await self.release(target, name)

    async def release(self, target: SwitchTarget, name: str) -> None:
        """Let entries pass again, however often it takes."""
        self._confirmations.end("admin", name)
        outcome: Outcome = "lost"
        while outcome == "lost":
            outcome, _ = await self._callers.call(
                "admin",
                f"release {name}",
                lambda services: services.switches.release(
                    self._principal, target, reason="the drill is over"
                ),
            )
            await asyncio.sleep(1.0)
