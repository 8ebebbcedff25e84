"""Webhooks. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from typing import Literal

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Moment, Number, Resource

_TRADINGVIEW = Operation("POST", "/webhooks/tradingview", public=True)
_STRIPE = Operation("POST", "/webhooks/stripe", public=True)


class Webhooks(Resource):
    """Webhooks."""

    def tradingview(
        self,
        *,
        symbol: str,
        action: Literal[
            "buy",
            "long",
            "sell",
            "short",
            "close",
            "exit",
            "flat",
            "close_long",
            "exit_long",
            "close_short",
            "exit_short",
        ],
        api_key: str,
        price: Number | str | None = None,
        strategy: str | None = None,
        size_usd: Number | str | None = None,
        quantity: Number | str | None = None,
        percent: Number | str | None = None,
        id: str | None = None,
        time: Moment | None = None,
    ) -> models.AlertReceivedData:
        """Take an alert in.

        Answered as soon as it is durable; `/account/signals` tells its outcome.

        Args:
            symbol: BTC-USD, BTC/USD, BTCUSD or COINBASE:BTCUSD (`{{ticker}}`).
            action: Such as `buy`.
            price: For the record; orders go by quotes.
            strategy: Such as `APEX_V72`.
            size_usd: An entry of at most this, or an exit of this much, in USD.
            quantity: The same in the base currency; goes before percent and size_usd.
            percent: How much of the position an exit closes; entries ignore it.
            id: The same id with the same time is the same alert; without time, for 60 s.
            time: When it was raised (`{{timenow}}`), not the bar's time.
            api_key: Such as `your_webhook_key`.
        """
        return self._call(
            _TRADINGVIEW,
            models.AlertReceivedData,
            body={
                "symbol": symbol,
                "action": action,
                "price": price,
                "strategy": strategy,
                "size_usd": size_usd,
                "quantity": quantity,
                "percent": percent,
                "id": id,
                "time": time,
                "api_key": api_key,
            },
        )

    def stripe(self, payload: bytes, *, stripe_signature: str | None = None) -> models.ReceivedData:
        """Store an event once; a workflow processes it.

        Answered as soon as it is durable.

        Args:
            payload: The body, byte for byte.
            stripe_signature: Stripe-signature.
        """
        return self._call(
            _STRIPE,
            models.ReceivedData,
            headers={"stripe-signature": stripe_signature},
            raw=payload,
        )


class AsyncWebhooks(AsyncResource):
    """Webhooks."""

    async def tradingview(
        self,
        *,
        symbol: str,
        action: Literal[
            "buy",
            "long",
            "sell",
            "short",
            "close",
            "exit",
            "flat",
            "close_long",
            "exit_long",
            "close_short",
            "exit_short",
        ],
        api_key: str,
        price: Number | str | None = None,
        strategy: str | None = None,
        size_usd: Number | str | None = None,
        quantity: Number | str | None = None,
        percent: Number | str | None = None,
        id: str | None = None,
        time: Moment | None = None,
    ) -> models.AlertReceivedData:
        """Take an alert in.

        Answered as soon as it is durable; `/account/signals` tells its outcome.

        Args:
            symbol: BTC-USD, BTC/USD, BTCUSD or COINBASE:BTCUSD (`{{ticker}}`).
            action: Such as `buy`.
            price: For the record; orders go by quotes.
            strategy: Such as `APEX_V72`.
            size_usd: An entry of at most this, or an exit of this much, in USD.
            quantity: The same in the base currency; goes before percent and size_usd.
            percent: How much of the position an exit closes; entries ignore it.
            id: The same id with the same time is the same alert; without time, for 60 s.
            time: When it was raised (`{{timenow}}`), not the bar's time.
            api_key: Such as `your_webhook_key`.
        """
        return await self._call(
            _TRADINGVIEW,
            models.AlertReceivedData,
            body={
                "symbol": symbol,
                "action": action,
                "price": price,
                "strategy": strategy,
                "size_usd": size_usd,
                "quantity": quantity,
                "percent": percent,
                "id": id,
                "time": time,
                "api_key": api_key,
            },
        )

    async def stripe(
        self, payload: bytes, *, stripe_signature: str | None = None
    ) -> models.ReceivedData:
        """Store an event once; a workflow processes it.

        Answered as soon as it is durable.

        Args:
            payload: The body, byte for byte.
            stripe_signature: Stripe-signature.
        """
        return await self._call(
            _STRIPE,
            models.ReceivedData,
            headers={"stripe-signature": stripe_signature},
            raw=payload,
        )
