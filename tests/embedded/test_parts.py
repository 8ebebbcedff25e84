"""The parts of the supervisor that need no server."""

import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.embedded import os_account, ports, process
from adapters.embedded.errors import EmbeddedError
from adapters.embedded.files import write_private
from settings import Settings
from supervisor import logs, sqlite_copy
from supervisor.backoff import Backoff
from supervisor.data_folder import DataFolder
from supervisor.leftovers import Remembered, remember, stop_leftovers
from supervisor.plan import make_plan
from tests.support.stack import data_folder

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - nothing is bound to it
PORT_FIELDS = [name for name in Settings.model_fields if name.endswith("_port")]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_settings(**given: object) -> Settings:
    return Settings.model_validate(dict.fromkeys(PORT_FIELDS, 0) | given)


@pytest.mark.parametrize("field", PORT_FIELDS)
def test_a_taken_port_names_its_setting(field: str, taken_port: int) -> None:
    setting = f"NIJA_{field.upper()}"
    with pytest.raises(EmbeddedError, match=rf"^{setting}={taken_port} is taken.*{setting} to"):
        make_plan(free_settings(**{field: taken_port}))


def test_two_settings_cannot_share_a_port() -> None:
    port = ports.free_port()
    with pytest.raises(EmbeddedError, match="NIJA_METRICS_PORT"):
        make_plan(free_settings(api_port=port, metrics_port=port))


def test_zero_picks_ports_that_differ() -> None:
    plan = make_plan(free_settings())
    picked = [getattr(plan.ports, name) for name in plan.ports.__slots__]
    assert 0 not in picked
    assert len(set(picked)) == len(picked)


def test_given_servers_are_not_embedded_and_take_no_port() -> None:
    url = "postgresql://a:b@db/nija"
    plan = make_plan(
        free_settings(
            database_url=url,
            app_database_url=url,
            system_database_url=url,
            temporal_address="temporal:7233",
            venues="real",
        )
    )
    embedded = (plan.embeds_postgres, plan.embeds_temporal, plan.embeds_simulator)
    assert embedded == (False, False, False)
    assert plan.ports.postgres == plan.ports.temporal == plan.ports.simulator == 0


def test_half_a_database_is_refused() -> None:
    with pytest.raises(EmbeddedError, match=r"NIJA_APP_DATABASE_URL, NIJA_SYSTEM_DATABASE_URL"):
        make_plan(free_settings(database_url="postgresql://a:b@db/nija"))


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "127.0.0.1"), (ANY_ADDRESS, "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_api_url_is_one_a_client_can_use(host: str, url: str) -> None:
    plan = make_plan(free_settings(bind_host=host))
    assert plan.api_url == f"http://{url}:{plan.ports.api}"


def test_back_off_is_quick_first_then_patient_then_forgiving() -> None:
    backoff = Backoff()
    delays = [backoff.delay(0) for _ in range(10)]
    assert delays[0] <= 0.5
    assert delays == sorted(delays)
    assert delays[-1] == 10
    assert backoff.delay(60) == delays[0]


def test_a_folder_is_used_by_one_only(tmp_path: Path) -> None:
    folder = DataFolder.at(tmp_path / "data")
    folder.make()
    with folder.locked():
        assert folder.in_use()
        with (
            pytest.raises(EmbeddedError, match=rf"in use.*pid {os.getpid()}.*NIJA_DATA_DIR"),
            folder.locked(),
        ):
            pass
    assert not folder.in_use()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="NIJA_DATA_DIR"):
        DataFolder.at(tmp_path / "file" / "data").make()


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_private(path, "old")
    write_private(path, "new")
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_is_bounded_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    with path.open("ab", buffering=0) as child:
        child.write(b"x" * 100)
        logs.bound(path, limit=50)
        child.write(b"after")
    assert path.read_bytes() == b"after"
    assert (tmp_path / "worker.log.1").stat().st_size == 100


@pytest.mark.parametrize("locking", ["NORMAL", "EXCLUSIVE"])
def test_a_database_is_copied_while_its_owner_writes(tmp_path: Path, locking: str) -> None:
    with closing(sqlite3.connect(tmp_path / "a.sqlite3", isolation_level=None)) as owner:
        owner.execute(f"PRAGMA locking_mode = {locking}")
        owner.execute("PRAGMA journal_mode = WAL")
        owner.execute("CREATE TABLE words (word text)")
        owner.execute("PRAGMA wal_checkpoint(FULL)")
        owner.executemany("INSERT INTO words VALUES (?)", [("word",)] * 100)
        owner.execute("BEGIN")
        owner.execute("INSERT INTO words VALUES ('not committed')")
        sqlite_copy.copy_sqlite(tmp_path / "a.sqlite3", tmp_path / "b.sqlite3")
    with closing(sqlite3.connect(tmp_path / "b.sqlite3")) as copy:
        assert copy.execute("SELECT count(*) FROM words").fetchone() == (100,)
    assert not (tmp_path / "b.sqlite3-wal").exists()
    assert stat.S_IMODE((tmp_path / "b.sqlite3").stat().st_mode) == 0o600


def sleeper(tmp_path: Path, code: str = "import time; time.sleep(60)") -> process.Command:
    return process.Command((sys.executable, "-c", code), dict(os.environ), tmp_path / "child.log")


def test_a_stubborn_child_and_its_own_children_are_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.fork(), flush=True)\n"
        "time.sleep(60)"
    )
    child = process.spawn(sleeper(tmp_path, code))
    deadline = time.monotonic() + 5
    while len((tmp_path / "child.log").read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    grandchild = max(int(pid) for pid in (tmp_path / "child.log").read_text().split())
    identity = process.ProcessIdentity.of(grandchild)
    assert not process.stop(child, signal.SIGTERM, 0.2)
    assert process.wait_until_gone(identity, 5)


def test_leftovers_are_stopped_but_no_stranger_of_the_same_pid(tmp_path: Path) -> None:
    ours, stranger = process.spawn(sleeper(tmp_path)), process.spawn(sleeper(tmp_path))
    started = process.ProcessIdentity.of(ours.pid).started
    try:
        path = tmp_path / "children.json"
        remember(
            path,
            [
                Remembered("worker", ours.pid, started, signal.SIGTERM, 5),
                Remembered("api", stranger.pid, started - 1000, signal.SIGTERM, 5),
            ],
        )
        assert stop_leftovers(path) == ["worker"]
        assert ours.wait(5) == -signal.SIGTERM
        assert stranger.poll() is None
        assert not path.exists()
    finally:
        process.stop(ours, signal.SIGKILL, 5)
        process.stop(stranger, signal.SIGKILL, 5)


def test_a_zombie_does_not_count_as_running() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    identity = process.ProcessIdentity.of(child.pid)
    assert identity.is_running()
    child.kill()
    assert process.wait_until_gone(identity, 5)  # nobody has waited for it yet
    child.wait()


def test_servers_do_not_inherit_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJA_JWT_SECRET", "secret")
    assert not any(name.startswith("NIJA") for name in process.clean_environment())


def test_an_ordinary_user_runs_the_database_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert os_account.database_account(tmp_path) is None
    assert os_account.obstacle(tmp_path, None) is None


def test_the_folder_in_the_way_is_found() -> None:
    nobody = os_account.Account("nobody", 65534, 65534)
    with data_folder() as folder:
        (folder / "closed" / "data").mkdir(parents=True)
        folder.chmod(0o711)
        assert os_account.obstacle(folder / "closed" / "data", nobody) is None
        (folder / "closed").chmod(0o700)
        assert os_account.obstacle(folder / "closed" / "data", nobody) == folder / "closed"
