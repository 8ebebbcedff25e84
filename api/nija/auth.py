"""Who calls: a Bearer token, checked as a dependency.

Reads take a `Reader`: the token's claims, whose session is checked in the same round trip as the
read itself. Everything that changes something takes a `Caller`: a principal looked up beforehand.
Either counts the call against the caller's rate limit; calls without a token count by address.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.kit.container import ApiServices, services_of
from api.kit.rate_limits import meter_of
from domain.principal import Principal, Role
from services.errors import NotAuthorized, TokenInvalid
from services.reads import Claims

Services = Annotated[ApiServices, Depends(services_of)]

_bearer = HTTPBearer(
    auto_error=False, bearerFormat="JWT", description="The access token of `/auth/login`."
)


async def read_claims(
    request: Request,
    services: Services,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Claims:
    """Verify the token's signature and age.

    Raises:
        TokenInvalid: no token, or not one of ours.
        TokenExpired: it was good once.
    """
    if credentials is None:
        raise TokenInvalid
    claims = services.identity.access_tokens.verify(credentials.credentials)
    structlog.contextvars.bind_contextvars(user_id=claims.user_id.hex)
    metered = replace(claims, meter=meter_of(request))
    request.state.claims = metered
    return metered


Reader = Annotated[Claims, Depends(read_claims)]


async def look_up_principal(services: Services, claims: Reader) -> Principal:
    """Look the session and its user up.

    Raises:
        TokenInvalid: the session was ended.
        AccountDisabled: the user is disabled.
        AccountSuspended: the user is suspended.
        RateLimited: the plan's calls of this minute are used up.
    """
    return await services.reads.principal(claims)


Caller = Annotated[Principal, Depends(look_up_principal)]


async def require_admin(caller: Caller) -> Principal:
    """Let administrators pass; the role was read from the database just now.

    Raises:
        NotAuthorized: the caller is somebody else.
    """
    if caller.role is not Role.ADMIN:
        raise NotAuthorized
    return caller


Admin = Annotated[Principal, Depends(require_admin)]
