"""Authentication: `/auth`."""

from __future__ import annotations

from fastapi import APIRouter

from api.kit.wire import parse_wire_id
from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.schemas.auth import (
    SESSION,
    ChangePasswordRequest,
    LoginRequest,
    LoginView,
    LogoutRequest,
    MeView,
    RefreshedView,
    RefreshRequest,
    RegisteredView,
    RegisterRequest,
    SessionItem,
    SessionsView,
)
from api.nija.schemas.common import MessageView
from services.errors import (
    AccountDisabled,
    AccountSuspended,
    EmailAlreadyExists,
    InvalidCredentials,
    InvalidEmail,
    ObjectNotFound,
    TermsNotAccepted,
    TokenExpired,
    TokenInvalid,
    WeakPassword,
)
from services.identity.errors import OtpInvalid, OtpRequired

router = APIRouter(prefix="/auth", tags=["Authentication"])


@router.post(
    "/register",
    **answers(
        RegisteredView,
        InvalidEmail,
        WeakPassword,
        TermsNotAccepted,
        EmailAlreadyExists,
        public=True,
        body=True,
    ),
)
async def register(body: RegisterRequest, services: Services) -> Answer[RegisteredView]:
    """Create an account with a 14-day trial and a paper account."""
    user = await services.identity.registration.register(
        email=body.email,
        password=body.password,
        full_name=body.full_name,
        accept_terms=body.accept_terms,
    )
    return ok(RegisteredView.from_domain(user))


@router.post(
    "/login",
    **answers(
        LoginView,
        InvalidCredentials,
        OtpRequired,
        OtpInvalid,
        AccountDisabled,
        AccountSuspended,
        public=True,
        body=True,
    ),
)
async def login(body: LoginRequest, services: Services) -> Answer[LoginView]:
    """Get an access token and a refresh token. Five failures lock the account for 15 minutes."""
    tokens = await services.identity.logins.log_in(
        email=body.email, password=body.password, otp=body.otp
    )
    return ok(LoginView.from_domain(tokens))


@router.post(
    "/refresh",
    **answers(
        RefreshedView,
        TokenInvalid,
        TokenExpired,
        AccountDisabled,
        AccountSuspended,
        public=True,
        body=True,
    ),
)
async def refresh(body: RefreshRequest, services: Services) -> Answer[RefreshedView]:
    """Exchange a refresh token for new tokens. Using one twice ends its session."""
    tokens = await services.identity.sessions.refresh(body.refresh_token)
    return ok(RefreshedView.from_domain(tokens))


@router.post("/logout", **answers(MessageView, body=True))
async def logout(
    caller: Caller, services: Services, body: LogoutRequest | None = None
) -> Answer[MessageView]:
    """End this session, or every session; their tokens stop working at once."""
    everywhere = body is not None and body.revoke_all
    await services.identity.sessions.log_out(caller, everywhere=everywhere)
    return ok(MessageView(message="Logged out successfully"))


@router.put("/change-password", **answers(MessageView, InvalidCredentials, WeakPassword, body=True))
async def change_password(
    body: ChangePasswordRequest, caller: Caller, services: Services
) -> Answer[MessageView]:
    """Change the password; every other session ends."""
    await services.identity.logins.change_password(
        caller, current_password=body.current_password, new_password=body.new_password
    )
    return ok(MessageView(message="Password changed successfully"))


@router.get("/me", **answers(MeView))
async def me(reader: Reader, services: Services) -> Answer[MeView]:
    """The caller's own account."""
    return ok(MeView.from_domain(await services.identity.me(reader)))


@router.get("/sessions", **answers(SessionsView))
async def list_sessions(reader: Reader, services: Services) -> Answer[SessionsView]:
    """Every device that is logged in."""
    sessions = await services.identity.sessions.list(reader)
    return ok(SessionsView(sessions=[SessionItem.from_domain(session) for session in sessions]))


@router.delete("/sessions/{session_id}", **answers(MessageView, ObjectNotFound, changes=True))
async def revoke_session(
    session_id: str, caller: Caller, services: Services
) -> Answer[MessageView]:
    """Log a device out."""
    parsed = parse_wire_id(SESSION, session_id)
    if parsed is None:
        raise ObjectNotFound("Session not found")
    await services.identity.sessions.end(caller, parsed)
    return ok(MessageView(message="Session revoked"))
