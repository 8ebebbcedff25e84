from pathlib import Path

import pytest

from tests.support.command_line import nija


def test_help_lists_the_commands() -> None:
    result = nija("--help")
    assert result.returncode == 0
    for command in (
        "up",
        "demo",
        "simulator",
        "migrate",
        "backup",
        "restore",
        "admin",
        "stripe",
        "status",
    ):
        assert f" {command} " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        (("status",), {}, 1, "Nothing runs"),
        (("backup", "x.tar.gz"), {}, 1, "holds no database of ours"),
        (("restore", "missing.tar.gz"), {}, 1, "missing.tar.gz"),
        (("up",), {"NIJA_API_PORT": "-1"}, 2, "NIJA_API_PORT"),
        (("status",), {"NIJA_JWT_SECRET": "hunter2"}, 2, "NIJA_JWT_SECRET"),
        (("no-such-command",), {}, 2, "no-such-command"),
    ],
)
def test_errors_are_sentences_with_exit_codes(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], code: int, words: str
) -> None:
    result = nija(*arguments, NIJA_DATA_DIR=str(tmp_path), **env)
    assert result.returncode == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stderr
