"""`nija up`: start, show, keep running, stop on a signal."""

from __future__ import annotations

import asyncio
import logging
import signal

from rich.console import Console
from rich.logging import RichHandler

from settings import Settings
from supervisor.activity import Feed
from supervisor.data_folder import DataFolder
from supervisor.hooks import Hooks
from supervisor.screen import show_activity, welcome
from supervisor.stack import Stack

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(settings: Settings, hooks: Hooks, console: Console) -> None:
    """Run the stack until a signal asks it to stop.

    Raises:
        EmbeddedError: it could not be started; nothing of it is left running.
    """
    _log_to(console)
    folder = DataFolder.at(settings.data_dir)
    folder.make()
    with folder.locked():
        stack = Stack(settings, folder, hooks)
        for name in stack.stopped_leftovers:
            console.print(f"Stopped the {name} of a supervisor that was killed.")
        asyncio.run(_run(stack, settings, hooks, console))


async def _run(stack: Stack, settings: Settings, hooks: Hooks, console: Console) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, asked_to_stop.set)
    serving = asyncio.create_task(_serve(stack, settings, hooks, console))
    asking = asyncio.create_task(asked_to_stop.wait())
    try:
        await asyncio.wait((serving, asking), return_when=asyncio.FIRST_COMPLETED)
    finally:
        asking.cancel()
        serving.cancel()
        await asyncio.wait((serving,))  # from here on nothing is started any more
        console.print("Stopping ...")
        forced = await asyncio.to_thread(stack.stop)
        for name in forced:
            console.print(f"The {name} did not stop in time and was killed.")
    results = await asyncio.gather(serving, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]
    console.print("Stopped; data is kept.")


async def _serve(stack: Stack, settings: Settings, hooks: Hooks, console: Console) -> None:
    with console.status("Starting ..."):
        info = await stack.start()
    console.print(welcome(stack, settings))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stack.keep_running())
        tasks.create_task(show_activity(console, Feed(hooks.activity, info.system_database_url)))


def _log_to(console: Console) -> None:
    """What the supervisor itself has to say (a child died) goes to the same screen."""
    handler = RichHandler(console=console, show_path=False, show_level=False)
    logger = logging.getLogger("nija.supervisor")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
