"""What users do besides sending alerts: stop, start, pause, change settings, close positions.

A command is repeated under one idempotency key until there is an answer. What an answer promised
("stopped", "paused", "this pair no more") is noted as a ban, with the moment of the answer and the
moment at which its release was first asked for; no entry may be sent in between.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

import httpx

from bench.population import Trader
from tests.support.up import Person

RETRY_SECONDS = 0.25
ANSWER_SECONDS = 15.0
_SERVER_ERROR = 500
# What a repetition is answered whose first attempt took effect before its process died.
_DONE_ALREADY = frozenset(
    {None, "NOT_RUNNING", "ALREADY_RUNNING", "POSITION_NOT_FOUND", "NOT_FOUND"}
)
_RELEASING_SHARE = 0.6
_CLOSING_SHARE = 0.45
"""Of stops: how many close the positions too."""
_TRANSIENT = frozenset({"IDEMPOTENCY_CONFLICT", "RATE_LIMITED"})


class Stance(StrEnum):
    """What a user last made of the bot."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    EMERGENCY = "emergency"
    SWITCHED = "switched"


@dataclass(slots=True)
class Ban:
    """No entry of this user (of this pair, if one is named) may be sent while it lasts.

    Attributes:
        since: when the answer had arrived, seconds since 1970.
        until: when its release was first asked for; None until then.
    """

    user_id: uuid.UUID
    kind: str
    since: float
    symbol: str | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer to a command."""

    status: int
    code: str | None
    data: Any
    arrived_at: float
    took_seconds: float

    @property
    def is_success(self) -> bool:
        """Whether it was carried out."""
        return self.code is None


@dataclass(slots=True)
class _Seat:
    trader: Trader
    stance: Stance = Stance.RUNNING
    is_narrow: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    bans: dict[str, Ban] = field(default_factory=dict)


class Commands:
    """Users at work.

    Attributes:
        bans: everything that was promised.
        closes: positions whose closing was confirmed.
        given: how many commands of each kind were answered.
        refused: answers that nothing explains.
        seconds: how long each took from the first attempt to the answer.
    """

    def __init__(
        self,
        api_url: str,
        traders: tuple[Trader, ...],
        admin: Person,
        pairs: tuple[str, ...],
        rng: Random,
    ) -> None:
        self._client = httpx.AsyncClient(base_url=f"{api_url}/api/v1", timeout=ANSWER_SECONDS)
        self._admin = admin
        self._pairs = pairs
        self._rng = rng
        self._seats = [_Seat(trader) for trader in traders]
        self.bans: list[Ban] = []
        self.closes: list[str] = []
        self.given: Counter[str] = Counter()
        self.refused: list[dict[str, Any]] = []
        self.seconds: list[float] = []

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def give_one(self) -> None:
        """Let a user who waits for nothing do something."""
        free = [seat for seat in self._seats if not seat.lock.locked()]
        if not free:
            return
        seat = self._rng.choice(free)
        async with seat.lock:
            await self._act(seat)

    async def release_all(self) -> None:
        """Let every bot run again, with all pairs."""
        await asyncio.gather(*(self._release_and_widen(seat) for seat in self._seats))

    async def stop_all(self) -> None:
        """Stop every bot and have its positions closed."""
        await asyncio.gather(*(self._stop(seat, close_positions=True) for seat in self._seats))

    async def _release_and_widen(self, seat: _Seat) -> None:
        async with seat.lock:
            if seat.stance is not Stance.RUNNING:
                await self._release(seat)
            if seat.is_narrow:
                await self._change_pairs(seat)

    async def _act(self, seat: _Seat) -> None:
        if seat.stance is not Stance.RUNNING and self._rng.random() < _RELEASING_SHARE:
            await self._release(seat)
            return
        choices = {
            self._close_position: 40,
            self._change_pairs: 14,
            self._pause: 12,
            self._stop: 12,
            self._emergency_stop: 5,
            self._engage_switch: 5,
        }
        may_end = seat.stance is Stance.RUNNING
        wanted = list(choices) if may_end else [self._close_position, self._change_pairs]
        (chosen,) = self._rng.choices(wanted, [choices[one] for one in wanted])
        await chosen(seat)

    # --- restrictions, and their releases ------------------------------------------------------

    async def _pause(self, seat: _Seat) -> None:
        await self._restrict(seat, Stance.PAUSED, "POST", "/trading/pause")

    async def _stop(self, seat: _Seat, *, close_positions: bool | None = None) -> None:
        wish = self._rng.random() < _CLOSING_SHARE if close_positions is None else close_positions
        body = {"close_positions": wish}
        await self._restrict(seat, Stance.STOPPED, "POST", "/trading/stop", body)

    async def _emergency_stop(self, seat: _Seat) -> None:
        body = {"reason": "chaos", "close_positions": self._rng.random() < _CLOSING_SHARE}
        await self._restrict(seat, Stance.EMERGENCY, "POST", "/trading/emergency-stop", body)

    async def _engage_switch(self, seat: _Seat) -> None:
        body = {
            "reason": "chaos",
            "scope": "user",
            "user_id": _wire_id(seat.trader),
            "close_all_positions": self._rng.random() < _CLOSING_SHARE,
        }
        await self._restrict(seat, Stance.SWITCHED, "POST", "/admin/kill-switch", body)

    async def _restrict(
        self, seat: _Seat, stance: Stance, method: str, path: str, body: Any = None
    ) -> None:
        answer = await self._call(seat, method, path, body)
        # A repeated stop finds its first attempt carried out.
        if answer.is_success or answer.code == "NOT_RUNNING":
            self._ban(seat, stance.value, answer)
            seat.stance = stance

    async def _release(self, seat: _Seat) -> None:
        self._lift(seat, seat.stance.value)
        match seat.stance:
            case Stance.PAUSED:
                await self._call(seat, "POST", "/trading/resume")
            case Stance.STOPPED:
                await self._start(seat)
            case Stance.EMERGENCY:
                await self._call(seat, "POST", "/trading/emergency-stop/release", {})
                await self._start(seat)
            case Stance.SWITCHED:
                query = {"reason": "over", "scope": "user", "user_id": _wire_id(seat.trader)}
                await self._call(seat, "DELETE", "/admin/kill-switch", query=query)
            case Stance.RUNNING:
                return
        seat.stance = Stance.RUNNING

    async def _start(self, seat: _Seat) -> None:
        body = {"broker": "coinbase", "paper_trading": not seat.trader.is_live}
        await self._call(seat, "POST", "/trading/start", body)

    async def _change_pairs(self, seat: _Seat) -> None:
        """Allow one pair alone, or all again."""
        removed = self._pairs[-1]
        allowed = self._pairs if seat.is_narrow else self._pairs[:-1]
        if seat.is_narrow:
            self._lift(seat, "pairs")
        answer = await self._call(
            seat, "PUT", "/config/settings", {"trading": {"allowed_pairs": list(allowed)}}
        )
        if answer.is_success:
            if not seat.is_narrow:
                self._ban(seat, "pairs", answer, removed)
            seat.is_narrow = not seat.is_narrow

    async def _close_position(self, seat: _Seat) -> None:
        shown = await self._call(seat, "GET", "/account/positions")
        held = [one["position_id"] for one in shown.data["positions"]] if shown.is_success else []
        if not held:
            return
        position_id = self._rng.choice(held)
        closed = await self._call(seat, "POST", f"/account/positions/{position_id}/close")
        if closed.is_success:
            self.closes.append(position_id)

    def _ban(self, seat: _Seat, kind: str, answer: Answer, symbol: str | None = None) -> None:
        ban = Ban(seat.trader.user_id, kind, answer.arrived_at, symbol)
        seat.bans[kind] = ban
        self.bans.append(ban)

    def _lift(self, seat: _Seat, kind: str) -> None:
        ban = seat.bans.pop(kind, None)
        if ban is not None:
            ban.until = time.time()

    # --- calls ---------------------------------------------------------------------------------

    async def _call(
        self,
        seat: _Seat,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask until there is an answer."""
        authorization = (
            f"Bearer {self._admin.token}"
            if path.startswith("/admin")
            else seat.trader.authorization
        )
        headers = {"Authorization": authorization}
        if method != "GET":
            headers["Idempotency-Key"] = uuid.uuid4().hex
        request = self._client.build_request(method, path, json=body, params=query, headers=headers)
        began = time.time()
        while True:
            answer = await self._attempt(request, began)
            if answer is not None:
                break
            await asyncio.sleep(RETRY_SECONDS)
        self._note(method, path, body, answer)
        return answer

    async def _attempt(self, request: httpx.Request, began: float) -> Answer | None:
        try:
            response = await self._client.send(request)
            body = response.json()
        except (httpx.HTTPError, ValueError):
            return None
        now = time.time()
        code = None if response.is_success else body.get("error", {}).get("code", "")
        if response.status_code >= _SERVER_ERROR or code in _TRANSIENT:
            return None
        return Answer(response.status_code, code, body.get("data"), now, now - began)

    def _note(self, method: str, path: str, body: Any, answer: Answer) -> None:
        parts = ["{id}" if "_" in part else part for part in path.split("/")]
        kind = f"{method} {'/'.join(parts)}"
        if method != "GET":
            self.given[kind] += 1
            self.seconds.append(answer.took_seconds)
        if answer.code not in _DONE_ALREADY:
            self.refused.append(
                {"call": kind, "status": answer.status, "code": answer.code, "body": body}
            )


def _wire_id(trader: Trader) -> str:
    return f"usr_{trader.user_id.hex}"
