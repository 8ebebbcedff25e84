"""The JavaScript SDK: it compiles, and its own tests pass, against the real server too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sdk.conftest import Login
from tests.sdk.faulty_proxy import faulty_proxy
from tests.sdk.javascript import NODE, PACKAGE, build, run
from tests.support.up import RunningStack

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    build()


def test_its_own_rules_hold() -> None:
    run(*NODE, "--test", "test/runtime.test.mjs", cwd=PACKAGE)


async def test_it_works_with_the_real_server(
    stack: RunningStack, new_login: Callable[[], Login]
) -> None:
    login = new_login()
    async with faulty_proxy(stack.run["api_url"]) as proxy:
        await asyncio.to_thread(
            run,
            *NODE,
            "--test",
            "test/server.test.mjs",
            cwd=PACKAGE,
            NIJA_BASE_URL=stack.run["api_url"],
            PROXY_URL=proxy.url,
            EXPIRED_TOKEN=login.token_for(-1),
            SHORT_TOKEN=login.token_for(4),
            REFRESH_TOKEN=login.refresh_token,
        )


def test_its_types_are_those_of_the_package(tmp_path: Path) -> None:
    """A program that uses it compiles, as both kinds of module; a wrong one does not."""
    (tmp_path / "node_modules" / "@nija").mkdir(parents=True)
    (tmp_path / "node_modules" / "@nija" / "sdk").symlink_to(PACKAGE)
    program = (PACKAGE / "test" / "consumer.ts").read_text()
    (tmp_path / "consumer.mts").write_text(program)
    (tmp_path / "consumer.cts").write_text(program)

    run(
        "node",
        str(PACKAGE / "node_modules" / "typescript" / "bin" / "tsc"),
        *(
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--target",
            "es2022",
            "--lib",
            "es2023,dom,dom.iterable",
        ),
        *("--module", "nodenext", "consumer.mts", "consumer.cts"),
        cwd=tmp_path,
    )


def test_what_is_published_holds_what_it_needs() -> None:
    packed = json.loads(run("npm", "pack", "--dry-run", "--json", "--ignore-scripts", cwd=PACKAGE))
    names = {file["path"] for file in packed[0]["files"]}

    wanted = {
        "dist/esm/index.js",
        "dist/esm/index.d.ts",
        "dist/cjs/index.js",
        "dist/cjs/index.d.ts",
    }
    assert wanted | {"dist/cjs/package.json", "README.md", "LICENSE", "package.json"} <= names
    assert not [name for name in names if name.startswith(("src/", "test/"))]
    assert not [name for name in names if name.endswith(".tsbuildinfo")]
