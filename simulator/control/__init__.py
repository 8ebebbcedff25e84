"""The control surface, for loopback peers only: accounts, clock, dump, faults, manual actions."""

from typing import Final

from simulator.control import faults, manual_actions, venue

ROUTES: Final = [*venue.ROUTES, *faults.ROUTES, *manual_actions.ROUTES]
