"""The control surface, for loopback peers only: accounts, clock, dump and faults."""

from typing import Final

from simulator.control import faults, venue

ROUTES: Final = [*venue.ROUTES, *faults.ROUTES]
