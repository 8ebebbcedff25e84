"""Trading. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Resource

_START = Operation("POST", "/trading/start", keyed=True)
_STOP = Operation("POST", "/trading/stop", keyed=True)
_STATUS = Operation("GET", "/trading/status")
_EMERGENCY_STOP = Operation("POST", "/trading/emergency-stop", keyed=True)
_RELEASE_EMERGENCY_STOP = Operation("POST", "/trading/emergency-stop/release", keyed=True)
_PAUSE = Operation("POST", "/trading/pause", keyed=True)
_RESUME = Operation("POST", "/trading/resume", keyed=True)
_DECISIONS = Operation("GET", "/trading/decisions")


class Trading(Resource):
    """Trading."""

    def start(
        self,
        *,
        broker: str | None = None,
        paper_trading: bool | None = None,
        risk_profile: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.StartView:
        """Start the bot; fields that are left out come from the settings.

        Args:
            broker: Such as `coinbase`.
            paper_trading: Paper trading.
            risk_profile: low, medium or high
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _START,
            models.StartView,
            body={"broker": broker, "paper_trading": paper_trading, "risk_profile": risk_profile},
            idempotency_key=idempotency_key,
        )

    def stop(
        self,
        *,
        close_positions: bool | None = None,
        emergency: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.StopView:
        """Stop entries at once; positions are left to their exits unless they are to be closed.

        Args:
            close_positions: Close positions now instead of leaving them to their exits.
            emergency: Do what emergency-stop does.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _STOP,
            models.StopView,
            body={"close_positions": close_positions, "emergency": emergency},
            idempotency_key=idempotency_key,
        )

    def status(self) -> models.TradingStatusView:
        """Where the bot stands: stopped, starting, running, paused, error, emergency_stopped."""
        return self._call(
            _STATUS,
            models.TradingStatusView,
        )

    def emergency_stop(
        self,
        *,
        reason: str | None = None,
        close_positions: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.EmergencyView:
        """Block all entries until released, and close positions if asked to.

        Args:
            reason: Such as `Market volatility`.
            close_positions: Close positions, `false` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _EMERGENCY_STOP,
            models.EmergencyView,
            body={"reason": reason, "close_positions": close_positions},
            idempotency_key=idempotency_key,
        )

    def release_emergency_stop(
        self, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> models.BotChangeView:
        """Lift the user's own emergency stop; the bot stays stopped until it is started.

        Args:
            reason: Reason, `released by the user` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _RELEASE_EMERGENCY_STOP,
            models.BotChangeView,
            body={"reason": reason},
            idempotency_key=idempotency_key,
        )

    def pause(self, *, idempotency_key: str | None = None) -> models.BotChangeView:
        """Make no new entries for a while; exits go on.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _PAUSE,
            models.BotChangeView,
            idempotency_key=idempotency_key,
        )

    def resume(self, *, idempotency_key: str | None = None) -> models.BotChangeView:
        """Let a paused bot enter again.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _RESUME,
            models.BotChangeView,
            idempotency_key=idempotency_key,
        )

    def decisions(
        self, *, symbol: str | None = None, limit: int | None = None
    ) -> models.DecisionsView:
        """Why the bot did what it did: the latest decision on each pair, or every one on a pair.

        Args:
            symbol: Every decision on one pair.
            limit: Limit, `50` by default.
        """
        return self._call(
            _DECISIONS,
            models.DecisionsView,
            query={"symbol": symbol, "limit": limit},
        )


class AsyncTrading(AsyncResource):
    """Trading."""

    async def start(
        self,
        *,
        broker: str | None = None,
        paper_trading: bool | None = None,
        risk_profile: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.StartView:
        """Start the bot; fields that are left out come from the settings.

        Args:
            broker: Such as `coinbase`.
            paper_trading: Paper trading.
            risk_profile: low, medium or high
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _START,
            models.StartView,
            body={"broker": broker, "paper_trading": paper_trading, "risk_profile": risk_profile},
            idempotency_key=idempotency_key,
        )

    async def stop(
        self,
        *,
        close_positions: bool | None = None,
        emergency: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.StopView:
        """Stop entries at once; positions are left to their exits unless they are to be closed.

        Args:
            close_positions: Close positions now instead of leaving them to their exits.
            emergency: Do what emergency-stop does.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _STOP,
            models.StopView,
            body={"close_positions": close_positions, "emergency": emergency},
            idempotency_key=idempotency_key,
        )

    async def status(self) -> models.TradingStatusView:
        """Where the bot stands: stopped, starting, running, paused, error, emergency_stopped."""
        return await self._call(
            _STATUS,
            models.TradingStatusView,
        )

    async def emergency_stop(
        self,
        *,
        reason: str | None = None,
        close_positions: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.EmergencyView:
        """Block all entries until released, and close positions if asked to.

        Args:
            reason: Such as `Market volatility`.
            close_positions: Close positions, `false` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _EMERGENCY_STOP,
            models.EmergencyView,
            body={"reason": reason, "close_positions": close_positions},
            idempotency_key=idempotency_key,
        )

    async def release_emergency_stop(
        self, *, reason: str | None = None, idempotency_key: str | None = None
    ) -> models.BotChangeView:
        """Lift the user's own emergency stop; the bot stays stopped until it is started.

        Args:
            reason: Reason, `released by the user` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _RELEASE_EMERGENCY_STOP,
            models.BotChangeView,
            body={"reason": reason},
            idempotency_key=idempotency_key,
        )

    async def pause(self, *, idempotency_key: str | None = None) -> models.BotChangeView:
        """Make no new entries for a while; exits go on.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _PAUSE,
            models.BotChangeView,
            idempotency_key=idempotency_key,
        )

    async def resume(self, *, idempotency_key: str | None = None) -> models.BotChangeView:
        """Let a paused bot enter again.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _RESUME,
            models.BotChangeView,
            idempotency_key=idempotency_key,
        )

    async def decisions(
        self, *, symbol: str | None = None, limit: int | None = None
    ) -> models.DecisionsView:
        """Why the bot did what it did: the latest decision on each pair, or every one on a pair.

        Args:
            symbol: Every decision on one pair.
            limit: Limit, `50` by default.
        """
        return await self._call(
            _DECISIONS,
            models.DecisionsView,
            query={"symbol": symbol, "limit": limit},
        )
