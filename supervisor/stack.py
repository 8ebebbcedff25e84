"""The order in which everything starts and stops."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.postgres import EmbeddedPostgres
from adapters.embedded.postgres_roles import DatabaseUrls
from adapters.embedded.search_attributes import ensure_search_attributes
from adapters.embedded.secrets import load_or_create, refuse_weak, save
from adapters.embedded.temporal import EmbeddedTemporal
from settings import Settings
from supervisor import logs
from supervisor.child import Child, Program
from supervisor.connections import connections_needed
from supervisor.data_folder import DataFolder
from supervisor.hooks import Hooks
from supervisor.leftovers import remember, stop_leftovers
from supervisor.people import People, first_people, with_demo_account
from supervisor.plan import Plan, external_urls, make_plan
from supervisor.programs import (
    api_program,
    exits_program,
    service_environment,
    simulator_program,
    worker_program,
)
from supervisor.run_file import RunInfo, write_run_file

LOG_CHECK_SECONDS = 60.0
PIDS = ("api", "worker", "exits-worker", "temporal", "postgres", "simulator")


class Stack:
    """All children of one data folder, which the caller has locked.

    Attributes:
        plan: what is ours and where it listens.
        people: who can log in from the start.
        info: how to reach it all; None before `start` returned.
    """

    def __init__(self, settings: Settings, folder: DataFolder, hooks: Hooks) -> None:
        refuse_weak(settings.jwt_secret, settings.vault_keys, settings.admin_password)
        self._settings = settings
        self._folder = folder
        self._hooks = hooks
        self._children: list[Child] = []
        self._secrets = load_or_create(folder.root)
        folder.run_file.unlink(missing_ok=True)  # a killed supervisor's
        self.stopped_leftovers = stop_leftovers(folder.children_file)
        logs.bound_all(folder.logs)
        self.plan: Plan = make_plan(settings)
        self.people: People = first_people(settings, self._secrets)
        self.info: RunInfo | None = None
        self._postgres = self._embedded_postgres()
        self._temporal = self._embedded_temporal()

    @property
    def urls(self) -> DatabaseUrls:
        """One database URL a role."""
        return self._postgres.urls if self._postgres else external_urls(self._settings)

    @property
    def temporal_address(self) -> str:
        """Where Temporal listens, ours or not."""
        if self._temporal is not None:
            return self._temporal.address
        assert self._settings.temporal_address, "else it would be ours"
        return self._settings.temporal_address

    @property
    def simulator_url(self) -> str | None:
        """Where the exchange simulator listens; None on real venues."""
        given = self._settings.simulator_url
        return self.plan.simulator_url if self.plan.embeds_simulator else given

    async def start(self) -> RunInfo:
        """Start everything and wait until all of it serves.

        Raises:
            EmbeddedError: something could not be started; what was started still runs.
        """
        await self._start(self._servers())
        if self._postgres is not None:
            await asyncio.to_thread(self._postgres.provision)
        if self._temporal is None:
            await ensure_search_attributes(self.temporal_address, self._settings.temporal_namespace)
        await asyncio.to_thread(self._hooks.migrate, self.urls.owner)
        await self._hooks.ensure_people(self.urls.system, self.people.as_list())
        await self._open_demo_account()
        await self._start(self._services())
        self.info = self._run_info()
        self._note_children()
        return self.info

    async def keep_running(self) -> None:
        """Start again whatever dies; runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for child in self._children:
                tasks.create_task(child.keep_running())
            tasks.create_task(self._bound_logs())

    def stop(self) -> list[str]:
        """Stop all children, last started first; the data stays. Blocks.

        Returns:
            The names of those that had to be forced.
        """
        forced = [child.name for child in reversed(self._children) if not child.stop()]
        self._folder.run_file.unlink(missing_ok=True)
        self._folder.children_file.unlink(missing_ok=True)
        return forced

    async def _start(self, programs: Sequence[Program]) -> None:
        """Start these one after the other, then wait for all: they do not need each other."""
        started = [Child(program, self._note_children) for program in programs]
        for child in started:
            self._children.append(child)
            await child.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                for child in started:
                    tasks.create_task(child.wait_ready())
        except* EmbeddedError as failures:
            raise failures.exceptions[0] from None

    def _servers(self) -> list[Program]:
        programs: list[Program] = [p for p in (self._postgres, self._temporal) if p is not None]
        if self.plan.embeds_simulator:
            log = self._folder.log("simulator")
            programs.append(simulator_program(self._settings, self.plan, self._folder.root, log))
        return programs

    def _services(self) -> list[Program]:
        env = service_environment(
            self._settings,
            self.plan,
            data_dir=self._folder.root,
            urls=self._postgres.local_urls if self._postgres else self.urls,
            temporal_address=self.temporal_address,
            secrets=self._secrets,
        )
        return [
            exits_program(env, self.plan, self._folder.log("exits-worker")),
            worker_program(env, self.plan, self._folder.log("worker")),
            api_program(env, self.plan, self._folder.log("api")),
        ]

    async def _open_demo_account(self) -> None:
        if self.people.demo is not None and self.simulator_url is not None:
            self._secrets = await asyncio.to_thread(
                with_demo_account, self._secrets, self.simulator_url
            )
            save(self._folder.root, self._secrets)

    def _run_info(self) -> RunInfo:
        demo, secrets = self.people.demo, self._secrets
        return RunInfo(
            api_url=self.plan.api_url,
            metrics_url=self.plan.metrics_url,
            temporal_ui_url=self._temporal.ui_url if self._temporal else None,
            temporal_address=self.temporal_address,
            database_url=self.urls.owner,
            app_database_url=self.urls.app,
            system_database_url=self.urls.system,
            simulator_url=self.simulator_url,
            simulator_key=secrets.demo_simulator_key if demo else None,
            simulator_secret=secrets.demo_simulator_secret if demo else None,
            demo_email=demo.email if demo else None,
            demo_password=demo.password if demo else None,
            admin_email=self.people.admin.email,
            admin_password=self.people.admin.password,
        )

    def _note_children(self) -> None:
        """Write down who runs now, for the next supervisor and, once all serves, for everybody."""
        remembered = [child.remembered for child in self._children]
        remember(self._folder.children_file, [child for child in remembered if child is not None])
        if self.info is not None:
            running = {child.name: child.pid for child in self._children}
            pids = {name: running.get(name) for name in PIDS} | {"supervisor": os.getpid()}
            write_run_file(self._folder.run_file, self.info, pids)

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            await asyncio.to_thread(logs.bound_all, self._folder.logs)

    def _embedded_postgres(self) -> EmbeddedPostgres | None:
        if not self.plan.embeds_postgres:
            return None
        return EmbeddedPostgres(
            self._folder.root,
            self.plan.ports.postgres,
            self._secrets.database_passwords,
            connections_max=connections_needed(self._settings),
        )

    def _embedded_temporal(self) -> EmbeddedTemporal | None:
        if not self.plan.embeds_temporal:
            return None
        ports = self.plan.ports
        return EmbeddedTemporal(
            self._folder.root, ports.temporal, ports.temporal_ui, ports.temporal_metrics
        )
