"""The product's own source files, parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "Generated from the OpenAPI document"
PACKAGES = (
    "activities",
    "adapters",
    "api",
    "domain",
    "migrations",
    "models",
    "sdk",
    "services",
    "simulator",
    "supervisor",
    "workflows",
)


@dataclass(frozen=True)
class Source:
    """One file; `name` is its path from the root."""

    name: str
    text: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.name.split("/", maxsplit=1)[0]

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    def functions(self) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        """Every function with its dotted name."""
        yield from _functions(self.tree, "")

    def calls(self) -> Iterator[tuple[int, str]]:
        """Every call: line, and what is called as it is written."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node.lineno, ast.unparse(node.func)


@cache
def sources() -> Sequence[Source]:
    """All files of the product; tests, benchmarks, applied migrations, generated ones are none."""
    paths = [*ROOT.glob("*.py"), *(path for it in PACKAGES for path in (ROOT / it).rglob("*.py"))]
    return [
        Source(str(path.relative_to(ROOT)), text, ast.parse(text))
        for path in sorted(paths)
        if not {"versions", "node_modules"} & set(path.parts)
        for text in [path.read_text(encoding="utf-8")]
        if GENERATED not in text[:200]
    ]


def in_packages(*packages: str) -> Sequence[Source]:
    return [source for source in sources() if source.package in packages]


def _functions(
    node: ast.AST, prefix: str
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{prefix}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _functions(child, f"{name}.")
