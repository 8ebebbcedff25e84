"""The operating-system account PostgreSQL runs as: ours, or an unprivileged one when we are root.

PostgreSQL refuses to run as root. Root therefore needs another account, and everything PostgreSQL
touches (its binaries, its data) must be reachable for that account. No foreign folder's mode is
ever changed: what stands in the way is named instead.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.errors import EmbeddedError

OWN_ACCOUNT = "nija-postgres"
KNOWN_ACCOUNTS = (OWN_ACCOUNT, "postgres", "pgserver")
LAST_RESORT = "nobody"
TRAVERSABLE_MODE = 0o711


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int


def database_account(cluster: Path) -> Account | None:
    """Whom PostgreSQL runs as; None where it can run as ourselves.

    The owner of an existing cluster stays its owner: its files are unreadable for anybody else.

    Raises:
        EmbeddedError: we are root and no other account exists or can be made.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        return _account(pwd.getpwuid(owner))
    for name in KNOWN_ACCOUNTS:
        with suppress(KeyError):
            return _account(pwd.getpwnam(name))
    _create_own_account()
    for name in (OWN_ACCOUNT, LAST_RESORT):
        with suppress(KeyError):
            return _account(pwd.getpwnam(name))
    raise EmbeddedError(
        "PostgreSQL does not run as root and no other account exists: make one "
        f"(useradd --system {OWN_ACCOUNT}), run as another user, "
        "or set NIJA_DATABASE_URL to a server of yours."
    )


def obstacle(path: Path, account: Account | None) -> Path | None:
    """The first folder on the way to `path` that the account cannot pass through."""
    if account is None:
        return None
    for folder in (*reversed(path.resolve().parents), path.resolve()):
        if folder.is_dir() and not _can_traverse(folder.stat(), account):
            return folder
    return None


def _can_traverse(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _create_own_account() -> None:
    useradd = shutil.which("useradd")
    if useradd is not None:
        # A failure (a read-only /etc, say) only means that the last resort is used.
        subprocess.run(  # noqa: S603 - a fixed argv
            [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", OWN_ACCOUNT],
            check=False,
            capture_output=True,
            timeout=10,
        )
