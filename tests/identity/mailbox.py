"""What mails would say: notices as they wait for delivery, and the tokens of their links."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.api.harness import Api, World


async def notices(world: World, user: Api, kind: str) -> list[dict[str, Any]]:
    """A user's notices of a kind, oldest first."""
    return await world.sql(
        "SELECT facts, key FROM notices WHERE user_id = %(id)s AND kind = %(kind)s"
        " ORDER BY created_at, id",
        id=user.user_id,
        kind=kind,
    )


async def link_of(world: World, user: Api, kind: str) -> str | None:
    """The newest link that would be mailed with this kind of notice."""
    link_id = (await notices(world, user, kind))[-1]["facts"]["link_id"]
    return await world.identity.links.url_for(UUID(link_id))


async def token_of(world: World, user: Api, kind: str) -> str:
    """The secret of that link, as its page reads it."""
    link = await link_of(world, user, kind)
    assert link is not None
    return link.partition("#")[2]
