"""The pace of requests: who gave up costs nothing, the urgent go first, prices come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import web

from adapters.venues.coinbase import CoinbaseMarketData
from adapters.venues.coinbase.client import PUBLIC_LANE_MILLISECONDS, public_client
from adapters.venues.pace import RequestPace
from domain.requests import Purpose, requests_for

MANY = [f"C{number}-USD" for number in range(200)]


async def test_requests_whose_sender_gave_up_use_nothing_up() -> None:
    pace = RequestPace()
    await pace.wait(0.1)
    given_up = [asyncio.create_task(pace.wait(3_600)) for _ in range(100)]
    await asyncio.sleep(0)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)

    assert pace.waiting == 0
    async with asyncio.timeout(60):
        await pace.wait(0)


async def test_the_most_urgent_goes_first() -> None:
    pace, gone = RequestPace(), []

    async def go(purpose: Purpose) -> None:
        with requests_for(purpose):
            await pace.wait(0.001)
        gone.append(purpose)

    await pace.wait(0.05)
    order = [Purpose.SCAN, Purpose.LOOK_UP, Purpose.EXIT, Purpose.ENTRY, Purpose.EXIT]
    await asyncio.gather(*map(go, order))

    assert gone == sorted(order, key=list(Purpose).index)


async def test_a_client_of_the_real_venue_keeps_its_pace() -> None:
    client = public_client(None)
    try:
        await client.throttle(3)
        waiting = asyncio.create_task(client.throttle(3))
        await asyncio.sleep(0)

        assert client.pace.waiting == 1
        await waiting
    finally:
        await client.close()


class SlowOnce:
    """A venue whose first answer is late; the others come as they do over a long line."""

    def __init__(self) -> None:
        self.asked = 0

    async def products(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(1.0 if self.asked == 1 else 0.1)
        names = request.query.getall("product_ids")
        return web.json_response({"products": [{"product_id": it, "price": "7"} for it in names]})

    async def ticker(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return web.json_response({"trades": [{"price": "7"}]})


@pytest.fixture
async def market() -> AsyncIterator[CoinbaseMarketData]:
    venue, app = SlowOnce(), web.Application()
    products = "/api/v3/brokerage/market/products"
    app.router.add_get(products, venue.products)
    app.router.add_get(products + "/{symbol}/ticker", venue.ticker)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it = CoinbaseMarketData(simulator_url=f"http://127.0.0.1:{runner.addresses[0][1]}")
    real = it._prompt  # at the real venue's pace, which the simulator is not asked at
    real.enableRateLimit, real.rateLimit = True, PUBLIC_LANE_MILLISECONDS
    yield it
    await it.close()
    await runner.cleanup()


async def test_prices_come_again_after_one_slow_answer(market: CoinbaseMarketData) -> None:
    looks = []
    for _ in range(6):
        looks.append(set(await market.quotes(MANY, at=datetime.now(UTC))))
        if looks[-2:] == [set(MANY)] * 2:
            break

    assert looks[-2:] == [set(MANY)] * 2
