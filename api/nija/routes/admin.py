"""Admin APIs: `/admin`, for administrators only."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.kit.admin import AdminServices
from api.nija.auth import Admin, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.admin import (
    AuditLogsData,
    AuditLogsQuery,
    MetricsData,
    UpdatedView,
    UserData,
    UsersData,
    UsersQuery,
    UserUpdate,
    user_id_of,
)
from api.nija.schemas.kill_switches import (
    EngagedView,
    EngageRequest,
    ReleasedView,
    ReleaseQuery,
    SwitchesView,
    SwitchItem,
)
from models.controls import KillScope
from services.errors import NotAuthorized, ObjectNotFound, UnsupportedBroker
from services.trading.kill_switches import SwitchTarget

router = APIRouter(prefix="/admin", tags=["Admin"])


@router.get("/users", **answers(UsersData, NotAuthorized))
async def users(
    admin: Admin, services: AdminServices, query: Annotated[UsersQuery, Query()]
) -> Answer[UsersData]:
    """List and search users, newest first."""
    found, total = await services.people.list(
        admin, query.to_filter(), page=query.page, per_page=query.per_page
    )
    return ok(UsersData.from_domain(found, total, query))


@router.get("/users/{user_id}", **answers(UserData, NotAuthorized, ObjectNotFound))
async def user(admin: Admin, services: AdminServices, user_id: str) -> Answer[UserData]:
    """One user: subscription, trading, brokers, notes."""
    return ok(UserData.from_domain(await services.people.detail(admin, user_id_of(user_id))))


@router.put(
    "/users/{user_id}",
    **answers(UpdatedView, NotAuthorized, ObjectNotFound, body=True, idempotent=True),
)
async def update_user(
    admin: Admin, once: Idempotent, services: AdminServices, user_id: str, body: UserUpdate
) -> Answer[UpdatedView]:
    """Change tier, status or role; suspending or disabling ends sessions and entries at once."""

    async def act(command_id: UUID) -> Answer[UpdatedView]:
        await services.people.update(
            admin, user_id_of(user_id), body.to_change(), command_id=command_id
        )
        return ok(UpdatedView())

    return await once.command(act)


@router.get("/kill-switch", **answers(SwitchesView, NotAuthorized))
async def kill_switches(_admin: Admin, services: AdminServices) -> Answer[SwitchesView]:
    """Every engaged kill switch with its figures, and the latest released ones."""
    engaged, released = await services.kill_switches.list()
    return ok(
        SwitchesView(
            active=any(switch.target.scope is KillScope.GLOBAL for switch in engaged),
            kill_switches=[SwitchItem.from_domain(switch) for switch in engaged],
            released=[SwitchItem.from_domain(switch) for switch in released],
        )
    )


@router.post(
    "/kill-switch",
    **answers(EngagedView, NotAuthorized, UnsupportedBroker, body=True, idempotent=True),
)
async def engage(
    admin: Admin,
    once: Idempotent,
    services: AdminServices,
    venues: Services,
    body: EngageRequest,
) -> Answer[EngagedView]:
    """Stop all entries: none begins after this answers. Exits go on; positions close if asked."""

    async def act() -> Answer[EngagedView]:
        engaged = await services.kill_switches.engage(
            admin,
            _supported(body.to_target(), venues),
            reason=body.reason,
            close_positions=body.close_all_positions,
            notify_users=body.notify_users,
        )
        return ok(EngagedView.from_domain(engaged))

    return await once(act)


@router.delete(
    "/kill-switch",
    **answers(
        ReleasedView,
        NotAuthorized,
        UnsupportedBroker,
        ObjectNotFound,
        idempotent=True,
    ),
)
async def release(
    admin: Admin,
    once: Idempotent,
    services: AdminServices,
    venues: Services,
    query: Annotated[ReleaseQuery, Query()],
) -> Answer[ReleasedView]:
    """Release a kill switch, with a reason; bots that run may enter again."""

    async def act() -> Answer[ReleasedView]:
        released = await services.kill_switches.release(
            admin, _supported(query.to_target(), venues), reason=query.reason
        )
        return ok(ReleasedView.from_domain(released))

    return await once(act)


@router.get("/metrics", **answers(MetricsData, NotAuthorized))
async def metrics(_admin: Admin, services: AdminServices) -> Answer[MetricsData]:
    """Users, trading, the API and revenue."""
    return ok(MetricsData.from_domain(await services.platform_metrics.measure()))


@router.get("/audit-logs", **answers(AuditLogsData, NotAuthorized))
async def audit_logs(
    admin: Admin, services: AdminServices, query: Annotated[AuditLogsQuery, Query()]
) -> Answer[AuditLogsData]:
    """The audit log, newest first."""
    rows, total = await services.audit_logs.list(
        admin, query.to_filter(), page=query.page, per_page=query.per_page
    )
    return ok(AuditLogsData.from_domain(rows, total, query))


def _supported(target: SwitchTarget, services: Services) -> SwitchTarget:
    """Refuse a broker that this installation does not trade at: the switch would stop nothing."""
    if target.broker is not None and target.broker not in services.venues.supported():
        raise UnsupportedBroker
    return target
