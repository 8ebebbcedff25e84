"""A lane for one kind of question: a bound on open ones, closed at once while they fail."""

from __future__ import annotations

import asyncio

from adapters.venues.errors import VenueRejectedQuestionError
from adapters.venues.lane import FAILURES_MAX, QuestionLane
from domain.ports import VenueUnavailable


class Endpoint:
    """Counts what is open; answers, fails, or hangs until it is let go."""

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.asked = 0
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> int:
        self.asked += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            return self.asked
        finally:
            self.open -= 1


async def outcomes(lane: QuestionLane, endpoint: Endpoint, count: int) -> list[object]:
    asked = (lane.ask(endpoint) for _ in range(count))
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_no_more_are_open_than_there_are_places() -> None:
    lane, endpoint = QuestionLane("candles", at_once=3), Endpoint()

    await outcomes(lane, endpoint, 20)

    assert (endpoint.most, endpoint.asked) == (3, 20)


async def test_a_row_of_failures_closes_the_lane_for_the_whole_queue() -> None:
    lane, endpoint = QuestionLane("candles", at_once=2), Endpoint()
    endpoint.failure = VenueUnavailable("down")

    found = await outcomes(lane, endpoint, 100)

    assert all(isinstance(one, VenueUnavailable) for one in found)
    assert endpoint.asked <= FAILURES_MAX + 1


async def test_one_question_probes_and_an_answer_opens_the_lane() -> None:
    lane, endpoint = QuestionLane("candles", at_once=5, closed_seconds=0.01), Endpoint()
    endpoint.failure = VenueUnavailable("down")
    await outcomes(lane, endpoint, FAILURES_MAX)
    await asyncio.sleep(0.02)
    endpoint.failure = None
    endpoint.gate.clear()
    asked = endpoint.asked

    probe = asyncio.create_task(lane.ask(endpoint))
    await asyncio.sleep(0)
    refused = await outcomes(lane, endpoint, 10)
    endpoint.gate.set()
    await probe

    assert endpoint.asked == asked + 1
    assert all(isinstance(one, VenueUnavailable) for one in refused)
    assert all(isinstance(one, int) for one in await outcomes(lane, endpoint, 10))


async def test_a_rejected_question_is_an_answer() -> None:
    lane, endpoint = QuestionLane("candles", at_once=1), Endpoint()
    endpoint.failure = VenueRejectedQuestionError("no such market")

    await outcomes(lane, endpoint, 10)

    assert endpoint.asked == 10


async def test_a_market_that_never_answers_closes_the_lane_for_itself_only() -> None:
    lane, bad, good = QuestionLane("candles", at_once=3, closed_seconds=60), Endpoint(), Endpoint()
    bad.failure = VenueUnavailable("down")

    for _ in range(10):
        await asyncio.gather(lane.ask(bad, about="A-USD"), return_exceptions=True)

    assert bad.asked == FAILURES_MAX
    assert await lane.ask(good, about="B-USD") == 1


async def test_markets_that_hang_keep_the_lane_closed_for_no_other() -> None:
    lane, bad, good = (
        QuestionLane("candles", at_once=5, closed_seconds=0.01),
        Endpoint(),
        Endpoint(),
    )
    bad.failure = VenueUnavailable("down")
    hanging = [f"A{number}-USD" for number in range(FAILURES_MAX)]
    for _ in range(FAILURES_MAX):
        asked = (lane.ask(bad, about=symbol) for symbol in hanging)
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.sleep(0.05)
    bad.gate.clear()
    probes = [asyncio.create_task(lane.ask(bad, about=symbol)) for symbol in hanging]
    await asyncio.sleep(0)

    assert bad.open == 1
    assert await lane.ask(good, about="B-USD") == 1

    bad.gate.set()
    await asyncio.gather(*probes, return_exceptions=True)


async def test_as_many_markets_that_begin_to_fail_close_it_for_all() -> None:
    lane, bad = QuestionLane("candles", at_once=1, closed_seconds=60), Endpoint()
    bad.failure = VenueUnavailable("down")

    asked = (lane.ask(bad, about=f"A{number}-USD") for number in range(50))
    await asyncio.gather(*asked, return_exceptions=True)

    assert bad.asked == FAILURES_MAX
