"""Subscription. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from typing import Literal

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Resource

_PLANS = Operation("GET", "/subscription/plans", public=True)
_CURRENT = Operation("GET", "/subscription/current")
_UPGRADE = Operation("POST", "/subscription/upgrade", keyed=True)
_DOWNGRADE = Operation("POST", "/subscription/downgrade", keyed=True)
_CANCEL = Operation("POST", "/subscription/cancel", keyed=True)
_USAGE = Operation("GET", "/subscription/usage")
_INVOICES = Operation("GET", "/subscription/invoices")
_UPDATE_PAYMENT_METHOD = Operation("PUT", "/subscription/payment-method", keyed=True)


class Subscription(Resource):
    """Subscription."""

    def plans(self) -> models.PlansData:
        """Every plan with its price and limits."""
        return self._call(
            _PLANS,
            models.PlansData,
        )

    def current(self) -> models.CurrentSubscriptionData:
        """Where the subscription stands.

        Its period is the calendar month while nothing is paid.
        """
        return self._call(
            _CURRENT,
            models.CurrentSubscriptionData,
        )

    def upgrade(
        self,
        *,
        tier: Literal["free", "basic", "pro", "enterprise"],
        interval: Literal["monthly", "yearly"],
        payment_method_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.UpgradedData:
        """Change to a higher plan at once, prorated; or take back a cancellation or a downgrade.

        Args:
            tier: Such as `enterprise`.
            interval: Such as `yearly`.
            payment_method_id: May be left out once one is on file.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPGRADE,
            models.UpgradedData,
            body={"tier": tier, "interval": interval, "payment_method_id": payment_method_id},
            idempotency_key=idempotency_key,
        )

    def downgrade(
        self,
        *,
        tier: Literal["free", "basic", "pro", "enterprise"],
        interval: Literal["monthly", "yearly"] | None = None,
        idempotency_key: str | None = None,
    ) -> models.DowngradedData:
        """Change to a lower plan when the paid period ends.

        Args:
            tier: Such as `basic`.
            interval: As it is, if left out.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _DOWNGRADE,
            models.DowngradedData,
            body={"tier": tier, "interval": interval},
            idempotency_key=idempotency_key,
        )

    def cancel(
        self,
        *,
        cancel_immediately: bool | None = None,
        reason: str | None = None,
        feedback: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.CancelledData:
        """End the subscription with its period, or now with the unused rest refunded.

        Args:
            cancel_immediately: Cancel immediately, `false` by default.
            reason: Such as `Too expensive`.
            feedback: Such as `Great product but out of budget`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _CANCEL,
            models.CancelledData,
            body={"cancel_immediately": cancel_immediately, "reason": reason, "feedback": feedback},
            idempotency_key=idempotency_key,
        )

    def usage(self) -> models.UsageData:
        """Use of the plan's limits in the current period, with warnings from 80 % on."""
        return self._call(
            _USAGE,
            models.UsageData,
        )

    def invoices(self, *, limit: int | None = None) -> models.InvoicesData:
        """Bills, newest first.

        Args:
            limit: Limit, `20` by default.
        """
        return self._call(
            _INVOICES,
            models.InvoicesData,
            query={"limit": limit},
        )

    def update_payment_method(
        self, *, payment_method_id: str, idempotency_key: str | None = None
    ) -> models.PaymentMethodData:
        """Pay with another payment method; a bill that is overdue is paid at once.

        Args:
            payment_method_id: Such as `pm_123abc`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPDATE_PAYMENT_METHOD,
            models.PaymentMethodData,
            body={"payment_method_id": payment_method_id},
            idempotency_key=idempotency_key,
        )


class AsyncSubscription(AsyncResource):
    """Subscription."""

    async def plans(self) -> models.PlansData:
        """Every plan with its price and limits."""
        return await self._call(
            _PLANS,
            models.PlansData,
        )

    async def current(self) -> models.CurrentSubscriptionData:
        """Where the subscription stands.

        Its period is the calendar month while nothing is paid.
        """
        return await self._call(
            _CURRENT,
            models.CurrentSubscriptionData,
        )

    async def upgrade(
        self,
        *,
        tier: Literal["free", "basic", "pro", "enterprise"],
        interval: Literal["monthly", "yearly"],
        payment_method_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.UpgradedData:
        """Change to a higher plan at once, prorated; or take back a cancellation or a downgrade.

        Args:
            tier: Such as `enterprise`.
            interval: Such as `yearly`.
            payment_method_id: May be left out once one is on file.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPGRADE,
            models.UpgradedData,
            body={"tier": tier, "interval": interval, "payment_method_id": payment_method_id},
            idempotency_key=idempotency_key,
        )

    async def downgrade(
        self,
        *,
        tier: Literal["free", "basic", "pro", "enterprise"],
        interval: Literal["monthly", "yearly"] | None = None,
        idempotency_key: str | None = None,
    ) -> models.DowngradedData:
        """Change to a lower plan when the paid period ends.

        Args:
            tier: Such as `basic`.
            interval: As it is, if left out.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _DOWNGRADE,
            models.DowngradedData,
            body={"tier": tier, "interval": interval},
            idempotency_key=idempotency_key,
        )

    async def cancel(
        self,
        *,
        cancel_immediately: bool | None = None,
        reason: str | None = None,
        feedback: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.CancelledData:
        """End the subscription with its period, or now with the unused rest refunded.

        Args:
            cancel_immediately: Cancel immediately, `false` by default.
            reason: Such as `Too expensive`.
            feedback: Such as `Great product but out of budget`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _CANCEL,
            models.CancelledData,
            body={"cancel_immediately": cancel_immediately, "reason": reason, "feedback": feedback},
            idempotency_key=idempotency_key,
        )

    async def usage(self) -> models.UsageData:
        """Use of the plan's limits in the current period, with warnings from 80 % on."""
        return await self._call(
            _USAGE,
            models.UsageData,
        )

    async def invoices(self, *, limit: int | None = None) -> models.InvoicesData:
        """Bills, newest first.

        Args:
            limit: Limit, `20` by default.
        """
        return await self._call(
            _INVOICES,
            models.InvoicesData,
            query={"limit": limit},
        )

    async def update_payment_method(
        self, *, payment_method_id: str, idempotency_key: str | None = None
    ) -> models.PaymentMethodData:
        """Pay with another payment method; a bill that is overdue is paid at once.

        Args:
            payment_method_id: Such as `pm_123abc`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPDATE_PAYMENT_METHOD,
            models.PaymentMethodData,
            body={"payment_method_id": payment_method_id},
            idempotency_key=idempotency_key,
        )
