"""Admin. Generated from the OpenAPI document by sdk/generate.py; do not edit."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from nija_sdk import models
from nija_sdk._calls import Operation
from nija_sdk._resource import AsyncResource, Moment, Resource, iterate, iterate_async

_USERS = Operation("GET", "/admin/users")
_USER = Operation("GET", "/admin/users/{user_id}")
_UPDATE_USER = Operation("PUT", "/admin/users/{user_id}", keyed=True)
_METRICS = Operation("GET", "/admin/metrics")
_AUDIT_LOGS = Operation("GET", "/admin/audit-logs")
_KILL_SWITCH = Operation("GET", "/admin/kill-switch")
_ENGAGE_KILL_SWITCH = Operation("POST", "/admin/kill-switch", keyed=True)
_RELEASE_KILL_SWITCH = Operation("DELETE", "/admin/kill-switch", keyed=True)


class Admin(Resource):
    """Admin."""

    def users(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        search: str | None = None,
        tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
    ) -> models.UsersData:
        """List and search users, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            search: Part of an email, or a user id.
            tier: Tier.
            status: Status.
            role: Role.
        """
        return self._call(
            _USERS,
            models.UsersData,
            query={
                "page": page,
                "per_page": per_page,
                "search": search,
                "tier": tier,
                "status": status,
                "role": role,
            },
        )

    def iter_users(
        self,
        *,
        per_page: int | None = None,
        search: str | None = None,
        tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
    ) -> Iterator[models.UserItem]:
        """List and search users, newest first: every item of every page.

        Args:
            per_page: Per page, `50` by default.
            search: Part of an email, or a user id.
            tier: Tier.
            status: Status.
            role: Role.
        """
        return iterate(
            lambda page: self.users(
                per_page=per_page, search=search, tier=tier, status=status, role=role, page=page
            ),
            lambda found: found.users,
            lambda item: item.user_id,
        )

    def user(self, user_id: str) -> models.UserData:
        """One user: subscription, trading, brokers, notes.

        Args:
            user_id: Which one: `user_id` of an earlier answer.
        """
        return self._call(
            _USER,
            models.UserData,
            path={"user_id": user_id},
        )

    def update_user(
        self,
        user_id: str,
        *,
        subscription_tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
        notes: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.UpdatedView:
        """Change tier, status or role; suspending or disabling ends sessions and entries at once.

        Args:
            user_id: Which one: `user_id` of an earlier answer.
            subscription_tier: Such as `enterprise`.
            status: Such as `active`.
            role: Such as `user`.
            notes: Such as `Upgraded to enterprise for beta testing`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _UPDATE_USER,
            models.UpdatedView,
            path={"user_id": user_id},
            body={
                "subscription_tier": subscription_tier,
                "status": status,
                "role": role,
                "notes": notes,
            },
            idempotency_key=idempotency_key,
        )

    def metrics(self) -> models.MetricsData:
        """Users, trading, the API and revenue."""
        return self._call(
            _METRICS,
            models.MetricsData,
        )

    def audit_logs(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        event_type: str | None = None,
        user_id: str | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> models.AuditLogsData:
        """The audit log, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `100` by default.
            event_type: Such as `user_login`.
            user_id: Such as `usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return self._call(
            _AUDIT_LOGS,
            models.AuditLogsData,
            query={
                "page": page,
                "per_page": per_page,
                "event_type": event_type,
                "user_id": user_id,
                "start_date": start_date,
                "end_date": end_date,
            },
        )

    def iter_audit_logs(
        self,
        *,
        per_page: int | None = None,
        event_type: str | None = None,
        user_id: str | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> Iterator[models.AuditLogItem]:
        """The audit log, newest first: every item of every page.

        Args:
            per_page: Per page, `100` by default.
            event_type: Such as `user_login`.
            user_id: Such as `usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return iterate(
            lambda page: self.audit_logs(
                per_page=per_page,
                event_type=event_type,
                user_id=user_id,
                start_date=start_date,
                end_date=end_date,
                page=page,
            ),
            lambda found: found.logs,
            lambda item: item.log_id,
        )

    def kill_switch(self) -> models.SwitchesView:
        """Every engaged kill switch with its figures, and the latest released ones."""
        return self._call(
            _KILL_SWITCH,
            models.SwitchesView,
        )

    def engage_kill_switch(
        self,
        *,
        reason: str,
        scope: models.KillScope | None = None,
        user_id: str | None = None,
        broker: str | None = None,
        close_all_positions: bool | None = None,
        notify_users: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.EngagedView:
        """Stop all entries: none begins after this answers.

        Exits go on; positions close if asked.

        Args:
            scope: Such as `global`.
            user_id: For scope `user`.
            broker: For scope `broker`.
            reason: Such as `Market emergency - extreme volatility`.
            close_all_positions: Close all positions, `false` by default.
            notify_users: Notify users, `true` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _ENGAGE_KILL_SWITCH,
            models.EngagedView,
            body={
                "scope": scope,
                "user_id": user_id,
                "broker": broker,
                "reason": reason,
                "close_all_positions": close_all_positions,
                "notify_users": notify_users,
            },
            idempotency_key=idempotency_key,
        )

    def release_kill_switch(
        self,
        *,
        reason: str,
        scope: models.KillScope | None = None,
        user_id: str | None = None,
        broker: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.ReleasedView:
        """Release a kill switch, with a reason; bots that run may enter again.

        Args:
            scope: Such as `global`.
            user_id: For scope `user`.
            broker: For scope `broker`.
            reason: Such as `Markets are calm again`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return self._call(
            _RELEASE_KILL_SWITCH,
            models.ReleasedView,
            query={"scope": scope, "user_id": user_id, "broker": broker, "reason": reason},
            idempotency_key=idempotency_key,
        )


class AsyncAdmin(AsyncResource):
    """Admin."""

    async def users(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        search: str | None = None,
        tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
    ) -> models.UsersData:
        """List and search users, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `50` by default.
            search: Part of an email, or a user id.
            tier: Tier.
            status: Status.
            role: Role.
        """
        return await self._call(
            _USERS,
            models.UsersData,
            query={
                "page": page,
                "per_page": per_page,
                "search": search,
                "tier": tier,
                "status": status,
                "role": role,
            },
        )

    def iter_users(
        self,
        *,
        per_page: int | None = None,
        search: str | None = None,
        tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
    ) -> AsyncIterator[models.UserItem]:
        """List and search users, newest first: every item of every page.

        Args:
            per_page: Per page, `50` by default.
            search: Part of an email, or a user id.
            tier: Tier.
            status: Status.
            role: Role.
        """
        return iterate_async(
            lambda page: self.users(
                per_page=per_page, search=search, tier=tier, status=status, role=role, page=page
            ),
            lambda found: found.users,
            lambda item: item.user_id,
        )

    async def user(self, user_id: str) -> models.UserData:
        """One user: subscription, trading, brokers, notes.

        Args:
            user_id: Which one: `user_id` of an earlier answer.
        """
        return await self._call(
            _USER,
            models.UserData,
            path={"user_id": user_id},
        )

    async def update_user(
        self,
        user_id: str,
        *,
        subscription_tier: models.Tier | None = None,
        status: models.UserStatus | None = None,
        role: models.Role | None = None,
        notes: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.UpdatedView:
        """Change tier, status or role; suspending or disabling ends sessions and entries at once.

        Args:
            user_id: Which one: `user_id` of an earlier answer.
            subscription_tier: Such as `enterprise`.
            status: Such as `active`.
            role: Such as `user`.
            notes: Such as `Upgraded to enterprise for beta testing`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _UPDATE_USER,
            models.UpdatedView,
            path={"user_id": user_id},
            body={
                "subscription_tier": subscription_tier,
                "status": status,
                "role": role,
                "notes": notes,
            },
            idempotency_key=idempotency_key,
        )

    async def metrics(self) -> models.MetricsData:
        """Users, trading, the API and revenue."""
        return await self._call(
            _METRICS,
            models.MetricsData,
        )

    async def audit_logs(
        self,
        *,
        page: int | None = None,
        per_page: int | None = None,
        event_type: str | None = None,
        user_id: str | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> models.AuditLogsData:
        """The audit log, newest first.

        Args:
            page: Page, `1` by default.
            per_page: Per page, `100` by default.
            event_type: Such as `user_login`.
            user_id: Such as `usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return await self._call(
            _AUDIT_LOGS,
            models.AuditLogsData,
            query={
                "page": page,
                "per_page": per_page,
                "event_type": event_type,
                "user_id": user_id,
                "start_date": start_date,
                "end_date": end_date,
            },
        )

    def iter_audit_logs(
        self,
        *,
        per_page: int | None = None,
        event_type: str | None = None,
        user_id: str | None = None,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> AsyncIterator[models.AuditLogItem]:
        """The audit log, newest first: every item of every page.

        Args:
            per_page: Per page, `100` by default.
            event_type: Such as `user_login`.
            user_id: Such as `usr_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10`.
            start_date: ISO 8601, inclusive.
            end_date: ISO 8601; a date includes its day.
        """
        return iterate_async(
            lambda page: self.audit_logs(
                per_page=per_page,
                event_type=event_type,
                user_id=user_id,
                start_date=start_date,
                end_date=end_date,
                page=page,
            ),
            lambda found: found.logs,
            lambda item: item.log_id,
        )

    async def kill_switch(self) -> models.SwitchesView:
        """Every engaged kill switch with its figures, and the latest released ones."""
        return await self._call(
            _KILL_SWITCH,
            models.SwitchesView,
        )

    async def engage_kill_switch(
        self,
        *,
        reason: str,
        scope: models.KillScope | None = None,
        user_id: str | None = None,
        broker: str | None = None,
        close_all_positions: bool | None = None,
        notify_users: bool | None = None,
        idempotency_key: str | None = None,
    ) -> models.EngagedView:
        """Stop all entries: none begins after this answers.

        Exits go on; positions close if asked.

        Args:
            scope: Such as `global`.
            user_id: For scope `user`.
            broker: For scope `broker`.
            reason: Such as `Market emergency - extreme volatility`.
            close_all_positions: Close all positions, `false` by default.
            notify_users: Notify users, `true` by default.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _ENGAGE_KILL_SWITCH,
            models.EngagedView,
            body={
                "scope": scope,
                "user_id": user_id,
                "broker": broker,
                "reason": reason,
                "close_all_positions": close_all_positions,
                "notify_users": notify_users,
            },
            idempotency_key=idempotency_key,
        )

    async def release_kill_switch(
        self,
        *,
        reason: str,
        scope: models.KillScope | None = None,
        user_id: str | None = None,
        broker: str | None = None,
        idempotency_key: str | None = None,
    ) -> models.ReleasedView:
        """Release a kill switch, with a reason; bots that run may enter again.

        Args:
            scope: Such as `global`.
            user_id: For scope `user`.
            broker: For scope `broker`.
            reason: Such as `Markets are calm again`.
            idempotency_key: A repeat with the same key within 24 hours gets the first answer;
                by default every call has a key of its own, which its retries keep.
        """
        return await self._call(
            _RELEASE_KILL_SWITCH,
            models.ReleasedView,
            query={"scope": scope, "user_id": user_id, "broker": broker, "reason": reason},
            idempotency_key=idempotency_key,
        )
