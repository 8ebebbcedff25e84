"""PostgreSQL as a child process on a loopback TCP port, and on a Unix socket in its folder.

    server = EmbeddedPostgres(data_dir, port, passwords)
    server.start()
    psycopg.connect(server.urls.app)
    server.stop()

The supervisor uses the steps `start` is made of (`prepare`, `command`, `wait_ready`, `provision`)
one by one, because it owns the child. The platform's own processes talk to it over a Unix socket,
which costs a third less than TCP; in a data folder so deep that the socket's path would be too long
there is none. Both ways ask for the password.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.os_account import TRAVERSABLE_MODE, Account, database_account, obstacle
from adapters.embedded.ports import LOOPBACK, free_port
from adapters.embedded.postgres_roles import (
    SUPERUSER,
    DatabasePasswords,
    DatabaseUrls,
    provision,
)
from adapters.embedded.postgres_wheel import (
    MAJOR_VERSION,
    PostgresPrograms,
    reachable_programs,
)
from adapters.embedded.process import (
    Command,
    ProcessIdentity,
    clean_environment,
    log_tail,
    spawn,
    stop,
    stop_leftover,
    wait_until_gone,
)

READY_SECONDS = 60.0  # a crash recovery replays the log first
STOP_SECONDS = 20.0
ORPHAN_SECONDS = 5.0
CONNECT_SECONDS = 5
INITDB_SECONDS = 120.0

CONNECTIONS_MAX = 200

# Durability is never traded for speed: fsync and synchronous_commit stay on.
SERVER_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "wal_compression": "pglz",
    "min_wal_size": "128MB",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_min_duration_statement": "1000",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
    "password_encryption": "scram-sha-256",
}

_ACCESS = """\
# Written at every start.
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
"""
_SOCKET_PATH_BYTES_MAX = 103
"""What a socket's address holds on macOS, its ending zero left out; Linux takes four more."""


class EmbeddedPostgres:
    """One PostgreSQL server under one data folder.

    Attributes:
        port: where it listens; 0 in the constructor picks a free one, kept over restarts.
        urls: one URL a role, over TCP.
        local_urls: the same over the Unix socket; TCP where there is none.
        log: the server's own messages.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # fast shutdown: open sessions are ended, nothing is lost
    stop_seconds = STOP_SECONDS

    def __init__(
        self,
        data_dir: Path,
        port: int,
        passwords: DatabasePasswords,
        log: Path | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._folder = self._data_dir / "postgres"
        self._cluster = self._folder / MAJOR_VERSION
        self._passwords = passwords
        self._connections_max = connections_max
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()
        self.urls = DatabaseUrls.at(LOOPBACK, self.port, passwords)
        self._sockets = self._socket_folder()
        self.local_urls = (
            DatabaseUrls.inside(self._sockets, self.port, passwords) if self._sockets else self.urls
        )
        self.log = log or self._data_dir / "logs" / "postgres.log"

    @property
    def pid(self) -> int | None:
        """The postmaster started by `start`, if any."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until all three roles can use it.

        Raises:
            EmbeddedError: it could not be started; the message says why.
        """
        self.prepare()
        self._process = spawn(self.command())
        try:
            self.wait_ready(self._process)
            self.provision()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Fast shutdown; harmless when it does not run."""
        if self._process is not None:
            stop(self._process, self.stop_signal, self.stop_seconds)
            self._process = None

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear away what a killed server left."""
        self._data_dir.mkdir(parents=True, exist_ok=True)
        account = database_account(self._cluster)
        if account is not None:
            self._data_dir.chmod(TRAVERSABLE_MODE)
        self._require_reachable(account)
        _make_folder(self._folder, account)
        if self._cluster.exists():
            self._clear_leftovers()
        else:
            self._initialise(account, self._programs(account))
        (self._cluster / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        if self._sockets is not None:
            _make_folder(self._sockets, account)

    def command(self) -> Command:
        """How to start the postmaster."""
        account = database_account(self._cluster)
        argv = [self._programs(account)["postgres"], "-D", str(self._cluster)]
        argv += ["-h", LOOPBACK, "-p", str(self.port), "-k", str(self._sockets or "")]
        settings = {**SERVER_SETTINGS, "max_connections": str(self._connections_max)}
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Command(tuple(argv), clean_environment(), self.log, account)

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the server answers.

        Raises:
            EmbeddedError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if process.poll() is not None:
                raise EmbeddedError(f"PostgreSQL ended while starting:\n{log_tail(self.log)}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL is not ready:\n{log_tail(self.log)}")
            time.sleep(0.02)

    def provision(self) -> None:
        """Make the database and its roles as they must be."""
        provision(self.urls.superuser, self._passwords)

    def programs(self) -> PostgresPrograms:
        """The client programs that fit this server (psql, pg_dump, pg_restore)."""
        return self._programs(None)

    def _programs(self, account: Account | None) -> PostgresPrograms:
        return reachable_programs(account, self._folder / "programs")

    def _socket_folder(self) -> Path | None:
        """Inside the folder that only we can enter; None where the path would be too long."""
        folder = self._folder / "sockets"
        path = folder / f".s.PGSQL.{self.port}"
        return folder if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX else None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.urls.superuser, connect_timeout=CONNECT_SECONDS).close()
        except psycopg.OperationalError:
            return False
        return True

    def _require_reachable(self, account: Account | None) -> None:
        blocked = obstacle(self._data_dir, account)
        if blocked is not None and account is not None:
            raise EmbeddedError(
                f"PostgreSQL does not run as root; it runs as {account.name}, who cannot pass "
                f"{blocked} on the way to the data folder. Set NIJA_DATA_DIR to a folder that "
                f"others can reach (such as /var/lib/nija), or allow it: chmod o+x {blocked}"
            )

    def _initialise(self, account: Account | None, programs: PostgresPrograms) -> None:
        """Make a cluster beside its final place: an interrupted initdb leaves no half one."""
        unfinished = self._cluster.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, encoding="utf-8") as password_file:
            password_file.write(self._passwords.superuser)
            password_file.flush()
            if account is not None:
                os.chown(password_file.name, account.uid, account.gid)
            argv = [programs["initdb"], "--pgdata", str(unfinished), "--username", SUPERUSER]
            argv += ["--pwfile", password_file.name]
            argv += ["--auth=scram-sha-256", "--encoding=UTF8"]
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
            _run_initdb(argv, account)
        unfinished.replace(self._cluster)

    def _clear_leftovers(self) -> None:
        """Make sure no process uses the cluster, then drop the pid files of a server that is gone.

        The server's own check is fooled where process 1 does not reap: a killed postmaster stays a
        zombie whose pid looks alive. Removing its files is safe only after no process works in the
        folder.
        """
        pid_file = self._cluster / "postmaster.pid"
        for identity in self._processes_inside(lambda process: process.pid == _first_pid(pid_file)):
            stop_leftover(identity, signal.SIGINT, self.stop_seconds)
        # Without a postmaster its children end by themselves at once; a stuck one is forced.
        for identity in self._processes_inside(lambda _: True):
            if not wait_until_gone(identity, ORPHAN_SECONDS):
                stop_leftover(identity, signal.SIGKILL, ORPHAN_SECONDS)
        pid_file.unlink(missing_ok=True)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _processes_inside(self, wanted: Callable[[psutil.Process], bool]) -> list[ProcessIdentity]:
        """Processes whose working folder is the cluster: every PostgreSQL process changes to it."""
        found = []
        for process in psutil.process_iter():
            try:
                if wanted(process) and process.cwd() == str(self._cluster):
                    found.append(ProcessIdentity.of(process.pid))
            except psutil.Error:
                continue  # gone meanwhile, or not ours to look at
        return found


def _run_initdb(argv: list[str], account: Account | None) -> None:
    result = subprocess.run(  # noqa: S603 - the argv is ours, no shell is involved
        argv,
        env=clean_environment(),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=INITDB_SECONDS,
        cwd="/",
    )
    if result.returncode != 0:
        raise EmbeddedError(f"initdb failed:\n{result.stderr.strip()}")


def _make_folder(folder: Path, account: Account | None) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def _first_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
