"""Migrations form one chain: two that were written beside each other would stop every start."""

from __future__ import annotations

import re

from tests.architecture.product import ROOT

_FILE = re.compile(r"(\d{4})_\w+\.py")
_IDS = re.compile(r'^(?:down_)?revision = "?(\w+)"?$', re.MULTILINE)


def test_each_migration_follows_the_one_before_it() -> None:
    found = sorted(
        (match[1], *_IDS.findall(path.read_text()))
        for path in (ROOT / "migrations/versions").glob("*.py")
        if (match := _FILE.fullmatch(path.name))
    )
    numbers = [f"{number:04}" for number in range(1, len(found) + 1)]
    before = ["None", *numbers[:-1]]
    assert found == list(zip(numbers, numbers, before, strict=True))
