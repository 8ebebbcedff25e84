"""Account. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Moment, Number, Resource, iterate, iterate_async

_BALANCE = Operation("GET", "/account/balance")
_POSITIONS = Operation("GET", "/account/positions")
_HISTORY = Operation("GET", "/account/history")
_PERFORMANCE = Operation("GET", "/account/performance")
_STATS = Operation("GET", "/account/stats")
_SIGNALS = Operation("GET", "/account/signals")
_NOTIFICATIONS = Operation("GET", "/account/notifications")
_CLOSE_POSITION = Operation("POST", "/account/positions/{position_id}/close", keyed=True)
_WRITE_OFF_POSITION = Operation("POST", "/account/positions/{position_id}/write-off", keyed=True)
_MODIFY_POSITION = Operation("PATCH", "/account/positions/{position_id}", keyed=True)
_RESET_PAPER = Operation("POST", "/account/paper/reset", keyed=True)


class Account(Resource):
    """Account."""

    def balance(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.BalanceData:
        """Cash, equity and buying power.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return self._call(
            _BALANCE,
            models.BalanceData,
            query={"mode": mode, "broker": broker},
        )

    def positions(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
    ) -> models.PositionsData:
        """Open positions and their sums.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
        """
        return self._call(
            _POSITIONS,
            models.PositionsData,
            query={"mode": mode, "broker": broker, "symbol": symbol},
        )

    def history(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        status: models.PositionState | None = None,
    ) -> models.HistoryData:
        """Trades, newest first.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            status: All when left out.
        """
        return self._call(
            _HISTORY,
            models.HistoryData,
            query={
                "mode": mode,
                "broker": broker,
                "symbol": symbol,
                "page": page,
                "per_page": per_page,
                "start_date": start_date,
                "end_date": end_date,
                "status": status,
            },
        )

    def iter_history(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
        per_page: int | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        status: models.PositionState | None = None,
    ) -> Iterator[models.TradeItem]:
        """Trades, newest first: every item of every page.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
            per_page: Per page, `50` by default.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            status: All when left out.
        """
        return iterate(
            lambda page: self.history(
                mode=mode,
                broker=broker,
                symbol=symbol,
                per_page=per_page,
                start_date=start_date,
                end_date=end_date,
                status=status,
                page=page,
            ),
            lambda found: found.trades,
            lambda item: item.trade_id,
        )

    def performance(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        period: models.Period | None = None,
    ) -> models.PerformanceData:
        """Metrics, daily P&L and equity curve of a period.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            period: UTC days of the venue's clock.
        """
        return self._call(
            _PERFORMANCE,
            models.PerformanceData,
            query={"mode": mode, "broker": broker, "period": period},
        )

    def stats(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.StatsData:
        """Everything since the account began or was reset, and the limits that hold for it.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return self._call(
            _STATS,
            models.StatsData,
            query={"mode": mode, "broker": broker},
        )

    def signals(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        status: models.AlertState | None = None,
        symbol: str | None = None,
        action: models.SignalAction | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> models.SignalsData:
        """Received alerts with their outcomes, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            status: All when left out.
            symbol: Symbol.
            action: Action.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return self._call(
            _SIGNALS,
            models.SignalsData,
            query={
                "page": page,
                "per_page": per_page,
                "status": status,
                "symbol": symbol,
                "action": action,
                "start_date": start_date,
                "end_date": end_date,
            },
        )

    def iter_signals(
        self,
        *,
        per_page: int | None = None,
        status: models.AlertState | None = None,
        symbol: str | None = None,
        action: models.SignalAction | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> Iterator[models.SignalItem]:
        """Received alerts with their outcomes, newest first: every item of every page.

        Args:
            per_page: Per page, `50` by default.
            status: All when left out.
            symbol: Symbol.
            action: Action.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return iterate(
            lambda page: self.signals(
                per_page=per_page,
                status=status,
                symbol=symbol,
                action=action,
                start_date=start_date,
                end_date=end_date,
                page=page,
            ),
            lambda found: found.signals,
            lambda item: item.signal_id,
        )

    def notifications(
        self, *, page: int | None = None, per_page: int | None = None
    ) -> models.NotificationsData:
        """What was told, newest first, with what became of it on each channel.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
        """
        return self._call(
            _NOTIFICATIONS,
            models.NotificationsData,
            query={"page": page, "per_page": per_page},
        )

    def iter_notifications(
        self, *, per_page: int | None = None
    ) -> Iterator[models.NotificationItem]:
        """What was told, newest first, with what became of it on each channel.

        Every item of every page..

        Args:
            per_page: Per page, `50` by default.
        """
        return iterate(
            lambda page: self.notifications(per_page=per_page, page=page),
            lambda found: found.notifications,
            lambda item: item.notification_id,
        )

    def close_position(
        self,
        position_id: str,
        *,
        percent: Number | None = None,
        quantity: Number | None = None,
        idempotency_key: str | None = None,
    ) -> models.ClosePositionView:
        """Leave one position at the market: all of it, unless a part is named.

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            percent: Of what was not asked to leave before; the rest keeps its stop.
            quantity: The same in the base currency; more than is held closes all of it.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _CLOSE_POSITION,
            models.ClosePositionView,
            path={"position_id": position_id},
            body={"percent": percent, "quantity": quantity},
            idempotency_key=idempotency_key,
        )

    def write_off_position(
        self, position_id: str, *, idempotency_key: str | None = None
    ) -> models.ClosePositionView:
        """Close in the books a position that cannot be sold.

        Without a price for what is given up..

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _WRITE_OFF_POSITION,
            models.ClosePositionView,
            path={"position_id": position_id},
            idempotency_key=idempotency_key,
        )

    def modify_position(
        self,
        position_id: str,
        *,
        stop_loss: Number | None = None,
        take_profit: Number | None = None,
        idempotency_key: str | None = None,
    ) -> models.MessageView:
        """Set the stop, which keeps trailing from there, or replace the remaining targets by one.

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            stop_loss: Stop loss.
            take_profit: Take profit.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _MODIFY_POSITION,
            models.MessageView,
            path={"position_id": position_id},
            body={"stop_loss": stop_loss, "take_profit": take_profit},
            idempotency_key=idempotency_key,
        )

    def reset_paper(self, *, idempotency_key: str | None = None) -> models.PaperResetData:
        """Put the paper account back to its starting cash; its trades stay in the history.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _RESET_PAPER,
            models.PaperResetData,
            idempotency_key=idempotency_key,
        )


class AsyncAccount(AsyncResource):
    """Account."""

    async def balance(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.BalanceData:
        """Cash, equity and buying power.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return await self._call(
            _BALANCE,
            models.BalanceData,
            query={"mode": mode, "broker": broker},
        )

    async def positions(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
    ) -> models.PositionsData:
        """Open positions and their sums.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
        """
        return await self._call(
            _POSITIONS,
            models.PositionsData,
            query={"mode": mode, "broker": broker, "symbol": symbol},
        )

    async def history(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
        page: int | None = None,
        per_page: int | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        status: models.PositionState | None = None,
    ) -> models.HistoryData:
        """Trades, newest first.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            status: All when left out.
        """
        return await self._call(
            _HISTORY,
            models.HistoryData,
            query={
                "mode": mode,
                "broker": broker,
                "symbol": symbol,
                "page": page,
                "per_page": per_page,
                "start_date": start_date,
                "end_date": end_date,
                "status": status,
            },
        )

    def iter_history(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        symbol: str | None = None,
        per_page: int | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        status: models.PositionState | None = None,
    ) -> AsyncIterator[models.TradeItem]:
        """Trades, newest first: every item of every page.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            symbol: Symbol.
            per_page: Per page, `50` by default.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
            status: All when left out.
        """
        return iterate_async(
            lambda page: self.history(
                mode=mode,
                broker=broker,
                symbol=symbol,
                per_page=per_page,
                start_date=start_date,
                end_date=end_date,
                status=status,
                page=page,
            ),
            lambda found: found.trades,
            lambda item: item.trade_id,
        )

    async def performance(
        self,
        *,
        mode: models.Mode | None = None,
        broker: str | None = None,
        period: models.Period | None = None,
    ) -> models.PerformanceData:
        """Metrics, daily P&L and equity curve of a period.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
            period: UTC days of the venue's clock.
        """
        return await self._call(
            _PERFORMANCE,
            models.PerformanceData,
            query={"mode": mode, "broker": broker, "period": period},
        )

    async def stats(
        self, *, mode: models.Mode | None = None, broker: str | None = None
    ) -> models.StatsData:
        """Everything since the account began or was reset, and the limits that hold for it.

        Args:
            mode: paper or live
            broker: Such as `coinbase`.
        """
        return await self._call(
            _STATS,
            models.StatsData,
            query={"mode": mode, "broker": broker},
        )

    async def signals(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        status: models.AlertState | None = None,
        symbol: str | None = None,
        action: models.SignalAction | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> models.SignalsData:
        """Received alerts with their outcomes, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            status: All when left out.
            symbol: Symbol.
            action: Action.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return await self._call(
            _SIGNALS,
            models.SignalsData,
            query={
                "page": page,
                "per_page": per_page,
                "status": status,
                "symbol": symbol,
                "action": action,
                "start_date": start_date,
                "end_date": end_date,
            },
        )

    def iter_signals(
        self,
        *,
        per_page: int | None = None,
        status: models.AlertState | None = None,
        symbol: str | None = None,
        action: models.SignalAction | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> AsyncIterator[models.SignalItem]:
        """Received alerts with their outcomes, newest first: every item of every page.

        Args:
            per_page: Per page, `50` by default.
            status: All when left out.
            symbol: Symbol.
            action: Action.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return iterate_async(
            lambda page: self.signals(
                per_page=per_page,
                status=status,
                symbol=symbol,
                action=action,
                start_date=start_date,
                end_date=end_date,
                page=page,
            ),
            lambda found: found.signals,
            lambda item: item.signal_id,
        )

    async def notifications(
        self, *, page: int | None = None, per_page: int | None = None
    ) -> models.NotificationsData:
        """What was told, newest first, with what became of it on each channel.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
        """
        return await self._call(
            _NOTIFICATIONS,
            models.NotificationsData,
            query={"page": page, "per_page": per_page},
        )

    def iter_notifications(
        self, *, per_page: int | None = None
    ) -> AsyncIterator[models.NotificationItem]:
        """What was told, newest first, with what became of it on each channel.

        Every item of every page..

        Args:
            per_page: Per page, `50` by default.
        """
        return iterate_async(
            lambda page: self.notifications(per_page=per_page, page=page),
            lambda found: found.notifications,
            lambda item: item.notification_id,
        )

    async def close_position(
        self,
        position_id: str,
        *,
        percent: Number | None = None,
        quantity: Number | None = None,
        idempotency_key: str | None = None,
    ) -> models.ClosePositionView:
        """Leave one position at the market: all of it, unless a part is named.

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            percent: Of what was not asked to leave before; the rest keeps its stop.
            quantity: The same in the base currency; more than is held closes all of it.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _CLOSE_POSITION,
            models.ClosePositionView,
            path={"position_id": position_id},
            body={"percent": percent, "quantity": quantity},
            idempotency_key=idempotency_key,
        )

    async def write_off_position(
        self, position_id: str, *, idempotency_key: str | None = None
    ) -> models.ClosePositionView:
        """Close in the books a position that cannot be sold.

        Without a price for what is given up..

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _WRITE_OFF_POSITION,
            models.ClosePositionView,
            path={"position_id": position_id},
            idempotency_key=idempotency_key,
        )

    async def modify_position(
        self,
        position_id: str,
        *,
        stop_loss: Number | None = None,
        take_profit: Number | None = None,
        idempotency_key: str | None = None,
    ) -> models.MessageView:
        """Set the stop, which keeps trailing from there, or replace the remaining targets by one.

        Args:
            position_id: Which one: `position_id` of an earlier answer.
            stop_loss: Stop loss.
            take_profit: Take profit.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _MODIFY_POSITION,
            models.MessageView,
            path={"position_id": position_id},
            body={"stop_loss": stop_loss, "take_profit": take_profit},
            idempotency_key=idempotency_key,
        )

    async def reset_paper(self, *, idempotency_key: str | None = None) -> models.PaperResetData:
        """Put the paper account back to its starting cash; its trades stay in the history.

        Args:
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _RESET_PAPER,
            models.PaperResetData,
            idempotency_key=idempotency_key,
        )
