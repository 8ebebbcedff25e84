"""The search attributes bots carry, so that operators find any bot in Temporal's UI."""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.embedded.errors import EmbeddedError

SEARCH_ATTRIBUTES = ("NijaUser", "NijaBot", "NijaKind", "NijaVenue", "NijaMode", "NijaState")


async def ensure_search_attributes(address: str, namespace: str) -> None:
    """Register the attributes at a server that is not ours; ours gets them on its command line.

    Raises:
        EmbeddedError: the server does not answer, or refuses.
    """
    request = AddSearchAttributesRequest(
        namespace=namespace,
        search_attributes=dict.fromkeys(
            SEARCH_ATTRIBUTES, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
        ),
    )
    try:
        client = await Client.connect(address, namespace=namespace)
        await client.operator_service.add_search_attributes(request)
    except RPCError as refused:
        if refused.status is not RPCStatusCode.ALREADY_EXISTS:
            raise EmbeddedError(f"Temporal at {address}: {refused.message}") from refused
    except RuntimeError as unreachable:
        raise EmbeddedError(
            f"Temporal at NIJA_TEMPORAL_ADDRESS={address} does not answer: {unreachable}"
        ) from unreachable
