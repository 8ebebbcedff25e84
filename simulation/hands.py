"""Somebody else's hands at the venue: users who move money and coins there themselves."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

from domain.markets import Mode
from simulation.users import SimulatedUser
from simulation.venue import Venue


class Hands:
    """Deposits, withdrawals and trades that the product is not told of."""

    def __init__(self, users: list[SimulatedUser], venue: Venue, random_: random.Random) -> None:
        self._users = users
        self._venue = venue
        self._random = random_

    async def be_busy(self, until: float) -> None:
        """Move something now and then."""
        while True:
            left = until - asyncio.get_running_loop().time()
            await asyncio.sleep(min(self._random.expovariate(1 / 400.0), max(0.0, left)))
            if asyncio.get_running_loop().time() >= until:
                return
            user = self._random.choice(self._users)
            account = str(user.account_ids[Mode.LIVE])
            match self._random.choice(("in", "out", "coins")):
                case "in":
                    self._venue.move(account, "USD", Decimal(self._random.randrange(10, 5000)))
                case "out":
                    self._venue.move(account, "USD", -Decimal(self._random.randrange(10, 2000)))
                case "coins":
                    self._venue.move(account, "LTC", Decimal(self._random.randrange(1, 9)) / 8)
