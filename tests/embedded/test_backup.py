import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from adapters.embedded import secrets
from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres import EmbeddedPostgres
from supervisor.backup import back_up
from supervisor.data_folder import DataFolder
from supervisor.restore import restore
from tests.support.stack import data_folder

pytestmark = pytest.mark.integration

SQLITE_FILES = ("temporal/temporal.sqlite3", "simulator.sqlite3")


@pytest.fixture(scope="module")
def folder() -> Iterator[DataFolder]:
    """A data folder with something in each store, its database stopped."""
    with data_folder() as root:
        folder = DataFolder.at(root)
        folder.make()
        server = database(folder)
        server.start()
        with psycopg.connect(server.urls.owner) as connection:
            connection.execute("CREATE TABLE orders (user_id int PRIMARY KEY, word text)")
            connection.execute("INSERT INTO orders VALUES (1, 'kept')")
            connection.execute("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
            connection.execute("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
            connection.execute("GRANT SELECT ON orders TO nija_system")
        server.stop()
        for name in SQLITE_FILES:
            (root / name).parent.mkdir(exist_ok=True)
            with closing(sqlite3.connect(root / name)) as store:
                store.execute("PRAGMA journal_mode=WAL")
                store.execute("CREATE TABLE words (word text)")
                store.execute("INSERT INTO words VALUES (?)", [name])
                store.commit()
        yield folder


@pytest.fixture(scope="module")
def archive(folder: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("backup") / "nija.tar.gz"
    back_up(folder, target)
    return target


def database(folder: DataFolder) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder.root, 0, secrets.load_or_create(folder.root).database_passwords)


def test_a_restored_stack_holds_everything(folder: DataFolder, archive: Path) -> None:
    with data_folder() as root:
        restored = DataFolder.at(root)
        restore(restored, archive, force=False)
        assert secrets.load_or_create(root) == secrets.load_or_create(folder.root)
        server = database(restored)
        server.start()
        try:
            with psycopg.connect(server.urls.system) as connection:
                assert connection.execute("SELECT word FROM orders").fetchone() == ("kept",)
        finally:
            server.stop()
        for name in SQLITE_FILES:
            with closing(sqlite3.connect(root / name)) as store:
                assert store.execute("SELECT word FROM words").fetchone() == (name,)
            assert stat.S_IMODE((root / name).stat().st_mode) == 0o600


def test_an_archive_is_private_and_never_overwritten(folder: DataFolder, archive: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert list(archive.parent.iterdir()) == [archive]
    with pytest.raises(EmbeddedError, match="exists already"):
        back_up(folder, archive)


def test_a_folder_in_use_is_kept_unless_forced(archive: Path) -> None:
    with data_folder() as root:
        folder = DataFolder.at(root)
        (root / "notes.txt").write_text("mine")
        with pytest.raises(EmbeddedError, match="--force"):
            restore(folder, archive, force=False)
        assert (root / "notes.txt").read_text() == "mine"
        restore(folder, archive, force=True)
        assert not (root / "notes.txt").exists()
        assert (root / "postgres").is_dir()


def test_nothing_is_restored_into_a_running_stack(archive: Path) -> None:
    with data_folder() as root:
        folder = DataFolder.at(root)
        with folder.locked(), pytest.raises(EmbeddedError, match="in use"):
            restore(folder, archive, force=True)


def test_a_damaged_archive_changes_nothing(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as whole:
        whole.extractall(tmp_path / "files", filter="data")
    (tmp_path / "files" / "simulator.sqlite3").write_bytes(b"SQLite format 3\0 tampered")
    damaged = tmp_path / "damaged.tar.gz"
    with tarfile.open(damaged, "w:gz") as rewritten:
        for path in (tmp_path / "files").rglob("*"):
            rewritten.add(path, arcname=str(path.relative_to(tmp_path / "files")), recursive=False)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(archive.read_bytes()[:-2000])
    with data_folder() as root:
        (root / "notes.txt").write_text("mine")
        for bad in (damaged, cut, tmp_path / "missing.tar.gz"):
            with pytest.raises(EmbeddedError, match=bad.name):
                restore(DataFolder.at(root), bad, force=True)
        assert {path.name for path in root.iterdir()} == {"lock", "logs", "notes.txt"}
