"""Every fault as an unmodified ccxt client meets it over HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import ccxt
import httpx
import pytest

from tests.simulator.process import SimulatorProcess, ccxt_client, simulator_process

pytestmark = pytest.mark.integration

SYMBOL = "BTC/USD"
PRODUCT = "BTC-USD"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """A simulator of this module's own: faults would meet the clients of other modules."""
    with simulator_process(tmp_path_factory.mktemp("faulty")) as process:
        yield process


@pytest.fixture
def account(faulty: SimulatorProcess) -> Iterator[dict[str, Any]]:
    yield faulty.new_account(balances={"USD": "10000", "BTC": "1"})
    httpx.delete(f"{faulty.url}/control/faults").raise_for_status()


@pytest.fixture
async def client(faulty: SimulatorProcess, account: dict[str, Any]) -> AsyncIterator[Any]:
    async with ccxt_client(faulty.url, account) as client:
        await client.load_markets()
        client.timeout = 1500
        yield client


class Venue:
    """The faulty venue, with the client that meets it."""

    def __init__(self, process: SimulatorProcess, account: dict[str, Any], client: Any) -> None:
        self.process = process
        self.account = account
        self.client = client

    def fault(self, kind: str, **fields: Any) -> str:
        body = {"kind": kind, "account": self.account["account_id"]} | fields
        named = {name: value for name, value in body.items() if value is not ...}
        fault_id: str = self.process.post("/control/faults", named)["id"]
        return fault_id

    def lift(self, fault_id: str) -> None:
        httpx.delete(f"{self.process.url}/control/faults/{fault_id}").raise_for_status()

    def status(self, path: str) -> int:
        return httpx.get(self.process.url + path).status_code

    def hits(self) -> list[int]:
        return [fault["hits"] for fault in self.process.get("/control/faults")["faults"]]

    def orders(self) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = self.process.dump(self.account)["orders"]
        return orders

    async def sell(self, size: str = "0.01", **fields: Any) -> dict[str, Any]:
        body = {
            "client_order_id": f"one-{time.monotonic_ns()}",
            "product_id": PRODUCT,
            "side": "SELL",
            "order_configuration": {"market_market_ioc": {"base_size": size}},
        }
        answer: dict[str, Any] = await self.client.v3_private_post_brokerage_orders(body | fields)
        return answer


@pytest.fixture
def venue(faulty: SimulatorProcess, account: dict[str, Any], client: Any) -> Venue:
    return Venue(faulty, account, client)


@pytest.mark.parametrize("is_applied", [True, False])
@pytest.mark.parametrize(
    ("kind", "fields", "error"),
    [
        ("timeout", {}, ccxt.RequestTimeout),
        ("reset", {}, ccxt.ExchangeNotAvailable),
        ("server_error", {"status": 502, "body": "html"}, ccxt.ExchangeNotAvailable),
        ("server_error", {"status": 504, "body": "empty"}, ccxt.RequestTimeout),
        ("server_error", {"status": 500, "body": "json"}, ccxt.ExchangeError),
    ],
)
async def test_an_order_that_took_effect_or_not_behind_a_failing_answer(
    venue: Venue, kind: str, fields: dict[str, Any], error: type[Exception], *, is_applied: bool
) -> None:
    venue.fault(kind, call="place", count=1, applied=is_applied, **fields)

    with pytest.raises(error):
        await venue.sell()

    assert len(venue.orders()) == is_applied
    assert venue.hits() == [1]
    await venue.sell()
    assert len(venue.orders()) == is_applied + 1


async def test_an_order_that_takes_effect_after_its_client_has_given_up(venue: Venue) -> None:
    venue.fault("timeout", call="place", count=1, late_seconds=3)

    with pytest.raises(ccxt.RequestTimeout):
        await venue.sell(client_order_id="the-one")

    assert venue.orders() == []
    for _ in range(100):
        if venue.orders():
            break
        await asyncio.sleep(0.1)
    [order] = venue.orders()
    assert (await venue.sell(client_order_id="the-one"))["order_id"] == order["order_id"]


async def test_a_known_client_order_id_is_answered_with_the_known_order(venue: Venue) -> None:
    venue.fault("timeout", call="place", count=1)
    venue.fault("order_listed_late", seconds=600)
    with pytest.raises(ccxt.RequestTimeout):
        await venue.sell(client_order_id="the-one")
    assert await venue.client.fetch_orders() == []

    again = await venue.sell(client_order_id="the-one")

    [only] = venue.orders()
    assert again["order_id"] == only["order_id"]
    assert await venue.client.fetch_orders() == []
    venue.process.advance(10)
    [listed] = await venue.client.fetch_orders()
    assert listed["clientOrderId"] == "the-one"


@pytest.mark.parametrize("share", [0, 0.5, 1])
async def test_reply_cut_off_within_its_body(venue: Venue, share: float) -> None:
    venue.fault("cut_off", call="place", count=1, share=share)

    with pytest.raises(ccxt.BaseError):
        await venue.sell()

    assert len(venue.orders()) == 1


async def test_ok_with_an_empty_body(venue: Venue) -> None:
    venue.fault("empty_body", call="place", count=1)

    answer = await venue.sell()

    assert not answer
    assert len(venue.orders()) == 1


@pytest.mark.parametrize(("wait", "header"), [(None, None), (2.5, "3")])
async def test_too_many_requests(venue: Venue, wait: float | None, header: str | None) -> None:
    venue.fault("rate_limited", retry_after=wait)

    with pytest.raises(ccxt.RateLimitExceeded):
        await venue.sell()

    assert venue.orders() == []
    headers = {name.lower(): value for name, value in venue.client.last_response_headers.items()}
    assert headers.get("retry-after") == header


async def test_slow_answers_do_not_delay_other_calls(venue: Venue) -> None:
    venue.client.timeout = 4_000
    venue.fault("slow", call="list_orders", seconds=3)
    venue.fault("timeout", call="balances", seconds=30, applied=False)

    async def timed(call: Any) -> float:
        start = time.monotonic()
        await asyncio.gather(call, return_exceptions=True)
        return time.monotonic() - start

    slow, _, prompt = await asyncio.gather(
        timed(venue.client.fetch_orders()),
        timed(venue.client.fetch_balance({"v3": True})),
        timed(venue.sell()),
    )

    assert slow >= 3
    assert prompt < 2.5


async def test_keys_are_refused_for_a_while(venue: Venue) -> None:
    venue.fault("keys_refused", for_seconds=60)

    with pytest.raises(ccxt.AuthenticationError):
        await venue.client.fetch_balance({"v3": True})
    with pytest.raises(ccxt.AuthenticationError):
        await venue.sell()
    assert (await venue.client.fetch_ticker(SYMBOL))["last"] > 0

    venue.process.advance(1)
    await venue.sell()


async def test_maintenance_stops_everything(venue: Venue) -> None:
    venue.fault("maintenance", account=...)

    for call in (
        venue.client.fetch_balance({"v3": True}),
        venue.client.fetch_ticker(SYMBOL),
        venue.client.fetch_time(),
        venue.sell(),
    ):
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await call
    assert venue.status("/control/clock") == 503
    assert venue.process.get("/control/clock", exact="true")["mode"] == "step"
    assert venue.orders() == []


@pytest.mark.parametrize(
    ("call", "question"),
    [
        ("products", lambda client: client.fetch_markets()),
        ("quotes", lambda client: client.fetch_tickers([SYMBOL])),
        ("fees", lambda client: client.fetch_trading_fees()),
        ("ticker", lambda client: client.fetch_ticker(SYMBOL)),
        ("book", lambda client: client.fetch_order_book(SYMBOL)),
        ("balances", lambda client: client.fetch_balance({"v3": True})),
        ("candles", lambda client: client.fetch_ohlcv(SYMBOL, since=1_772_400_000_000)),
        ("time", lambda client: client.fetch_time()),
        ("list_fills", lambda client: client.fetch_my_trades(SYMBOL)),
        ("list_orders", lambda client: client.fetch_orders(SYMBOL)),
    ],
)
async def test_one_endpoint_fails_alone(venue: Venue, call: str, question: Any) -> None:
    venue.fault("server_error", account=..., call=call, status=503, body="html")

    with pytest.raises(ccxt.NetworkError):
        await question(venue.client)

    await venue.sell()
    others = {"products", "fees", "ticker", "book", "balances", "candles", "time"} - {call}
    prompt = {"ticker": venue.client.fetch_ticker, "book": venue.client.fetch_order_book}
    for name in others & set(prompt):
        await prompt[name](SYMBOL)


@pytest.mark.parametrize("status", ["PENDING", "QUEUED", "UNKNOWN_ORDER_STATUS"])
async def test_order_that_stays_unmatched(venue: Venue, status: str) -> None:
    venue.fault("order_stuck", status=status, seconds=120)

    placed = await venue.sell()

    order = await venue.client.fetch_order(placed["order_id"])
    assert (order["info"]["status"], order["filled"]) == (status, 0)
    assert (await venue.client.fetch_balance({"v3": True}))["used"]["BTC"] == 0.01
    venue.process.advance(2)
    assert (await venue.client.fetch_order(placed["order_id"]))["status"] == "closed"


async def test_immediate_order_that_rests_until_it_is_cancelled(venue: Venue) -> None:
    venue.fault("ioc_rests", seconds=None, share=0.5)
    placed = await venue.sell()
    [resting] = await venue.client.fetch_open_orders(SYMBOL)
    assert (resting["id"], resting["filled"]) == (placed["order_id"], 0.005)

    await venue.client.cancel_order(placed["order_id"])

    order = await venue.client.fetch_order(placed["order_id"])
    assert (order["status"], order["filled"]) == ("canceled", 0.005)


async def test_partial_fill(venue: Venue) -> None:
    venue.fault("partial_fill", share="0.3")

    order = await venue.client.fetch_order((await venue.sell())["order_id"])

    assert (order["status"], order["filled"]) == ("canceled", 0.003)


async def test_cancellation_is_confirmed_and_takes_effect_late(venue: Venue) -> None:
    venue.fault("cancel_late", seconds=90)
    placed = await venue.client.create_order(SYMBOL, "limit", "sell", 0.01, 500_000)

    await venue.client.cancel_order(placed["id"])

    order = await venue.client.fetch_order(placed["id"])
    assert (order["status"], order["info"]["pending_cancel"]) == ("open", True)
    venue.process.advance(2)
    order = await venue.client.fetch_order(placed["id"])
    assert (order["status"], order["info"]["pending_cancel"]) == ("canceled", False)


async def test_order_unknown_by_its_id_at_first(venue: Venue) -> None:
    venue.fault("order_listed_late", seconds=60, by_id=True)
    placed = await venue.sell()

    with pytest.raises(ccxt.ExchangeError, match="was not found"):
        await venue.client.fetch_order(placed["order_id"])

    venue.process.advance(1)
    assert (await venue.client.fetch_order(placed["order_id"]))["status"] == "closed"


async def test_fills_late_in_pieces_twice_and_out_of_order(venue: Venue) -> None:
    venue.fault("fills_late", seconds=60)
    venue.fault("fills_in_pieces", pieces=3, seconds=60)
    venue.fault("fills_twice")
    venue.fault("fills_shuffled")
    await venue.sell("0.03")

    numbers = []
    for _ in range(5):
        page = await venue.client.v3_private_get_brokerage_orders_historical_fills()
        fills = page["fills"]
        numbers.append((len(fills), len({fill["entry_id"] for fill in fills})))
        venue.process.advance(1)

    assert numbers == [(0, 0), (2, 1), (4, 2), (6, 3), (6, 3)]
    trades = await venue.client.fetch_my_trades(SYMBOL)
    assert sum({trade["info"]["entry_id"]: trade["amount"] for trade in trades}.values()) == 0.03


async def test_balances_that_lag_behind_fills_and_manual_actions(venue: Venue) -> None:
    venue.fault("balances_late", seconds=60)
    owner = {"account_id": venue.account["account_id"]}
    await venue.sell("0.25")
    venue.process.post("/control/manual/deposit", owner | {"currency": "USD", "amount": "5"})
    venue.process.post("/control/manual/withdraw", owner | {"currency": "BTC", "amount": "0.5"})

    async def totals() -> tuple[float, float]:
        shown = (await venue.client.fetch_balance({"v3": True}))["total"]
        return shown["USD"], shown["BTC"]

    assert await totals() == (10_000, 1)
    venue.process.advance(1)
    usd, btc = await totals()
    assert usd > 20_000
    assert btc == 0.25


async def test_commission_settled_later_under_one_entry_id(venue: Venue) -> None:
    venue.fault("commission_late", seconds=60, first="-0.01")
    await venue.sell()

    [early] = await venue.client.fetch_my_trades(SYMBOL)
    venue.process.advance(1)
    [settled] = await venue.client.fetch_my_trades(SYMBOL)

    assert early["info"]["commission"] == "-0.01"
    assert settled["fee"]["cost"] == pytest.approx(settled["cost"] * 0.001)
    assert early["info"]["entry_id"] == settled["info"]["entry_id"]


async def candles(venue: Venue) -> list[dict[str, Any]]:
    now_s = venue.process.get("/control/clock", exact="true")["now_ms"] // 1000
    question = {"product_id": PRODUCT, "granularity": "ONE_MINUTE"}
    answer = await venue.client.v3_public_get_brokerage_market_products_product_id_candles(
        question | {"start": str(now_s - 6_000), "end": str(now_s - 1)}
    )
    rows: list[dict[str, Any]] = answer["candles"]
    return rows


async def test_candles_late_missing_and_revised(venue: Venue) -> None:
    true = await candles(venue)
    late = venue.fault("candle_late", account=..., product=PRODUCT, seconds=90)
    assert await candles(venue) == true[2:]
    venue.lift(late)
    missing = venue.fault("candle_missing", account=..., probability=0.3)
    assert len(true) * 0.5 < len(await candles(venue)) < len(true) * 0.9
    venue.lift(missing)

    venue.fault("candle_revised", account=..., seconds=60)

    listed = await candles(venue)
    assert listed[0]["close"] != true[0]["close"]
    assert listed[1:] == true[1:]


@pytest.mark.parametrize(
    ("form", "field", "cell"),
    [
        ("low_zero", "low", "0"),
        ("empty_cell", "close", ""),
        ("not_a_number", "close", "NaN"),
        ("null_cell", "high", None),
    ],
)
async def test_malformed_candles(venue: Venue, form: str, field: str, cell: str | None) -> None:
    venue.fault("candle_malformed", account=..., form=form)

    assert {row[field] for row in await candles(venue)} == {cell}


async def test_candle_with_a_high_below_its_low(venue: Venue) -> None:
    venue.fault("candle_malformed", account=..., form="high_below_low")

    assert all(float(row["high"]) < float(row["low"]) for row in await candles(venue))


async def products(venue: Venue) -> dict[str, Any]:
    answer = await venue.client.v3_public_get_brokerage_market_products()
    return {row["product_id"]: row for row in answer["products"]}


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("empty", ""),
        ("null", None),
        ("zero", "0"),
        ("negative", "-1"),
        ("not_a_number", "n/a"),
        ("missing", ...),
    ],
)
async def test_malformed_product_row(venue: Venue, form: str, value: Any) -> None:
    venue.fault("product_malformed", account=..., product=PRODUCT, form=form)

    listed = await products(venue)

    assert listed[PRODUCT].get("base_increment", ...) == value
    assert listed["ETH-USD"]["base_increment"] == "0.00000001"


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("limit_only", "limit only mode"),
        ("auction_mode", "limit only mode"),
        ("post_only", "post only mode"),
        ("cancel_only", "ORDER_ENTRY_DISABLED"),
        ("trading_disabled", "ORDER_ENTRY_DISABLED"),
    ],
)
async def test_product_modes_are_shown_and_in_force(venue: Venue, mode: str, message: str) -> None:
    resting = await venue.client.create_order(SYMBOL, "limit", "sell", 0.01, 500_000)
    venue.fault("product_mode", account=..., product=PRODUCT, mode=mode)

    with pytest.raises(ccxt.ExchangeError, match=message):
        await venue.sell()

    assert (await products(venue))[PRODUCT][mode] is True
    if mode in ("limit_only", "auction_mode"):
        await venue.client.create_order(SYMBOL, "limit", "sell", 0.01, 600_000)
    await venue.client.cancel_order(resting["id"])


async def test_delisted_product(venue: Venue) -> None:
    flagged = venue.fault("product_delisted", account=..., product=PRODUCT, form="flagged")
    row = (await products(venue))[PRODUCT]
    assert (row["status"], row["is_disabled"], row["trading_disabled"]) == ("delisted", True, True)
    venue.lift(flagged)
    venue.fault("product_delisted", account=..., product=PRODUCT)

    assert PRODUCT not in await products(venue)
    with pytest.raises(ccxt.ExchangeError, match="INVALID_PRODUCT_ID"):
        await venue.sell()
    with pytest.raises(ccxt.ExchangeError, match="NOT_FOUND"):
        await venue.client.fetch_ticker(SYMBOL)


async def test_changed_steps_and_limits(venue: Venue) -> None:
    venue.fault(
        "product_rules",
        account=...,
        product=PRODUCT,
        base_increment="0.01",
        base_max_size="0.05",
        quote_max_size="1000000",
    )

    row = (await products(venue))[PRODUCT]

    assert (row["base_increment"], row["base_max_size"]) == ("0.01", "0.05")
    with pytest.raises(ccxt.ExchangeError, match="INVALID_SIZE_PRECISION"):
        await venue.sell("0.015")
    with pytest.raises(ccxt.ExchangeError, match="BASE_SIZE_TOO_LARGE"):
        await venue.sell("0.06")
    with pytest.raises(ccxt.ExchangeError, match="QUOTE_SIZE_TOO_LARGE"):
        await venue.client.create_order(SYMBOL, "limit", "sell", 0.05, 50_000_000)


async def test_clock_ahead_and_jumping(venue: Venue) -> None:
    exact = venue.process.get("/control/clock", exact="true")["now_ms"]
    venue.fault("clock", account=..., offset_seconds=600, count=2)

    assert await venue.client.fetch_time() == exact + 600_000
    assert venue.process.get("/control/clock")["now_ms"] == exact + 600_000
    assert venue.process.get("/control/clock")["now_ms"] == exact
    venue.fault("clock", account=..., jump_seconds=60)
    shown = {venue.process.get("/control/clock")["now_ms"] - exact for _ in range(20)}
    assert min(shown) < 0 < max(shown)


@pytest.mark.parametrize("key_type", ["hmac", "es256", "ed25519"])
@pytest.mark.parametrize("offset", [-300, 300])
async def test_signatures_are_judged_by_a_clock_that_is_off(
    venue: Venue, faulty: SimulatorProcess, key_type: str, offset: int
) -> None:
    async with ccxt_client(faulty.url, faulty.new_account(key_type=key_type)) as client:
        venue.fault("clock", account=..., offset_seconds=offset)
        assert await client.v3_private_get_brokerage_accounts()
        venue.fault("signature_clock", account=..., offset_seconds=offset)
        with pytest.raises(ccxt.AuthenticationError):
            await client.v3_private_get_brokerage_accounts()


async def test_faults_of_one_account_leave_others_alone(
    venue: Venue, faulty: SimulatorProcess
) -> None:
    venue.fault("server_error")

    async with ccxt_client(faulty.url, faulty.new_account()) as other:
        assert (await other.fetch_balance({"v3": True}))["total"]["USD"] == 10_000
    with pytest.raises(ccxt.ExchangeError):
        await venue.client.fetch_balance({"v3": True})


async def test_faults_of_one_product_leave_others_alone(venue: Venue) -> None:
    venue.fault("server_error", account=..., product=PRODUCT)
    resting = await venue.client.create_order("ETH/USD", "limit", "buy", 0.01, 100)

    with pytest.raises(ccxt.ExchangeError):
        await venue.sell()
    with pytest.raises(ccxt.ExchangeError):
        await venue.client.fetch_ticker(SYMBOL)
    await venue.client.cancel_order(resting["id"])
    await venue.client.fetch_ticker("ETH/USD")


@pytest.mark.usefixtures("account")
def test_control_of_faults(faulty: SimulatorProcess) -> None:
    def refusal(body: dict[str, Any], path: str = "/control/faults") -> str:
        response = httpx.post(faulty.url + path, json=body)
        assert response.status_code == 400
        message: str = response.json()["error"]
        return message

    assert "kind must be one of" in refusal({"kind": "earthquake"})
    assert "no field second" in refusal({"kind": "slow", "second": 1})
    assert "no account unknown" in refusal({"kind": "slow", "account": "unknown"})
    assert "no product NO-USD" in refusal({"kind": "slow", "product": "NO-USD"})
    assert "needs one of base_increment" in refusal({"kind": "product_rules"})
    assert "for_seconds" in refusal({"kind": "slow", "for_seconds": "long"})
    assert "faults must be" in refusal({"faults": 3})
    assert "seed must be" in refusal({"intensity": 0.5}, "/control/faults/seed")
    assert "intensity must be" in refusal({"seed": 1, "intensity": 2}, "/control/faults/seed")
    assert "kinds: no x" in refusal({"seed": 1, "kinds": ["x"]}, "/control/faults/seed")
    assert refusal({"faults": [{"kind": "slow"}, {"kind": "x"}]}).startswith("kind must be")
    assert faulty.get("/control/faults") == {"faults": []}
    added = faulty.post("/control/faults", {"faults": [{"kind": "slow"}, {"kind": "reset"}]})
    first = added["faults"][0]
    assert httpx.delete(f"{faulty.url}/control/faults/{first['id']}").json()["kind"] == "slow"
    assert httpx.delete(f"{faulty.url}/control/faults/{first['id']}").status_code == 404
    lifted = httpx.delete(f"{faulty.url}/control/faults").json()["faults"]
    assert [fault["kind"] for fault in lifted] == ["reset"]

    def drawn() -> list[dict[str, Any]]:
        mix = faulty.post("/control/faults/seed", {"seed": 3, "intensity": 0.5, "hours": 2})
        httpx.delete(f"{faulty.url}/control/faults").raise_for_status()
        return [{k: v for k, v in one.items() if k != "id"} for one in mix["faults"]]

    assert drawn() == drawn() != []


def test_faults_and_their_orders_survive_a_kill(tmp_path: Any) -> None:
    with simulator_process(tmp_path) as process:
        process.post("/control/faults", {"kind": "server_error", "call": "time", "count": 3})
        process.post("/control/faults", {"kind": "maintenance", "call": "book"})
        assert httpx.get(f"{process.url}/api/v3/brokerage/time").status_code == 500
        before = process.get("/control/faults")

        process.kill()
        process.start()

        assert process.get("/control/faults") == before
        assert before["faults"][0]["hits"] == 1
        statuses = [httpx.get(f"{process.url}/api/v3/brokerage/time").status_code for _ in range(3)]
        assert statuses == [500, 500, 200]
