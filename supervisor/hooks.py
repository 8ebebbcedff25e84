"""The three things the supervisor needs from the application itself.

They are imported when the stack starts, not when the command line does: `nija --help` stays quick,
and tests hand in their own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from supervisor.activity import ActivitySource
from supervisor.people import PersonFields


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the application does for the supervisor.

    Attributes:
        migrate: bring the database of an owner URL to the newest schema.
        ensure_people: make these logins exist, given the system role's URL; of each, whether it
            was made.
        activity: tell what happens, given the system role's URL.
    """

    migrate: Callable[[str], None]
    ensure_people: Callable[[str, list[PersonFields]], Coroutine[Any, Any, list[bool]]]
    activity: ActivitySource


def application_hooks() -> Hooks:
    """The application's own."""
    from bootstrap import ensure_people  # noqa: PLC0415 - see the module's docstring
    from migrations.run import upgrade  # noqa: PLC0415
    from services.activity import recent  # noqa: PLC0415

    return Hooks(migrate=upgrade, ensure_people=ensure_people, activity=recent)
