"""Made-up requests against a running server: `make fuzz`, or `python -m tests.fuzz MINUTES`.

schemathesis makes requests from the OpenAPI document, right and wrong ones, single ones and
sequences, and judges every answer by the document. Calls that end the session they are made with
come last, each kind of caller gets a share of the time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.up import PASSWORD, ROOT, Person, RunningStack, running_stack

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
MINUTES = 10.0
SECONDS_MIN = 5
SEED = "7"
ADMIN_EMAIL = "admin@nija.example"
ADMIN = "^/admin/"
ENDINGS = (
    "^/auth/reset-password",
    "^/auth/change-email",
    "^/auth/2fa",
    "^/auth/sessions/",
    "^/auth/change-password$",
    "^/auth/logout$",
    "^/auth/delete-account$",
)
"""Calls that may end the session they are made with, each tried with a session of its own."""


@dataclass(frozen=True)
class Share:
    """Part of the calls, and its part of the time."""

    time: float
    selection: Sequence[str]
    is_admin: bool = False


SHARES = (
    Share(0.6, ("--exclude-path-regex", "|".join((ADMIN, *ENDINGS)))),
    Share(0.2, ("--include-path-regex", ADMIN), is_admin=True),
    *(Share(0.2 / len(ENDINGS), ("--include-path-regex", ending)) for ending in ENDINGS),
)


def main() -> int:
    """Answer 0 when no check failed."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    failed = []
    with running_stack(
        NIJA_RATE_LIMITS="off", NIJA_ADMIN_EMAIL=ADMIN_EMAIL, NIJA_ADMIN_PASSWORD=PASSWORD
    ) as stack:
        for number, share in enumerate(SHARES):
            caller = (
                administrator(stack)
                if share.is_admin
                else stack.register(f"fuzz{number}@nija.example")
            )
            if not passes(stack, share, caller, minutes * 60 * share.time):
                failed.append(share.selection[-1])
    if failed:
        print(f"checks failed: {', '.join(failed)}", file=sys.stderr)  # noqa: T201
    return 1 if failed else 0


def passes(stack: RunningStack, share: Share, caller: Person, seconds: float) -> bool:
    """Run a share's checks; whether all of them held."""
    command = [
        str(SCHEMATHESIS),
        "--config-file",
        str(CONFIGURATION),
        "run",
        f"{stack.run['api_url']}/api/v1/openapi.json",
        *share.selection,
        "--header",
        f"Authorization:Bearer {caller.token}",
        "--checks",
        "all",
        "--max-time",
        str(max(int(seconds), SECONDS_MIN)),
        "--seed",
        SEED,
        "--continue-on-failure",
        "--suppress-health-check",
        "all",
        "--warnings",
        "off",
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0  # noqa: S603


def administrator(stack: RunningStack) -> Person:
    """The administrator of the installation, logged in."""
    login = stack.data("POST", "/auth/login", body={"email": ADMIN_EMAIL, "password": PASSWORD})
    return Person(ADMIN_EMAIL, login["user"]["user_id"], login["access_token"])


if __name__ == "__main__":
    sys.exit(main())
