"""Our own programs as children: the simulator, the two workers and the API."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.embedded.process import Command, clean_environment, log_tail
from adapters.embedded.secrets import Secrets
from settings import Settings
from supervisor.plan import Plan
from supervisor.web import answers, says

READY_SECONDS = 60.0
PROBE_INTERVAL_SECONDS = 0.05
STOP_SECONDS = 10.0


_WORKER_IS_READY = re.compile(r"^nija_worker_ready(\{[^}]*\})? 1$", re.MULTILINE)
"""What a worker's metrics page says; that it answers says nothing."""


class PythonProgram:
    """A module of ours run by the same interpreter, ready when a page of it answers 200.

    Args:
        name: how it is called.
        module: what is run.
        env: its environment.
        log: where its output goes.
        ready_url: the page.
        arguments: of the command line.
        ready_text: what the page has to say as well, where it answers earlier.
    """

    stop_signal = signal.SIGTERM
    stop_seconds = STOP_SECONDS

    def __init__(
        self,
        name: str,
        module: str,
        env: Mapping[str, str],
        log: Path,
        ready_url: str,
        arguments: tuple[str, ...] = (),
        ready_text: re.Pattern[str] | None = None,
    ) -> None:
        self.name = name
        self._command = Command((sys.executable, "-m", module, *arguments), env, log)
        self._ready_url = ready_url
        self._ready_text = ready_text

    def prepare(self) -> None:
        """Nothing: our programs keep their state in the servers."""

    def command(self) -> Command:
        """How to start it."""
        return self._command

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it serves.

        Raises:
            EmbeddedError: it ended, or did not answer in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if process.poll() is not None:
                raise EmbeddedError(f"The {self.name} ended while starting:\n{self._tail()}")
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"The {self.name} is not ready at {self._ready_url}:\n{self._tail()}"
                )
            time.sleep(PROBE_INTERVAL_SECONDS)

    def _is_ready(self) -> bool:
        if self._ready_text is None:
            return answers(self._ready_url)
        return says(self._ready_url, self._ready_text)

    def _tail(self) -> str:
        return log_tail(self._command.log)


def simulator_program(settings: Settings, plan: Plan, data_dir: Path, log: Path) -> PythonProgram:
    """The exchange simulator; it stands for a stranger's machine and gets none of our secrets.

    Its settings are passed on only where they are set: else it continues the market it remembers.
    """
    passed = ("NIJA_SIMULATOR_", "NIJA_REPLAY_", "NIJA_MARKET_DATA_DIR", "NIJA_LOG_", "PYTHON")
    env = clean_environment()
    env |= {name: value for name, value in os.environ.items() if name.startswith(passed)}
    env |= {
        "NIJA_DATA_DIR": str(data_dir),
        "NIJA_SIMULATOR_PORT": str(plan.ports.simulator),
        "PYTHONUNBUFFERED": "1",
    }
    if settings.market_data_dir is not None:
        env["NIJA_MARKET_DATA_DIR"] = str(settings.market_data_dir.resolve())
    ready_url = f"{plan.simulator_url}/control/healthz"
    return PythonProgram("simulator", "simulator", env, log, ready_url)


def worker_program(env: Mapping[str, str], plan: Plan, log: Path) -> PythonProgram:
    """The main worker."""
    ready_url = f"http://127.0.0.1:{plan.ports.worker_metrics}/metrics"
    return PythonProgram("worker", "worker", env, log, ready_url, (), _WORKER_IS_READY)


def exits_program(env: Mapping[str, str], plan: Plan, log: Path) -> PythonProgram:
    """The worker that carries out exits and nothing else."""
    ready_url = f"http://127.0.0.1:{plan.ports.exits_metrics}/metrics"
    arguments = ("exits",)
    return PythonProgram("exits-worker", "worker", env, log, ready_url, arguments, _WORKER_IS_READY)


def api_program(env: Mapping[str, str], plan: Plan, log: Path) -> PythonProgram:
    """The API."""
    return PythonProgram("api", "api.main", env, log, f"{plan.api_url}/ready")


def service_environment(  # what the workers and the API need to know
    settings: Settings,
    plan: Plan,
    *,
    data_dir: Path,
    urls: DatabaseUrls,
    temporal_address: str,
    secrets: Secrets,
) -> dict[str, str]:
    """The environment of the workers and the API: ours, with every address and secret filled in."""
    jwt_secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
    vault_keys = settings.vault_keys.get_secret_value() if settings.vault_keys else None
    filled = {
        "NIJA_DATA_DIR": str(data_dir),
        "NIJA_API_PORT": str(plan.ports.api),
        "NIJA_METRICS_PORT": str(plan.ports.metrics),
        "NIJA_WORKER_METRICS_PORT": str(plan.ports.worker_metrics),
        "NIJA_EXITS_METRICS_PORT": str(plan.ports.exits_metrics),
        "NIJA_DATABASE_URL": urls.owner,
        "NIJA_APP_DATABASE_URL": urls.app,
        "NIJA_SYSTEM_DATABASE_URL": urls.system,
        "NIJA_TEMPORAL_ADDRESS": temporal_address,
        "NIJA_JWT_SECRET": jwt_secret or secrets.jwt_secret,
        "NIJA_VAULT_KEYS": vault_keys or secrets.vault_keys,
        "PYTHONUNBUFFERED": "1",
    }
    if plan.embeds_simulator:
        filled["NIJA_SIMULATOR_URL"] = plan.simulator_url
    return {**os.environ, **filled}
