"""Turns of accounts: one at a time for each, none for long, slots left for the quick ones."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

from services.orders.turns import AT_ONCE, Turns

HANGS = 60.0


class Work:
    """Turns that take as long as they are told."""

    def __init__(self, seconds: dict[UUID, float]) -> None:
        self.seconds = seconds
        self.begun: list[UUID] = []
        self.done: list[UUID] = []

    async def __call__(self, _user_id: UUID, account_id: UUID) -> None:
        self.begun.append(account_id)
        await asyncio.sleep(self.seconds.get(account_id, 0))
        self.done.append(account_id)


def accounts(count: int) -> list[tuple[UUID, UUID]]:
    return [(uuid4(), uuid4()) for _ in range(count)]


async def test_an_account_with_a_turn_gets_no_second_one() -> None:
    (one,) = accounts(1)
    work = Work({one[1]: 0.05})
    turns = Turns(work)

    begun = [turns.begin([one]), turns.begin([one])]
    await asyncio.gather(*begun[0])
    last = turns.begin([one])
    await asyncio.gather(*last)

    assert [len(begun[0]), len(begun[1]), len(last)] == [1, 0, 1]
    assert work.done == [one[1]] * 2


async def test_a_turn_that_hangs_is_cut_off() -> None:
    (one,) = accounts(1)
    work = Work({one[1]: HANGS})
    turns = Turns(work, seconds_max=0.05)

    await asyncio.wait_for(asyncio.gather(*turns.begin([one])), timeout=5)

    assert (work.begun, work.done) == ([one[1]], [])


async def test_accounts_that_hang_leave_slots_to_the_others() -> None:
    hanging, others = accounts(3 * AT_ONCE), accounts(20)
    work = Work(dict.fromkeys((account for _, account in hanging), HANGS))
    turns = Turns(work, slow_seconds=0.1, seconds_max=0.2)
    await asyncio.gather(*turns.begin(hanging))  # from now on they are known to be slow

    began = asyncio.get_running_loop().time()
    turns.begin(hanging)
    await asyncio.gather(*turns.begin(others))
    spent = asyncio.get_running_loop().time() - began
    await turns.stop()

    assert set(work.done) == {account for _, account in others}
    assert spent < 0.15, "no slow turn had to end first"


async def test_a_slow_account_that_is_quick_again_is_treated_as_the_others() -> None:
    many = accounts(AT_ONCE)
    work = Work(dict.fromkeys((account for _, account in many), HANGS))
    turns = Turns(work, slow_seconds=0.05, seconds_max=0.1)
    await asyncio.gather(*turns.begin(many))
    work.seconds.clear()
    await asyncio.gather(*turns.begin(many))
    work.begun.clear()
    work.seconds = dict.fromkeys((account for _, account in many), HANGS)

    turns.begin(many)
    await asyncio.sleep(0.05)
    count = len(work.begun)
    await turns.stop()

    assert count == AT_ONCE


async def test_a_turn_that_fails_keeps_no_other_from_its_own() -> None:
    one, other = accounts(2)
    done = []

    async def work(_user_id: UUID, account_id: UUID) -> None:
        if account_id == one[1]:
            raise ValueError("rows that nobody expected")
        done.append(account_id)

    await asyncio.gather(*Turns(work).begin([one, other]))

    assert done == [other[1]]


async def test_turns_are_cut_off_when_the_process_stops() -> None:
    work = Work({})
    many = accounts(AT_ONCE + 3)
    work.seconds = dict.fromkeys((account for _, account in many), HANGS)
    turns = Turns(work)
    begun = turns.begin(many)
    await asyncio.sleep(0.01)

    await turns.stop()
    turns.begin(many[:1])
    await turns.stop()  # before it came to anything

    assert all(task.done() for task in begun)
    assert len(work.begun) == AT_ONCE
    assert turns.begin(many[:1]), "nothing is left of the turns that were cut off"
    await turns.stop()
