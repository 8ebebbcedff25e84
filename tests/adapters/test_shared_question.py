"""One request for all who wait, never an answer from before the call."""

import asyncio

import pytest

from adapters.venues.flight import SharedQuestion


class Source:
    def __init__(self) -> None:
        self.value = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.was_asked = asyncio.Event()

    async def ask(self) -> int:
        self.asked += 1
        seen = self.value
        self.was_asked.set()
        await self.gate.wait()
        if seen < 0:
            raise ConnectionError
        return seen


async def test_callers_together_cost_one_request() -> None:
    source = Source()
    question = SharedQuestion(source.ask)

    answers = await asyncio.gather(*(question.answer() for _ in range(1000)))

    assert (set(answers), source.asked) == ({0}, 1)


async def test_caller_during_a_request_gets_a_later_one() -> None:
    source = Source()
    question = SharedQuestion(source.ask)
    source.gate.clear()
    early = asyncio.create_task(question.answer())
    await source.was_asked.wait()
    source.value = 1

    late = [asyncio.create_task(question.answer()) for _ in range(10)]
    await asyncio.sleep(0)
    source.gate.set()

    assert await early == 0
    assert set(await asyncio.gather(*late)) == {1}
    assert source.asked == 2


async def test_fresh_answer_is_given_again() -> None:
    source = Source()
    question = SharedQuestion(source.ask, fresh_seconds=60)

    await question.answer()
    await question.answer()

    assert source.asked == 1


async def test_failure_reaches_those_who_waited_and_nobody_later() -> None:
    source = Source()
    question = SharedQuestion(source.ask)
    source.value = -1
    answers = await asyncio.gather(question.answer(), question.answer(), return_exceptions=True)
    source.value = 5

    assert [type(answer) for answer in answers] == [ConnectionError] * 2
    assert await question.answer() == 5


async def test_caller_who_gives_up_takes_nothing_from_others() -> None:
    source = Source()
    question = SharedQuestion(source.ask)
    source.gate.clear()
    impatient = asyncio.create_task(question.answer())
    patient = asyncio.create_task(question.answer())
    await asyncio.sleep(0.01)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    source.gate.set()

    assert await patient == 0


async def test_close_abandons_what_is_under_way() -> None:
    source = Source()
    question = SharedQuestion(source.ask)
    source.gate.clear()
    waiting = asyncio.create_task(question.answer())
    await asyncio.sleep(0.01)

    await question.close()

    with pytest.raises(asyncio.CancelledError):
        await waiting
