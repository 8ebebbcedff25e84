"""What administrators' routes need of the container; every dialect may offer them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from services.admin.assembly import Administration


async def admin_of(request: Request) -> Administration:
    """Administration in the container of the application that serves this request."""
    administration: Administration = request.app.state.services.administration
    return administration


AdminServices = Annotated[Administration, Depends(admin_of)]
