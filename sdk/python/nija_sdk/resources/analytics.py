"""Analytics. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Moment, Resource

_DASHBOARD = Operation("GET", "/analytics/dashboard")
_TRADES = Operation("GET", "/analytics/trades")
_EXPORT = Operation("POST", "/analytics/export", keyed=True)
_EXPORTS = Operation("GET", "/analytics/exports")
_EXPORT_STATUS = Operation("GET", "/analytics/exports/{export_id}")


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

    def export(
        self,
        *,
        format: models.ExportFormat,
        data_type: models.ExportData | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        include_closed_positions: bool | None = None,
        include_open_positions: bool | None = None,
        mode: models.Mode | None = None,
        broker: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.ExportItem:
        """Write trades, positions, orders or the audit log to a file; the answer has its link.

        A file that takes longer than some seconds is still `pending` then: its link works as
        soon as it is ready, and `GET /analytics/exports/{export_id}` tells when.

        Args:
            format: Such as `csv`.
            data_type: Such as `trades`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            include_closed_positions: Include closed positions, `true` by default.
            include_open_positions: Include open positions, `false` by default.
            mode: paper or live
            broker: Such as `coinbase`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _EXPORT,
            models.ExportItem,
            body={
                "format": format,
                "data_type": data_type,
                "start_date": start_date,
                "end_date": end_date,
                "include_closed_positions": include_closed_positions,
                "include_open_positions": include_open_positions,
                "mode": mode,
                "broker": broker,
            },
            idempotency_key=idempotency_key,
        )

    def exports(self) -> models.ExportsData:
        """The latest exports with fresh links."""
        return self._call(
            _EXPORTS,
            models.ExportsData,
        )

    def export_status(self, export_id: str) -> models.ExportItem:
        """One export with a fresh link.

        Args:
            export_id: Which one: `export_id` of an earlier answer.
        """
        return self._call(
            _EXPORT_STATUS,
            models.ExportItem,
            path={"export_id": export_id},
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

    async def export(
        self,
        *,
        format: models.ExportFormat,
        data_type: models.ExportData | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        include_closed_positions: bool | None = None,
        include_open_positions: bool | None = None,
        mode: models.Mode | None = None,
        broker: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.ExportItem:
        """Write trades, positions, orders or the audit log to a file; the answer has its link.

        A file that takes longer than some seconds is still `pending` then: its link works as
        soon as it is ready, and `GET /analytics/exports/{export_id}` tells when.

        Args:
            format: Such as `csv`.
            data_type: Such as `trades`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            include_closed_positions: Include closed positions, `true` by default.
            include_open_positions: Include open positions, `false` by default.
            mode: paper or live
            broker: Such as `coinbase`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _EXPORT,
            models.ExportItem,
            body={
                "format": format,
                "data_type": data_type,
                "start_date": start_date,
                "end_date": end_date,
                "include_closed_positions": include_closed_positions,
                "include_open_positions": include_open_positions,
                "mode": mode,
                "broker": broker,
            },
            idempotency_key=idempotency_key,
        )

    async def exports(self) -> models.ExportsData:
        """The latest exports with fresh links."""
        return await self._call(
            _EXPORTS,
            models.ExportsData,
        )

    async def export_status(self, export_id: str) -> models.ExportItem:
        """One export with a fresh link.

        Args:
            export_id: Which one: `export_id` of an earlier answer.
        """
        return await self._call(
            _EXPORT_STATUS,
            models.ExportItem,
            path={"export_id": export_id},
        )
