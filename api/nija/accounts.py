"""Which trading account a request is about."""

from __future__ import annotations

from api.kit.container import ApiServices
from api.nija.schemas.account import AccountQuery
from domain.markets import Mode
from services.account_views.choice import AccountChoice
from services.errors import NoBrokerConfigured, UnsupportedBroker

NO_ACCOUNT = (NoBrokerConfigured, UnsupportedBroker)
"""What asking for an account may be refused with."""


def choice_of(services: ApiServices, query: AccountQuery) -> AccountChoice:
    """The choice that a query's `mode` and `broker` make.

    Raises:
        UnsupportedBroker: this installation does not trade there.
    """
    return chosen(services, query.mode, query.broker)


def chosen(services: ApiServices, mode: Mode | None, broker: str | None) -> AccountChoice:
    """The choice of a mode and a venue, as a client writes them.

    Raises:
        UnsupportedBroker: this installation does not trade there.
    """
    venue = broker.lower() if broker is not None else None
    if venue is not None and venue not in services.venues.supported():
        raise UnsupportedBroker(details={"supported": sorted(services.venues.supported())})
    return AccountChoice(mode, venue)
