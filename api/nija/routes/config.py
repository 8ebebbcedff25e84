"""Configuration: `/config`."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from api.kit.wire import parse_wire_id, wire_id
from api.nija.auth import Caller, Reader, Services
from api.nija.documented import answers
from api.nija.envelope import Answer, ok
from api.nija.once import Idempotent
from api.nija.schemas.config import (
    BROKER,
    BrokerAddRequest,
    BrokerConnectedData,
    BrokerItem,
    BrokerKeys,
    BrokerRemovedData,
    BrokersData,
    BrokerTestData,
    RemoveQuery,
    SettingsChange,
    SettingsChangedData,
    SettingsData,
)
from services.errors import (
    BrokerAlreadyConnected,
    ExceedsTierLimit,
    FeatureUnavailable,
    InvalidApiKey,
    InvalidRiskLevel,
    InvalidSetting,
    ObjectNotFound,
    UnsupportedBroker,
    VenueFailed,
)

router = APIRouter(prefix="/config", tags=["Configuration"])


@router.get("/settings", **answers(SettingsData))
async def get_settings(reader: Reader, services: Services) -> Answer[SettingsData]:
    """All settings."""
    return ok(SettingsData.from_domain(await services.user_settings.get(reader)))


@router.put(
    "/settings",
    **answers(
        SettingsChangedData,
        InvalidSetting,
        InvalidRiskLevel,
        ExceedsTierLimit,
        FeatureUnavailable,
        VenueFailed,
        body=True,
        idempotent=True,
    ),
)
async def update_settings(
    body: SettingsChange, caller: Caller, once: Idempotent, services: Services
) -> Answer[SettingsChangedData]:
    """Change some settings; `updated_fields` names those whose value is another one now."""

    async def act() -> Answer[SettingsChangedData]:
        changed = await services.user_settings.update(caller, body.to_wishes())
        return ok(
            SettingsChangedData(message="Settings updated successfully", updated_fields=changed)
        )

    return await once(act)


@router.get("/brokers", **answers(BrokersData))
async def list_brokers(reader: Reader, services: Services) -> Answer[BrokersData]:
    """Broker connections; keys are never shown."""
    found = await services.connections.list(reader)
    return ok(BrokersData(brokers=[BrokerItem.from_domain(one) for one in found]))


@router.post(
    "/brokers",
    **answers(
        BrokerConnectedData,
        UnsupportedBroker,
        InvalidApiKey,
        BrokerAlreadyConnected,
        ExceedsTierLimit,
        VenueFailed,
        body=True,
        idempotent=True,
    ),
)
async def add_broker(
    body: BrokerAddRequest, caller: Caller, once: Idempotent, services: Services
) -> Answer[BrokerConnectedData]:
    """Connect a broker. Keys are verified there, stored encrypted, and never returned."""

    async def act() -> Answer[BrokerConnectedData]:
        connection = await services.connections.add(
            caller, venue=body.broker.lower(), credentials=body.to_domain()
        )
        return ok(
            BrokerConnectedData(
                broker_id=wire_id(BROKER, connection.id),
                message="Broker connected successfully",
                status=connection.status,
                warning=connection.warning,
            )
        )

    return await once(act)


@router.put(
    "/brokers/{broker_id}",
    **answers(
        BrokerConnectedData,
        ObjectNotFound,
        InvalidApiKey,
        VenueFailed,
        body=True,
        idempotent=True,
    ),
)
async def rotate_broker(
    broker_id: str, body: BrokerKeys, caller: Caller, once: Idempotent, services: Services
) -> Answer[BrokerConnectedData]:
    """Replace the keys by new ones of the same account; running bots go on with them."""
    parsed = _broker_id(broker_id)

    async def act() -> Answer[BrokerConnectedData]:
        connection = await services.connections.rotate(caller, parsed, credentials=body.to_domain())
        return ok(
            BrokerConnectedData(
                broker_id=wire_id(BROKER, connection.id),
                message="Broker keys replaced successfully",
                status=connection.status,
                warning=connection.warning,
            )
        )

    return await once(act)


@router.delete(
    "/brokers/{broker_id}",
    **answers(BrokerRemovedData, ObjectNotFound, idempotent=True),
)
async def remove_broker(
    broker_id: str,
    caller: Caller,
    once: Idempotent,
    services: Services,
    query: Annotated[RemoveQuery, Query()],
) -> Answer[BrokerRemovedData]:
    """Remove a broker. With open positions it only exits from now on, unless forced."""
    parsed = _broker_id(broker_id)

    async def act() -> Answer[BrokerRemovedData]:
        removal = await services.connections.remove(caller, parsed, force=query.force)
        return ok(BrokerRemovedData.from_domain(removal))

    return await once(act)


@router.post(
    "/brokers/{broker_id}/test",
    **answers(BrokerTestData, ObjectNotFound, InvalidApiKey, VenueFailed, idempotent=True),
)
async def test_broker(
    broker_id: str, caller: Caller, once: Idempotent, services: Services
) -> Answer[BrokerTestData]:
    """Ask the broker whether the stored keys work."""
    parsed = _broker_id(broker_id)

    async def act() -> Answer[BrokerTestData]:
        return ok(BrokerTestData.from_domain(await services.connections.test(caller, parsed)))

    return await once(act)


def _broker_id(text: str) -> UUID:
    parsed = parse_wire_id(BROKER, text)
    if parsed is None:
        raise ObjectNotFound("Broker connection not found")
    return parsed
