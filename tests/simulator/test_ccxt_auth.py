import base64
import time
from typing import Any

import ccxt
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.simulator.process import SimulatorProcess, ccxt_client

pytestmark = pytest.mark.integration

PERMISSIONS_PATH = "/api/v3/brokerage/key_permissions"
OTHER_SECRETS = {
    "hmac": "0" * 64,
    "ed25519": base64.b64encode(bytes(range(64))).decode(),
}


@pytest.mark.parametrize("key_type", ["hmac", "es256", "ed25519"])
async def test_every_form_of_key_signs_reads_and_writes(
    simulator: SimulatorProcess, key_type: str
) -> None:
    account = simulator.new_account(key_type=key_type)

    async with ccxt_client(simulator.url, account) as client:
        assert (await client.fetch_balance())["total"]["USD"] == 10_000  # signed, old API
        placed = await client.create_market_buy_order_with_cost("BTC/USD", 100)
        assert [order["id"] for order in await client.fetch_orders(limit=5)] == [placed["id"]]


@pytest.mark.parametrize("key_type", ["hmac", "es256", "ed25519"])
async def test_wrong_secret_is_an_authentication_error(
    simulator: SimulatorProcess, key_type: str
) -> None:
    account = simulator.new_account(key_type=key_type)
    stranger = simulator.new_account(key_type=key_type)

    async with ccxt_client(
        simulator.url, account | {"api_secret": stranger["api_secret"]}
    ) as client:
        with pytest.raises(ccxt.AuthenticationError):
            await client.v3_private_get_brokerage_key_permissions()
        with pytest.raises(ccxt.AuthenticationError):
            await client.v2_private_get_accounts()


@pytest.mark.parametrize("key_type", ["hmac", "ed25519"])
async def test_unknown_key_is_an_authentication_error(
    simulator: SimulatorProcess, key_type: str
) -> None:
    unknown = {"api_key": "nobody", "api_secret": OTHER_SECRETS[key_type]}

    async with ccxt_client(simulator.url, unknown) as client:
        with pytest.raises(ccxt.AuthenticationError):
            await client.v3_private_get_brokerage_key_permissions()


@pytest.mark.parametrize("key_type", ["hmac", "es256", "ed25519"])
@pytest.mark.parametrize("seconds", [-200, 200])
async def test_clock_far_off_is_an_authentication_error(
    simulator: SimulatorProcess, key_type: str, seconds: int
) -> None:
    account = simulator.new_account(key_type=key_type)

    async with ccxt_client(simulator.url, account) as client:
        client.seconds = lambda: int(time.time()) + seconds
        client.milliseconds = lambda: int((time.time() + seconds) * 1000)
        with pytest.raises(ccxt.AuthenticationError):
            await client.v3_private_get_brokerage_key_permissions()


def test_token_is_good_for_its_own_request_only(
    simulator: SimulatorProcess, account: dict[str, Any]
) -> None:
    headers = simulator.headers(account, "GET", "brokerage/key_permissions")

    accepted = httpx.get(simulator.url + PERMISSIONS_PATH, headers=headers)
    replayed = httpx.get(f"{simulator.url}/api/v3/brokerage/accounts", headers=headers)

    assert (accepted.status_code, replayed.status_code) == (200, 401)
    assert replayed.text == "Unauthorized\n"


def test_unsigned_call_is_refused(simulator: SimulatorProcess) -> None:
    assert httpx.get(simulator.url + PERMISSIONS_PATH).status_code == 401
    response = httpx.get(simulator.url + "/v2/accounts")
    assert response.status_code == 401
    assert response.json()["errors"][0]["id"] == "authentication_error"


@pytest.mark.parametrize("flaw", ["algorithm", "subject", "life", "no expiry", "garbage"])
def test_flawed_tokens_are_refused(
    simulator: SimulatorProcess, account: dict[str, Any], flaw: str
) -> None:
    now = int(time.time())
    host = simulator.url.removeprefix("http://")
    claims: dict[str, Any] = {
        "sub": "someone" if flaw == "subject" else account["api_key"],
        "nbf": now,
        "exp": now + (3600 if flaw == "life" else 120),
        "uris": [f"GET {host}{PERMISSIONS_PATH}"],
    }
    if flaw == "no expiry":
        del claims["exp"]
    seed = base64.b64decode(account["api_secret"])[:32]
    private = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    headers = {"kid": account["api_key"]}
    token = jwt.encode(claims, private, "EdDSA", headers)
    if flaw == "algorithm":
        token = jwt.encode(claims, "k" * 32, "HS256", headers)
    if flaw == "garbage":
        token = "not.a.token"

    response = httpx.get(
        simulator.url + PERMISSIONS_PATH, headers={"Authorization": f"Bearer {token}"}
    )

    assert response.status_code == 401


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (["view"], {"can_view": True, "can_trade": False, "can_transfer": False}),
        (["view", "trade"], {"can_view": True, "can_trade": True, "can_transfer": False}),
        (
            ["view", "trade", "transfer"],
            {"can_view": True, "can_trade": True, "can_transfer": True},
        ),
    ],
)
async def test_key_permissions(
    simulator: SimulatorProcess, permissions: list[str], expected: dict[str, bool]
) -> None:
    account = simulator.new_account(permissions=permissions)

    async with ccxt_client(simulator.url, account) as client:
        answer = await client.v3_private_get_brokerage_key_permissions()

    assert answer == expected | {
        "portfolio_uuid": account["account_id"],
        "portfolio_type": "DEFAULT",
    }


async def test_key_without_trade_permission_cannot_trade(simulator: SimulatorProcess) -> None:
    account = simulator.new_account(permissions=["view"])

    async with ccxt_client(simulator.url, account) as client:
        with pytest.raises(ccxt.PermissionDenied):
            await client.create_market_buy_order_with_cost("BTC/USD", 100)

    assert simulator.dump(account)["orders"] == []
