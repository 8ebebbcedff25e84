"""Exports: asking for them under `/analytics`, and the files behind their links."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from api.kit.wire import parse_wire_id
from api.nija.accounts import NO_ACCOUNT, chosen
from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.exports import EXPORT, ExportItem, ExportRequest, ExportsData
from services.errors import ExceedsTierLimit, ObjectNotFound
from services.exports.errors import ExportFailed

router = APIRouter(prefix="/analytics", tags=["Analytics & Reporting"])
files = APIRouter(prefix="/exports", tags=["Files"])


@router.post(
    "/export",
    **answers(ExportItem, *NO_ACCOUNT, ExceedsTierLimit, ExportFailed, body=True, idempotent=True),
)
async def request_export(
    body: ExportRequest, caller: Caller, once: Idempotent, services: Services
) -> Answer[ExportItem]:
    """Write trades, positions, orders or the audit log to a file; the answer has its link.

    A file that takes longer than some seconds is still `pending` then: its link works as soon as it
    is ready, and `GET /analytics/exports/{export_id}` tells when.
    """
    choice = chosen(services, body.mode, body.broker)

    async def act(command_id: UUID) -> Answer[ExportItem]:
        wish = body.to_wish()
        view = await services.exports.request(caller, choice, wish, command_id=command_id)
        return ok(ExportItem.from_domain(view))

    return await once.command(act)


@router.get("/exports", **answers(ExportsData))
async def list_exports(reader: Reader, services: Services) -> Answer[ExportsData]:
    """The latest exports with fresh links."""
    found = await services.exports.recent(reader)
    return ok(ExportsData(exports=[ExportItem.from_domain(view) for view in found]))


@router.get("/exports/{export_id}", **answers(ExportItem, ObjectNotFound))
async def get_export(export_id: str, reader: Reader, services: Services) -> Answer[ExportItem]:
    """One export with a fresh link."""
    parsed = parse_wire_id(EXPORT, export_id)
    if parsed is None:
        raise ObjectNotFound
    return ok(ExportItem.from_domain(await services.exports.find(reader, parsed)))


@files.get("/{name}")
async def download(
    name: str,
    services: Services,
    expires: Annotated[int, Query()],
    signature: Annotated[str, Query(max_length=128)],
) -> StreamingResponse:
    """The file behind a signed link; the link itself is the permission."""
    found = await services.exports.follow(name, expires, signature)
    headers = {
        "content-type": found.content_type,
        "content-length": str(found.opened.size),
        "content-disposition": f'attachment; filename="{found.file_name}"',
        "cache-control": "private, no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return StreamingResponse(found.opened.content, headers=headers)
