"""Analytics & Reporting: `/analytics`, but for exports."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.nija.accounts import NO_ACCOUNT, choice_of
from api.nija.auth import Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.schemas.account import AccountQuery
from api.nija.schemas.analytics import DashboardData, TradesData, TradesQuery

router = APIRouter(prefix="/analytics", tags=["Analytics & Reporting"])


@router.get("/dashboard", **answers(DashboardData, *NO_ACCOUNT))
async def dashboard(
    reader: Reader, services: Services, query: Annotated[AccountQuery, Query()]
) -> Answer[DashboardData]:
    """Today, the last week and month, what is open, and the market that did best."""
    view = await services.analytics.dashboard(reader, choice_of(services, query))
    return ok(DashboardData.from_domain(view))


@router.get("/trades", **answers(TradesData, *NO_ACCOUNT))
async def trades(
    reader: Reader, services: Services, query: Annotated[TradesQuery, Query()]
) -> Answer[TradesData]:
    """Closed trades of a period by outcome, market and time."""
    view = await services.analytics.trades(
        reader,
        choice_of(services, query),
        query.period,
        symbol=query.symbol,
        group_by=query.group_by,
    )
    return ok(TradesData.from_domain(view))
