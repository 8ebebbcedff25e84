"""Hand-written stand-ins for what the API reaches through ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.alerts import TakenAlert
from domain.contracts.bots import BotSignal, Nudge, TradeSignal
from domain.markets import MarketRules, Quote, VenueClock, VenueKey
from domain.orders import Balances, CurrencyBalance, OrderReport, OrderState, Side
from domain.ports import (
    AccountRef,
    CredentialSource,
    KeyPermissions,
    VenueCredentials,
    VenueRefusedKeys,
    VenueUnavailable,
    WorkflowServiceUnavailable,
)
from domain.principal import Principal
from services.trading.commands import (
    BotStatusChange,
    CloseResult,
    EmergencyResult,
    StartResult,
    StopResult,
)

TRADING_ONLY = KeyPermissions(can_read=True, can_trade=True, can_withdraw=False)
VENUE_NOW = datetime(2018, 4, 4, 12, 0, tzinfo=UTC)


class FakeClock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **parts: float) -> None:
        self.moment += timedelta(**parts)


@dataclass
class FakeVenueAccount:
    """What a set of keys opens."""

    permits: KeyPermissions = TRADING_ONLY
    holds: Mapping[str, str] = field(default_factory=lambda: {"USD": "5000", "BTC": "0.5"})
    orders: set[str] = field(default_factory=set)
    closed: int = 0

    async def permissions(self) -> KeyPermissions:
        return self.permits

    async def balances(self) -> Balances:
        return {
            currency: CurrencyBalance(currency, Decimal(total))
            for currency, total in self.holds.items()
        }

    async def order(self, venue_order_id: str, symbol: str) -> OrderReport | None:
        if venue_order_id not in self.orders:
            return None
        return OrderReport(
            venue_order_id, None, symbol, Side.BUY, OrderState.FILLED, None, Decimal(1)
        )

    async def close(self) -> None:
        self.closed += 1


@dataclass
class FakeMarket:
    """Public data of the one venue."""

    prices: dict[str, str] = field(default_factory=lambda: {"BTC-USD": "7000", "ETH-USD": "400"})
    is_down: bool = False
    paused: set[str] = field(default_factory=set)
    """Markets that took no orders when the list was last read; asked anew, all do."""

    async def clock(self) -> VenueClock:
        return VenueClock(VENUE_NOW, "epoch-1")

    async def rules(self) -> Mapping[str, MarketRules]:
        if self.is_down:
            raise VenueUnavailable("down")
        step = Decimal("0.01")
        return {
            symbol: MarketRules(
                symbol,
                symbol[:3],
                symbol[4:],
                step,
                step,
                step,
                step,
                active=symbol not in self.paused,
            )
            for symbol in (*self.prices, "SOL-USD", "ETH-BTC")
        }

    async def fresh_rules(self) -> Mapping[str, MarketRules]:
        self.paused.clear()
        return await self.rules()

    async def quote(self, symbol: str) -> Quote:
        price = self.prices.get(symbol)
        if price is None:
            raise VenueUnavailable(symbol)
        value = Decimal(price)
        return Quote(symbol, value, value, value, VENUE_NOW)

    async def quotes(self, symbols: Sequence[str], *, at: datetime) -> Mapping[str, Quote]:
        return {symbol: await self.quote(symbol) for symbol in symbols if symbol in self.prices}


class FakeVenues:
    """One venue, with accounts by API key."""

    def __init__(self, stored: CredentialSource) -> None:
        self.market = FakeMarket()
        self._stored = stored
        self.accounts: dict[str, FakeVenueAccount] = {}
        self.unusable: str | None = None
        """What is wrong with the form of keys, if anything."""
        self.is_down = False

    def supported(self) -> Mapping[str, str]:
        return {"coinbase": "Coinbase Advanced Trade"}

    def market_data(self, key: VenueKey) -> Any:
        return self.market

    def usable_keys(self, key: VenueKey, credentials: VenueCredentials) -> VenueCredentials:
        if self.unusable is not None:
            raise VenueRefusedKeys(self.unusable)
        return VenueCredentials(
            credentials.api_key.strip(), credentials.api_secret.strip(), credentials.params
        )

    async def account_with(self, key: VenueKey, credentials: VenueCredentials) -> Any:
        if self.is_down:
            raise VenueUnavailable("down")
        account = self.accounts.get(credentials.api_key)
        if account is None:
            raise VenueRefusedKeys("unknown key")
        return account

    async def account(self, ref: AccountRef) -> Any:
        if ref.connection_id is None:
            raise LookupError("accounts on paper have no keys")
        keys = await self._stored.credentials(ref.user_id, ref.connection_id)
        return await self.account_with(VenueKey(ref.venue, ref.realm), keys)

    async def close(self) -> None:
        return None


@dataclass
class FakeDispatch:
    """Remembers which alerts were to be handed on."""

    taken: list[TakenAlert] = field(default_factory=list)

    def submit(self, alert: TakenAlert) -> None:
        self.taken.append(alert)

    async def close(self) -> None:
        return


class FakeWorkflows:
    """A workflow service that answers, or not."""

    def __init__(self) -> None:
        self.is_up = True

    async def is_available(self) -> bool:
        return self.is_up

    async def signal_bot(
        self, user_id: UUID, bot_id: UUID, signal: BotSignal, message: Nudge | TradeSignal
    ) -> None:
        if not self.is_up:
            raise WorkflowServiceUnavailable

    async def wake_exits(self, user_id: UUID, bot_id: UUID) -> None:
        if not self.is_up:
            raise WorkflowServiceUnavailable

    async def ensure_watch(self, key: VenueKey) -> None:
        return None


class FakeTrading:
    """Notes every command; fails where it was told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.failure: Exception | None = None
        self.pause_first: Any = None

    async def _note(self, name: str, **arguments: Any) -> None:
        self.calls.append((name, arguments))
        if self.pause_first is not None:
            await self.pause_first()
        if self.failure is not None:
            raise self.failure

    async def start(
        self,
        principal: Principal,
        *,
        broker: str | None,
        paper_trading: bool | None,
        risk_profile: str | None,
    ) -> StartResult:
        await self._note(
            "start",
            user_id=principal.user_id,
            broker=broker,
            paper_trading=paper_trading,
            risk_profile=risk_profile,
        )
        return StartResult("starting", "Trading bot is starting", 10)

    async def stop(
        self, principal: Principal, *, close_positions: bool, emergency: bool
    ) -> StopResult:
        await self._note("stop", close_positions=close_positions, emergency=emergency)
        return StopResult(
            "stopped", "Trading bot stopped", 3, "Manual position closure recommended"
        )

    async def emergency_stop(
        self, principal: Principal, *, reason: str, close_positions: bool
    ) -> EmergencyResult:
        await self._note("emergency_stop", reason=reason, close_positions=close_positions)
        return EmergencyResult("emergency_stopped", 3, 0, "Emergency stop activated")

    async def release(self, principal: Principal, *, reason: str) -> BotStatusChange:
        await self._note("release", reason=reason)
        return BotStatusChange("stopped", "Released")

    async def pause(self, principal: Principal) -> BotStatusChange:
        await self._note("pause")
        return BotStatusChange("paused", "Paused")

    async def resume(self, principal: Principal) -> BotStatusChange:
        await self._note("resume")
        return BotStatusChange("running", "Resumed")

    async def close_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        percent: Decimal | None,
        quantity: Decimal | None,
        command_id: UUID,
    ) -> CloseResult:
        asked = {"percent": percent, "quantity": quantity}
        await self._note("close_position", position_id=position_id, **asked)
        return CloseResult(position_id, "closing", "Closing", Decimal("0.5"))

    async def write_off_position(self, principal: Principal, position_id: UUID) -> CloseResult:
        await self._note("write_off_position", position_id=position_id)
        return CloseResult(position_id, "written_off", "Written off")

    async def modify_position(
        self,
        principal: Principal,
        position_id: UUID,
        *,
        stop_loss: Decimal | None,
        take_profit: Decimal | None,
    ) -> None:
        await self._note(
            "modify_position",
            position_id=position_id,
            stop_loss=stop_loss,
            take_profit=take_profit,
        )

    async def settings_changed(self, principal: Principal) -> None:
        await self._note("settings_changed")

    async def connection_removed(self, principal: Principal, connection_id: UUID) -> None:
        await self._note("connection_removed", connection_id=connection_id)


@dataclass
class FakeDeletions:
    """Remembers whose deletion was started."""

    started: list[UUID] = field(default_factory=list)
    is_down: bool = False

    async def start_deletion(self, user_id: UUID) -> None:
        if self.is_down:
            raise WorkflowServiceUnavailable("down")
        self.started.append(user_id)
