"""The audit log as a hash chain: sealing committed entries, and finding what was tampered with.

Entries are written in the transactions they tell about, by many at once; a chain that grew there
would make every login wait for every other. So an entry commits without a place in the chain, and a
pass seals it some seconds later: one transaction, serialised by the lock of the chain's own row,
numbers what has committed since and hashes each entry together with the hash before it. An entry
whose transaction commits late gets a later number, and the order of numbers is the order of
sealing, not of `at`.

What verification finds: a changed, removed or inserted entry anywhere in the sealed part, also a
removed end, because the chain's row remembers number and hash of the last entry. Whoever owns the
database could write a whole new chain; so each pass also logs the end (`audit.sealed`), and
`nija audit verify --head` compares the chain with an end that was noted elsewhere. What was not
sealed yet (some seconds) is not protected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from domain.ports import WallClock
from models.controls import AuditChain
from services.database import Database

CHAIN = "main"
GENESIS = "0" * 64
"""What stands for the hash before the first entry."""

PASS_MAX = 1_000
VERIFY_PAGE = 2_000

# The database's own text of time and meta: both are read back exactly as they were hashed.
_CONTENT = """
id::text AS id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS at, event_type,
user_id::text AS user_id, actor_id::text AS actor_id, ip_address, user_agent, meta::text AS meta
"""
_UNSEALED = text(f"""
SELECT {_CONTENT} FROM audit_log WHERE sequence IS NULL ORDER BY audit_log.at, audit_log.id
LIMIT :limit
""")  # noqa: S608 - every part is a literal, every value a parameter
_SEAL = text("""
UPDATE audit_log SET sequence = s.sequence, previous_hash = s.previous_hash, hash = s.hash
FROM jsonb_to_recordset(CAST(:seals AS jsonb))
     AS s(id uuid, sequence bigint, previous_hash text, hash text)
WHERE audit_log.id = s.id
""")
_SEALED = text(f"""
SELECT sequence, previous_hash, hash, {_CONTENT} FROM audit_log
WHERE sequence > :after ORDER BY sequence LIMIT :limit
""")  # noqa: S608 - the same
_COUNT_UNSEALED = text("SELECT count(*) FROM audit_log WHERE sequence IS NULL")

_log = structlog.get_logger("nija.audit")


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain, as it can be noted elsewhere: `number:hash`."""

    sequence: int
    hash: str

    @classmethod
    def parse(cls, noted: str) -> Head:
        """Read a noted end.

        Raises:
            ValueError: it is not of the form `number:hash`.
        """
        number, _, digest = noted.partition(":")
        if not number.isdigit() or len(digest) != len(GENESIS):
            raise ValueError("A head looks like 1234:<64 hexadecimal digits>")
        return cls(int(number), digest.lower())

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Break:
    """The first place at which the chain does not hold."""

    sequence: int
    entry_id: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying found; `broken` is None where every sealed entry is as it was written."""

    entries: int
    unsealed: int
    head: Head
    broken: Break | None


def hash_entry(content: Mapping[str, Any], sequence: int, previous_hash: str) -> str:
    """SHA-256 over an entry's content, its number and the hash before it, as canonical JSON."""
    names = ("id", "at", "event_type", "user_id", "actor_id", "ip_address", "user_agent", "meta")
    canonical = json.dumps(
        {name: content[name] for name in names}
        | {"sequence": sequence, "previous_hash": previous_hash},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


class AuditSealing:
    """Seals what has committed; one pass at a time, whoever runs it."""

    def __init__(self, database: Database, clock: WallClock) -> None:
        self._database = database
        self._clock = clock

    async def sweep(self) -> int:
        """Seal every committed entry; how many were sealed. Another pass under way does it all."""
        sealed = 0
        while True:
            count = await self._pass()
            sealed += count
            if count < PASS_MAX:
                return sealed

    async def _pass(self) -> int:
        async with self._database.as_system() as session:
            chain = await _lock_chain(session, self._clock)
            if chain is None:
                return 0
            connection = await session.connection()
            found = (await connection.execute(_UNSEALED, {"limit": PASS_MAX})).mappings()
            entries = [dict(entry) for entry in found]
            if not entries:
                return 0
            head, seals = Head(chain.sequence, chain.hash), []
            for entry in entries:
                number = head.sequence + 1
                digest = hash_entry(entry, number, head.hash)
                seals.append(
                    {
                        "id": entry["id"],
                        "sequence": number,
                        "previous_hash": head.hash,
                        "hash": digest,
                    }
                )
                head = Head(number, digest)
            await connection.execute(_SEAL, {"seals": json.dumps(seals)})
            chain.sequence, chain.hash, chain.sealed_at = (
                head.sequence,
                head.hash,
                self._clock.now(),
            )
            session.add(chain)
        _log.info("audit.sealed", entries=len(entries), head=str(head))
        return len(entries)


class AuditVerifying:
    """Walks the chain from its first entry to its end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def verify(self, noted: Head | None = None) -> Verification:
        """Recompute every hash; stops at the first entry that is not as it was sealed.

        Args:
            noted: an end of this chain that was noted earlier, outside the database.
        """
        async with self._database.as_system() as session:
            connection = await session.connection()
            # One snapshot for chain and entries: a pass in between must not look like a break.
            await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            chain = (
                await session.exec(select(AuditChain).where(AuditChain.name == CHAIN))
            ).one_or_none()
            end = Head(chain.sequence, chain.hash) if chain else Head(0, GENESIS)
            unsealed = (await connection.execute(_COUNT_UNSEALED)).scalar_one()
            head, broken = await _walk(session, noted)
        if broken is None:
            broken = _compare_ends(head, end, noted)
        return Verification(head.sequence, unsealed, end, broken)


async def _walk(session: AsyncSession, noted: Head | None) -> tuple[Head, Break | None]:
    connection = await session.connection()
    head = Head(0, GENESIS)
    while True:
        page = await connection.execute(_SEALED, {"after": head.sequence, "limit": VERIFY_PAGE})
        entries = [dict(entry) for entry in page.mappings()]
        for entry in entries:
            broken = _judge(entry, head, noted)
            if broken is not None:
                return head, broken
            head = Head(entry["sequence"], entry["hash"])
        if len(entries) < VERIFY_PAGE:
            return head, None


def _judge(entry: Mapping[str, Any], before: Head, noted: Head | None) -> Break | None:
    number = before.sequence + 1
    if entry["sequence"] != number:
        return Break(number, None, "the entry is missing")
    if entry["previous_hash"] != before.hash:
        return Break(number, entry["id"], "it does not continue the entry before it")
    if entry["hash"] != hash_entry(entry, number, before.hash):
        return Break(number, entry["id"], "its content was changed")
    if noted is not None and noted.sequence == number and noted.hash != entry["hash"]:
        return Break(
            number, entry["id"], "it is not the entry that was noted: this is another chain"
        )
    return None


def _compare_ends(head: Head, end: Head, noted: Head | None) -> Break | None:
    if head != end:
        number = min(head.sequence, end.sequence) + 1
        return Break(number, None, "the end of the chain is missing or was added to")
    if noted is not None and noted.sequence > head.sequence:
        return Break(head.sequence + 1, None, "the chain ends before the entry that was noted")
    return None


async def _lock_chain(session: AsyncSession, clock: WallClock) -> AuditChain | None:
    """Lock the chain's row, made at the first pass; None while another pass holds it."""
    await session.exec(
        insert(AuditChain)
        .values(name=CHAIN, sequence=0, hash=GENESIS, sealed_at=clock.now())
        .on_conflict_do_nothing()
    )
    return (
        await session.exec(
            select(AuditChain).where(AuditChain.name == CHAIN).with_for_update(skip_locked=True)
        )
    ).one_or_none()


async def verify_database(system_url: str, noted: Head | None = None) -> Verification:
    """Verify the chain of a database, by the URL of the system role."""
    database = Database(system_url, system_url, pool_size=1)
    try:
        return await AuditVerifying(database).verify(noted)
    finally:
        await database.close()
