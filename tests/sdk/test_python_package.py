"""The Python package as it is published."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nija_sdk import __version__
from tests.support.up import ROOT

pytestmark = pytest.mark.integration


def test_the_wheel_holds_what_it_needs(tmp_path: Path) -> None:
    source = tmp_path / "source"
    left_out = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "sdk" / "python", source, ignore=left_out)

    subprocess.run(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--disable-pip-version-check", "-w", tmp_path, source),
        ],
        check=True,
        timeout=120,
    )

    (wheel,) = tmp_path.glob(f"nija_sdk-{__version__}-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    modules = {
        str(path.relative_to(source)) for path in (source / "nija_sdk").rglob("*") if path.is_file()
    }
    assert {name for name in names if name.startswith("nija_sdk/")} == modules
    assert "nija_sdk/py.typed" in names
