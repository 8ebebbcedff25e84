"""Analytics. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Resource

_DASHBOARD = Operation("GET", "/analytics/dashboard")
_TRADES = Operation("GET", "/analytics/trades")


class Analytics(Resource):
    """Analytics."""

    def dashboard(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.DashboardData:
        """Today, the last week and month, what is open, and the market that did best.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return self._call(
            _DASHBOARD,
            models.DashboardData,
            query={"mode": mode, "broker": broker},
        )

    def trades(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        period: models.Period | None = None,
        symbol: str | None = None,
        group_by: models.GroupBy | None = None,
    ) -> models.TradesData:
        """Closed trades of a period by outcome, market and time.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            period: UTC days of the venue's clock.
            symbol: Symbol.
            group_by: Answers in by_hour, by_day, by_week or by_month.
        """
        return self._call(
            _TRADES,
            models.TradesData,
            query={
                "mode": mode,
                "broker": broker,
                "period": period,
                "symbol": symbol,
                "group_by": group_by,
            },
        )


class AsyncAnalytics(AsyncResource):
    """Analytics."""

    async def dashboard(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.DashboardData:
        """Today, the last week and month, what is open, and the market that did best.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return await self._call(
            _DASHBOARD,
            models.DashboardData,
            query={"mode": mode, "broker": broker},
        )

    async def trades(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        period: models.Period | None = None,
        symbol: str | None = None,
        group_by: models.GroupBy | None = None,
    ) -> models.TradesData:
        """Closed trades of a period by outcome, market and time.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            period: UTC days of the venue's clock.
            symbol: Symbol.
            group_by: Answers in by_hour, by_day, by_week or by_month.
        """
        return await self._call(
            _TRADES,
            models.TradesData,
            query={
                "mode": mode,
                "broker": broker,
                "period": period,
                "symbol": symbol,
                "group_by": group_by,
            },
        )
