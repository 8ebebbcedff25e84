"""What the dialects are handed: `bootstrap` builds it, tests build their own."""

from __future__ import annotations

from typing import Protocol

from fastapi import Request

from api.kit.trading import TradingCommands
from domain.ports import Venues, WallClock
from services.account_views import AccountViews
from services.analytics.views import Analytics
from services.bot_views import BotViews
from services.connections import Connections
from services.database import Database
from services.exports.requests import Exports
from services.idempotency import IdempotencyKeys
from services.identity.identity import Identity
from services.paper_accounts import PaperAccounts
from services.reads import Reads
from services.user_settings import UserSettingsService


class Availability(Protocol):
    """Something that can be asked whether it answers."""

    async def is_available(self) -> bool:
        """Whether it answers at present."""
        ...


class ApiServices(Protocol):
    """The services behind every route; a container may hold more."""

    @property
    def clock(self) -> WallClock:
        """The time in envelopes."""
        ...

    @property
    def database(self) -> Database:
        """Asked by /ready only."""
        ...

    @property
    def reads(self) -> Reads:
        """The read side, and with it the check of a caller's session."""
        ...

    @property
    def venues(self) -> Venues:
        """The venues of this installation."""
        ...

    @property
    def workflows(self) -> Availability:
        """Asked by /ready only."""
        ...

    @property
    def identity(self) -> Identity:
        """People, sessions, tokens."""
        ...

    @property
    def idempotency(self) -> IdempotencyKeys:
        """First answers to mutating calls."""
        ...

    @property
    def user_settings(self) -> UserSettingsService:
        """Trading settings of a user."""
        ...

    @property
    def connections(self) -> Connections:
        """Venue keys of a user."""
        ...

    @property
    def paper(self) -> PaperAccounts:
        """Opening and resetting paper accounts."""
        ...

    @property
    def views(self) -> AccountViews:
        """Balance, positions, history, performance, statistics."""
        ...

    @property
    def analytics(self) -> Analytics:
        """Dashboard and trade analytics."""
        ...

    @property
    def exports(self) -> Exports:
        """Files of a user's data."""
        ...

    @property
    def bot_views(self) -> BotViews:
        """Status and decisions."""
        ...

    @property
    def trading(self) -> TradingCommands:
        """Commands to the bot."""
        ...


async def services_of(request: Request) -> ApiServices:
    """The container of the application that serves this request."""
    services: ApiServices = request.app.state.services
    return services
