"""Notifications: `/config/notifications` and what was told, `/account/notifications`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.kit.notifications import Notifications
from api.kit.wire import parse_wire_id
from api.nija.auth import Caller
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.common import MessageView
from api.nija.schemas.notifications import (
    CHANNEL,
    ChannelItem,
    ChannelPatch,
    ChannelRequest,
    ChannelTestData,
    NotificationPreferencesData,
    NotificationsConfigData,
    NotificationsData,
    NotificationsQuery,
    PreferencesPatch,
)
from services.errors import ObjectNotFound
from services.notifying.errors import ChannelNameTaken, TooManyChannels

router = APIRouter()
_CONFIG: list[str | Enum] = ["Configuration"]
_ACCOUNT: list[str | Enum] = ["Account Management"]
_CHANNELS = "/config/notifications/channels"


@router.get("/config/notifications", tags=_CONFIG, **answers(NotificationsConfigData))
async def get_notifications(
    caller: Caller, notifications: Notifications
) -> Answer[NotificationsConfigData]:
    """When reports come, where mails go, and every channel; addresses are masked."""
    preferences = await notifications.preferences.get(caller)
    channels = await notifications.channels.list(caller)
    return ok(
        NotificationsConfigData(
            preferences=NotificationPreferencesData.from_domain(preferences),
            channels=[ChannelItem.from_domain(channel) for channel in channels],
        )
    )


@router.put(
    "/config/notifications",
    tags=_CONFIG,
    **answers(NotificationPreferencesData, body=True, idempotent=True),
)
async def update_notifications(
    body: PreferencesPatch, caller: Caller, once: Idempotent, notifications: Notifications
) -> Answer[NotificationPreferencesData]:
    """Change the time zone, the time and the day of reports; their schedules follow."""

    async def act() -> Answer[NotificationPreferencesData]:
        changed = await notifications.preferences.change(caller, body.to_changes())
        return ok(NotificationPreferencesData.from_domain(changed))

    return await once(act)


@router.post(
    "/config/notifications/test",
    tags=_CONFIG,
    **answers(ChannelTestData, idempotent=True),
)
async def test_mail(
    caller: Caller, once: Idempotent, notifications: Notifications
) -> Answer[ChannelTestData]:
    """Mail a test notification to the own address."""

    async def act() -> Answer[ChannelTestData]:
        return ok(ChannelTestData.from_domain(await notifications.channels.test_mail(caller)))

    return await once(act)


@router.post(
    _CHANNELS,
    tags=_CONFIG,
    **answers(ChannelItem, ChannelNameTaken, TooManyChannels, body=True, idempotent=True),
)
async def add_channel(
    body: ChannelRequest, caller: Caller, once: Idempotent, notifications: Notifications
) -> Answer[ChannelItem]:
    """Add a channel. Its address is checked, stored encrypted, and never returned."""

    async def act() -> Answer[ChannelItem]:
        channel = await notifications.channels.add(
            caller, name=body.name, url=body.url, categories=body.categories
        )
        return ok(ChannelItem.from_domain(channel))

    return await once(act)


@router.patch(
    _CHANNELS + "/{channel_id}",
    tags=_CONFIG,
    **answers(ChannelItem, ObjectNotFound, ChannelNameTaken, body=True, idempotent=True),
)
async def change_channel(
    channel_id: str,
    body: ChannelPatch,
    caller: Caller,
    once: Idempotent,
    notifications: Notifications,
) -> Answer[ChannelItem]:
    """Change name, address or categories of a channel, or switch it on or off."""
    parsed = _channel_id(channel_id)

    async def act() -> Answer[ChannelItem]:
        channel = await notifications.channels.change(caller, parsed, body.to_changes())
        return ok(ChannelItem.from_domain(channel))

    return await once(act)


@router.delete(
    _CHANNELS + "/{channel_id}",
    tags=_CONFIG,
    **answers(MessageView, ObjectNotFound, idempotent=True),
)
async def remove_channel(
    channel_id: str, caller: Caller, once: Idempotent, notifications: Notifications
) -> Answer[MessageView]:
    """Remove a channel, with what is still on its way to it."""
    parsed = _channel_id(channel_id)

    async def act() -> Answer[MessageView]:
        await notifications.channels.remove(caller, parsed)
        return ok(MessageView(message="Notification channel removed"))

    return await once(act)


@router.post(
    _CHANNELS + "/{channel_id}/test",
    tags=_CONFIG,
    **answers(ChannelTestData, ObjectNotFound, idempotent=True),
)
async def test_channel(
    channel_id: str, caller: Caller, once: Idempotent, notifications: Notifications
) -> Answer[ChannelTestData]:
    """Send a test notification to a channel, once."""
    parsed = _channel_id(channel_id)

    async def act() -> Answer[ChannelTestData]:
        return ok(ChannelTestData.from_domain(await notifications.channels.test(caller, parsed)))

    return await once(act)


@router.get("/account/notifications", tags=_ACCOUNT, **answers(NotificationsData))
async def list_notifications(
    caller: Caller, notifications: Notifications, query: Annotated[NotificationsQuery, Query()]
) -> Answer[NotificationsData]:
    """What was told, newest first, with what became of it on each channel."""
    found = await notifications.views.page(caller, page=query.page, per_page=query.per_page)
    return ok(NotificationsData.from_domain(found, page=query.page, per_page=query.per_page))


def _channel_id(text: str) -> UUID:
    parsed = parse_wire_id(CHANNEL, text)
    if parsed is None:
        raise ObjectNotFound("Notification channel not found")
    return parsed
