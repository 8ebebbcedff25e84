"""Manual actions at the venue: users who move money and coins there themselves."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from domain.markets import Mode
from domain.orders import OrderRequest, OrderType, Side, TimeInForce
from simulation.users import SimulatedUser
from simulation.venue import SYMBOLS, Venue

SHARES = (Decimal("0.3"), Decimal("0.7"), Decimal(1))
"""How much of what an account holds of a coin is taken."""


class ManualActions:
    """Deposits, withdrawals and trades that the product is not told of."""

    def __init__(self, users: list[SimulatedUser], venue: Venue, random_: random.Random) -> None:
        self._users = users
        self._venue = venue
        self._random = random_
        self._orders = 0

    async def be_busy(self, until: float) -> None:
        """Move something now and then."""
        while True:
            left = until - asyncio.get_running_loop().time()
            await asyncio.sleep(min(self._random.expovariate(1 / 120.0), max(0.0, left)))
            if asyncio.get_running_loop().time() >= until:
                return
            user = self._random.choice(self._users)
            account = str(user.account_ids[Mode.LIVE])
            match self._random.choice(("in", "out", "coins", "take", "take")):
                case "in":
                    self._venue.move(account, "USD", Decimal(self._random.randrange(10, 5000)))
                case "out":
                    self._venue.move(account, "USD", -Decimal(self._random.randrange(10, 2000)))
                case "coins":
                    self._venue.move(account, "LTC", Decimal(self._random.randrange(1, 9)) / 8)
                case "take":
                    self._take(account)

    def _take(self, account: str) -> None:
        """Sell or withdraw coins that a bot has bought, all or a part."""
        exchange = self._venue.exchange
        held = exchange.balances(account)
        found = [it for it in SYMBOLS if it[:-4] in held and held[it[:-4]].total > 0]
        if not found:
            return
        symbol = self._random.choice(found)
        base, step = symbol[:-4], exchange.market.rules[symbol].base_increment
        share = self._random.choice(SHARES)
        amount = held[base].total * share // step * step
        if self._random.random() < 0.5:
            self._venue.move(account, base, -amount)
            return
        self._orders += 1
        self._venue.trade(
            account,
            OrderRequest(
                client_order_id=f"manual-{self._orders}",
                symbol=symbol,
                side=Side.SELL,
                type=OrderType.MARKET,
                quantity=amount,
                time_in_force=TimeInForce.IOC,
            ),
        )
