"""Many refused tries of an exit, as weeks leave them behind."""

from __future__ import annotations

from uuid import UUID

from tests.support.engine import Engine


async def add_refused_attempts(
    engine: Engine, order_id: UUID, count: int, code: str = "keys_refused"
) -> None:
    """Put refused tries before an exit, a minute between them; the exit is the one after them."""
    instead = {
        "id": "gen_random_uuid()",
        "client_order_id": "gen_random_uuid()::text",
        "attempt": "n",
        "state": "'refused'",
        "sends": "1",
        "refused_sends": "1",
        "refusal_code": ":code",
        "refusal_reason": "'The broker says no'",
        "intended_at": "intended_at - (:count - n + 1) * interval '1 minute'",
        "settled_at": "intended_at - (:count - n + 1) * interval '1 minute'",
    }
    found = await engine.rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders'"
    )
    names = [row["column_name"] for row in found]
    values = ", ".join(instead.get(name, name) for name in names)
    await engine.execute(
        "UPDATE orders SET attempt = :next WHERE id = :id", next=count + 1, id=order_id
    )
    await engine.execute(
        f"INSERT INTO orders ({', '.join(names)}) SELECT {values}"  # noqa: S608 - our own names
        " FROM orders, generate_series(1, :count) n WHERE orders.id = :id",
        count=count,
        code=code,
        id=order_id,
    )
