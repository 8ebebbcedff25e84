"""Operations: `/health` and `/ready`, at the server's root and without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from api.kit.wire import View
from api.nija.auth import Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from domain.errors import ErrorKind
from services.errors import Refusal, explain
from services.markets.ages import state_of_lists

CHECK_SECONDS_MAX = 3.0

router = APIRouter(tags=["Operations"])


class NotReady(Refusal):
    """Something this process needs does not answer."""

    kind = ErrorKind.UNAVAILABLE
    code = "not_ready"
    usual_message = "Not ready to serve"


class HealthView(View):
    """The process lives."""

    status: Literal["ok"] = "ok"


class ReadyView(View):
    """The process can serve."""

    status: Literal["ready"] = "ready"
    checks: dict[str, str] = Field(
        examples=[{"database": "ok", "workflows": "ok", "markets": "ok"}]
    )


@router.get("/health", **answers(HealthView, public=True, counted=False, lenient=True))
async def health() -> Answer[HealthView]:
    """Whether the process lives; asks nothing else."""
    return ok(HealthView())


@router.get("/ready", **answers(ReadyView, NotReady, public=True, counted=False, lenient=True))
async def ready(services: Services) -> Answer[ReadyView]:
    """Whether PostgreSQL and Temporal answer; `markets` says where a list of markets is old.

    An old list keeps nothing from being served: the last good one is gone by.
    """
    database, workflows, markets = await asyncio.gather(
        _check(_ping(services)),
        _check(services.workflows.is_available()),
        _markets(services),
    )
    checks = {"database": database, "workflows": workflows}
    if set(checks.values()) != {"ok"}:
        raise NotReady(details={"checks": checks})
    return ok(ReadyView(checks={**checks, "markets": markets}))


async def _markets(services: Services) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await state_of_lists(services.database, services.clock.now())
    except Exception as failure:
        if explain(failure) is None and not isinstance(failure, TimeoutError):
            raise
        return "unknown"


async def _ping(services: Services) -> bool:
    await services.database.ping()
    return True


async def _check(question: Awaitable[bool]) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return "ok" if await question else "unavailable"
    except TimeoutError:
        return "unavailable"
    except Exception as failure:
        if explain(failure) is None:
            raise
        return "unavailable"
