"""The control surface, for loopback peers only: accounts, clock, dump, faults and hands."""

from typing import Final

from simulator.control import faults, hands, venue

ROUTES: Final = [*venue.ROUTES, *faults.ROUTES, *hands.ROUTES]
