"""`make test` names the folders with end-to-end tests: none may lie anywhere else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_end_to_end_test_lies_where_make_test_looks() -> None:
    recipes = re.findall(r"pytest -m e2e (.+)", (ROOT / "Makefile").read_text("utf-8"))
    folders = [ROOT / folder for recipe in recipes for folder in recipe.split()]
    marked = [
        file
        for file in (ROOT / "tests").rglob("test_*.py")
        if re.search(r"mark\.e2e\b", file.read_text("utf-8")) and file != Path(__file__)
    ]

    assert marked
    assert all(folder.is_dir() for folder in folders)
    elsewhere = [
        str(file.relative_to(ROOT))
        for file in marked
        if not any(file.is_relative_to(folder) for folder in folders)
    ]
    assert elsewhere == [], "name the folder in a recipe of the Makefile"
