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

FILE = "trades_1.csv"
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
        (root / "exports").mkdir(mode=0o700)
        for name in (FILE, f"{FILE}.5eed.part"):
            (root / "exports" / name).write_text("a,b\r\n1,2\r\n")
            (root / "exports" / name).chmod(0o600)
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
        # Half a file belongs to a process that begins anew.
        assert [path.name for path in (root / "exports").iterdir()] == [FILE]
        assert (root / "exports" / FILE).read_bytes() == b"a,b\r\n1,2\r\n"
        assert stat.S_IMODE((root / "exports" / FILE).stat().st_mode) == 0o600
        assert stat.S_IMODE((root / "exports").stat().st_mode) == 0o700


def test_exports_in_a_folder_of_their_own_are_backed_up_and_restored_there(
    folder: DataFolder, tmp_path: Path
) -> None:
    elsewhere, again = tmp_path / "files", tmp_path / "again"
    elsewhere.mkdir()
    (elsewhere / "orders_2.json").write_text("{}")
    back_up(folder, tmp_path / "nija.tar.gz", exports=elsewhere)
    with data_folder() as root:
        restore(DataFolder.at(root), tmp_path / "nija.tar.gz", force=False, exports=again)
        assert not (root / "exports").exists()
    assert [path.name for path in again.iterdir()] == ["orders_2.json"]


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
