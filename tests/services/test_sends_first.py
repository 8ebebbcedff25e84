"""What follows a send waits for other sends, and never for long."""

from __future__ import annotations

import asyncio

import pytest

from services.orders import sends_first
from services.orders.sends_first import SendsFirst


async def test_without_other_sends_nothing_is_waited_for() -> None:
    sends = SendsFirst()
    with sends.sending():
        pass

    await asyncio.wait_for(sends.let_others_send(), 0.1)


async def test_a_booking_waits_until_the_last_send_has_left() -> None:
    sends, order = SendsFirst(), []

    async def book() -> None:
        await sends.let_others_send()
        order.append("booked")

    with sends.sending():
        with sends.sending():
            booking = asyncio.create_task(book())
            await asyncio.sleep(0)
            order.append("sent")
        await asyncio.sleep(0.01)
        order.append("sent")
    await booking

    assert order == ["sent", "sent", "booked"]


async def test_a_send_that_hangs_keeps_no_booking_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sends_first, "DEFER_SECONDS_MAX", 0.05)
    sends = SendsFirst()

    with sends.sending():
        await asyncio.wait_for(sends.let_others_send(), 1)


async def test_a_send_that_fails_is_none_any_more() -> None:
    sends = SendsFirst()
    with pytest.raises(ZeroDivisionError), sends.sending():
        raise ZeroDivisionError

    await asyncio.wait_for(sends.let_others_send(), 0.1)
