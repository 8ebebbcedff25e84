"""The Python SDK against the real server, also over a network that fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest

from nija_sdk import (
    AsyncNIJAClient,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    Event,
    NIJAClient,
    NotFoundError,
    Tokens,
    ValidationError,
)
from tests.sdk.conftest import Login
from tests.sdk.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.up import PASSWORD, RunningStack, eventually

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture
def client(stack: RunningStack, login: Login) -> Iterator[NIJAClient]:
    with NIJAClient(
        login.access_token, refresh_token=login.refresh_token, base_url=stack.run["api_url"]
    ) as client:
        yield client


@pytest.fixture
async def proxy(stack: RunningStack) -> AsyncIterator[FaultyProxy]:
    async with faulty_proxy(stack.run["api_url"]) as proxy:
        yield proxy


def start_paper(client: NIJAClient) -> None:
    client.trading.start(broker="coinbase", paper_trading=True)
    eventually(lambda: client.trading.status().status == "running", what="running")


def has_price(client: NIJAClient, symbol: str) -> bool:
    held = {row.symbol: row.current_price for row in client.account.positions().positions}
    return held.get(symbol) is not None


def send_alert(client: NIJAClient, symbol: str, action: str = "buy") -> str:
    """A TradingView alert; the id of its trade."""
    key = client.config.create_webhook().webhook_key
    received = client.webhooks.tradingview(
        symbol=symbol,
        action=action,  # type: ignore[arg-type]  # one of those there are
        api_key=key,
    )
    assert received.trade_id is not None
    return received.trade_id


def outcomes_of(client: NIJAClient, count: int) -> set[tuple[object, ...]] | None:
    """What became of so many alerts, once it is known."""
    alerts = client.account.signals().signals
    if len(alerts) < count or {it.status for it in alerts} & {"processing", "accepted"}:
        return None
    return {(it.symbol, it.status, it.reason) for it in alerts}


def test_a_person_s_way(stack: RunningStack) -> None:
    with NIJAClient(base_url=stack.run["api_url"]) as client:
        client.auth.register(
            email="way@nija.example", password=PASSWORD, full_name="Way", accept_terms=True
        )
        with pytest.raises(AuthenticationError, match="INVALID_CREDENTIALS"):
            client.auth.login(email="way@nija.example", password="wrong-password")
        client.auth.login(email="way@nija.example", password=PASSWORD)
        assert client.auth.me().email == "way@nija.example"
        assert client.account.balance(mode="paper").cash == Decimal(10_000)

        changed = client.config.update_settings(trading={"max_position_size_usd": Decimal("250.5")})
        assert changed.updated_fields == ["max_position_size_usd"]
        assert client.config.settings().trading.max_position_size_usd == Decimal("250.5")

        client.auth.logout()
        with pytest.raises(AuthenticationError, match="TOKEN_INVALID"):
            client.auth.me()


def test_a_paper_bot_from_start_to_stop(client: NIJAClient) -> None:
    with pytest.raises(BadRequestError, match="NOT_RUNNING"):
        client.trading.stop()
    start_paper(client)
    with pytest.raises(ConflictError) as conflict:
        client.trading.start()
    assert conflict.value.code == "ALREADY_RUNNING"
    assert conflict.value.request_id
    with pytest.raises(NotFoundError, match="POSITION_NOT_FOUND"):
        client.account.close_position("pos_nothing")
    with pytest.raises(ValidationError) as invalid:
        client.account.modify_position("pos_" + "0" * 32)
    assert set(invalid.value.details["fields"]) == {"stop_loss", "take_profit"}

    first = send_alert(client, "BTC-USD")
    # What is held must have a price before anything else is bought: no venue was looked at yet.
    eventually(lambda: has_price(client, "BTC-USD"), what="a position with a price")
    trades = {first, send_alert(client, "ETH-USD")}
    outcomes = eventually(lambda: outcomes_of(client, 2), what="outcomes of the alerts")
    # A machine that is too busy has alerts refused, for old data for instance: then say so.
    assert outcomes == {
        ("BTC-USD", "executed", "outside_signal"),
        ("ETH-USD", "executed", "outside_signal"),
    }
    eventually(lambda: len(client.account.positions().positions) == 2, what="positions")
    history = list(client.account.iter_history(mode="paper", per_page=1))

    assert {trade.trade_id for trade in history} == trades
    assert all(isinstance(trade.entry_price, Decimal) for trade in history)
    client.trading.stop(close_positions=True)
    eventually(lambda: not client.account.positions().positions, what="flat")


async def test_expired_tokens_are_exchanged_once(stack: RunningStack, login: Login) -> None:
    kept: list[Tokens] = []
    async with AsyncNIJAClient(
        login.token_for(-1),
        refresh_token=login.refresh_token,
        base_url=stack.run["api_url"],
        on_tokens=kept.append,
    ) as client:
        found = await asyncio.gather(*(client.auth.me() for _ in range(8)))

        assert {person.email for person in found} == {login.email}
        assert kept == [client.tokens]
        assert kept[0].refresh_token != login.refresh_token


@pytest.mark.parametrize("fault", ["refuse", "lose"])
async def test_a_write_survives_a_failing_network_and_happens_once(
    proxy: FaultyProxy, login: Login, fault: str
) -> None:
    async with AsyncNIJAClient(login.access_token, base_url=proxy.url) as client:
        proxy.faults.extend([fault, fault])

        started = await client.trading.start(broker="coinbase", paper_trading=True)

        # Carried out twice, the second start would be refused as ALREADY_RUNNING.
        assert started.status == "starting"
        expected = 1 if fault == "refuse" else 3
        assert proxy.passed.count(b"POST /api/v1/trading/start") == expected


async def test_a_lost_answer_to_a_refresh_does_not_end_the_session(
    proxy: FaultyProxy, login: Login
) -> None:
    client = NIJAClient(login.token_for(-1), refresh_token=login.refresh_token, base_url=proxy.url)
    with client:
        proxy.faults.extend(["pass", "lose"])

        person = await asyncio.to_thread(client.auth.me)

        assert person.email == login.email
        assert proxy.passed.count(b"POST /api/v1/auth/refresh") == 2


# --- live updates ---------------------------------------------------------------------------------


def check_order(events: list[Event]) -> None:
    """Numbered events came once and in order."""
    numbers = [event.seq for event in events if event.seq is not None]
    assert numbers == sorted(set(numbers))


async def test_live_updates_come_once_and_in_order_over_broken_connections(
    proxy: FaultyProxy, client: NIJAClient, login: Login
) -> None:
    await asyncio.to_thread(start_paper, client)
    came: list[Event] = []
    both = asyncio.Event()

    async with AsyncNIJAClient(login.access_token, base_url=proxy.url) as listener:

        @listener.ws.on("trade_executed")
        async def note(data: dict[str, object]) -> None:
            if data["action"] == "opened" and data["symbol"] == "ETH-USD":
                both.set()

        listener.ws.on("*")(came.append)
        listening = asyncio.create_task(listener.ws.connect())
        await asyncio.to_thread(eventually, lambda: came, what="values of the account")
        first = await asyncio.to_thread(send_alert, client, "BTC-USD")
        await asyncio.to_thread(
            eventually, lambda: "trade_executed" in {event.type for event in came}, what="a trade"
        )

        proxy.faults.append("refuse")
        proxy.break_off()
        second = await asyncio.to_thread(send_alert, client, "ETH-USD")
        await asyncio.wait_for(both.wait(), 60)
        await listener.ws.close()
        await asyncio.wait_for(listening, 10)

    opened = [event.data["trade_id"] for event in came if event.data.get("action") == "opened"]
    assert opened == [first, second]
    assert "gap" not in {event.type for event in came}
    assert all(isinstance(it.data["cash"], Decimal) for it in came if it.type == "account_update")
    check_order(came)


def test_blocking_live_updates_outlive_their_token(
    stack: RunningStack, client: NIJAClient, login: Login
) -> None:
    came: list[str] = []
    kept: list[Tokens] = []
    listener = NIJAClient(
        login.token_for(3),
        refresh_token=login.refresh_token,
        base_url=stack.run["api_url"],
        on_tokens=kept.append,
    )
    listener.ws.on("bot_update")(lambda data: came.append(data["status"]))

    with listener:
        thread = threading.Thread(target=listener.ws.connect)
        thread.start()
        eventually(lambda: kept, what="a token exchanged by the listener")
        client.trading.start(broker="coinbase", paper_trading=True)
        eventually(lambda: "running" in came, what="the bot's state")
        listener.ws.close()
        thread.join(10)

    assert not thread.is_alive()
    assert came == ["starting", "running"]


def test_events_can_be_gone_through_and_gone_on_with_later(client: NIJAClient) -> None:
    client.trading.start(broker="coinbase", paper_trading=True)
    eventually(lambda: client.trading.status().status == "running", what="running")
    client.ws.position = 0

    states = []
    for event in client.ws.events("bot"):
        states.append(event.data["status"])
        if states[-1] == "running":
            break

    assert states == ["starting", "running"]
    assert client.ws.position is not None
    assert client.ws.position >= 2


def test_a_token_that_is_none_ends_listening(stack: RunningStack) -> None:
    with (
        NIJAClient("nothing", base_url=stack.run["api_url"]) as client,
        pytest.raises(AuthenticationError, match="TOKEN_INVALID"),
    ):
        client.ws.connect()
