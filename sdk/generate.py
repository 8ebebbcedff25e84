"""Write the generated parts of both SDKs; with `--check`, only say whether they are as committed.

Run it as `.venv/bin/python sdk/generate.py` after an endpoint came, went or changed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
_CONFIGURATION = (
    f"--config={HERE.parent / 'pyproject.toml'}",
    # A file that is not written yet is no module that ruff would find by itself.
    '--config=lint.isort.known-first-party=["nija_sdk"]',
)
sys.path.insert(0, str(HERE.parent))

from api.nija.surface import build_surface  # noqa: E402 - found through the line above
from sdk.generator.document import Document  # noqa: E402
from sdk.generator.python_code import python_files  # noqa: E402
from sdk.generator.typescript_code import typescript_files  # noqa: E402


def generated() -> Mapping[Path, str]:
    """Every generated file as it should be."""
    document = Document(build_surface().openapi())
    package, sources = HERE / "python/nija_sdk", HERE / "js/src/generated"
    python = _formatted(python_files(document))
    typescript = typescript_files(document)
    return {
        **{package / name: text for name, text in python.items()},
        **{sources / name: text for name, text in typescript.items()},
    }


def differences() -> list[str]:
    """Files that are not as they should be, and generated ones that should be gone."""
    files = generated()
    wrong = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    folders = (HERE / "python/nija_sdk/resources", HERE / "js/src/generated")
    extra = [it for folder in folders for it in folder.glob("*.[pt][ys]") if it not in files]
    return sorted(str(path.relative_to(HERE)) for path in (*wrong, *extra))


def _formatted(files: Mapping[str, str]) -> Mapping[str, str]:
    """Python as the project formats it, with only the imports it needs."""
    with TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in files}
        for name, path in paths.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[name])
        for command in (["check", "--select=I,F401", "--fix", "--quiet"], ["format", "--quiet"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--no-cache"]
            subprocess.run(  # noqa: S603 - our own tool on our own text
                [*ruff, *_CONFIGURATION, folder],
                check=True,
                cwd=HERE.parent,
            )
        return {name: path.read_text() for name, path in paths.items()}


def main() -> int:
    """Write or check.

    Returns:
        The exit status: 1 when a check finds a difference.
    """
    if "--check" in sys.argv[1:]:
        wrong = differences()
        print("\n".join(wrong) or "All generated files are as they should be")  # noqa: T201 - said to who runs it
        return int(bool(wrong))
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
