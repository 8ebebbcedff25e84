"""The `nija` command."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import psutil
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

import settings as settings_module
from adapters.embedded.errors import EmbeddedError
from settings import Settings
from supervisor.data_folder import DataFolder
from supervisor.run_file import read_run_file
from supervisor.signals import end_in_order

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
admin = typer.Typer(no_args_is_help=True, help="Administrators.")
app.add_typer(admin, name="admin")
users = typer.Typer(no_args_is_help=True, help="Users.")
app.add_typer(users, name="users")
audit = typer.Typer(no_args_is_help=True, help="The audit log.")
app.add_typer(audit, name="audit")
payments = typer.Typer(no_args_is_help=True, help="The payment provider.")
app.add_typer(payments, name="stripe")
console = Console()
errors = Console(stderr=True)


@app.command()
def up() -> None:
    """Start everything on this machine and keep it running; Ctrl-C stops it, data is kept."""
    # Commands import what they need when they run, so that `nija --help` stays quick.
    from supervisor.hooks import application_hooks  # noqa: PLC0415
    from supervisor.run import run  # noqa: PLC0415

    run(settings_module.load(), application_hooks(), console)


@app.command()
def demo() -> None:
    """Show the platform at work: a stack of its own, a bot, trades, a kill, a recovery."""
    from demo import run  # noqa: PLC0415

    run()


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def simulator(context: typer.Context) -> None:
    """Run the exchange simulator alone."""
    os.execv(sys.executable, [sys.executable, "-m", "simulator", *context.args])  # noqa: S606


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema, and register Temporal's search attributes."""
    from adapters.embedded.search_attributes import ensure_search_attributes  # noqa: PLC0415
    from migrations.run import upgrade  # noqa: PLC0415

    settings = settings_module.load()
    upgrade(settings.database_url or _running(settings)["database_url"])
    if settings.temporal_address is not None:
        asyncio.run(
            ensure_search_attributes(settings.temporal_address, settings.temporal_namespace)
        )
    _say("The schema is up to date.")


@app.command()
def backup(file: Annotated[Path, typer.Argument(help="The archive to write (.tar.gz).")]) -> None:
    """Back up all data of this machine's stack, running or stopped. The archive holds secrets."""
    from supervisor.backup import back_up  # noqa: PLC0415

    settings = settings_module.load()
    back_up(_folder(settings), file, exports=settings.exports_folder)
    _say(f"Backed up to {file}. It holds every secret of this installation: keep it safe.")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="The archive to read.")],
    *,
    force: Annotated[bool, typer.Option(help="Replace what the data folder holds.")] = False,
) -> None:
    """Restore a backup into the data folder of a stopped stack."""
    from supervisor.restore import restore as restore_archive  # noqa: PLC0415

    settings = settings_module.load()
    folder = _folder(settings)
    manifest = restore_archive(folder, file, force=force, exports=settings.exports_folder)
    _say(f"Restored the backup of {manifest['made_at']} to {folder.root}.")


@admin.command("create")
def admin_create(
    email: Annotated[str, typer.Option(help="The login.")],
    full_name: Annotated[str, typer.Option(help="For people to read.")] = "Administrator",
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
) -> None:
    """Create an administrator; a user that exists is left as it is, and the exit code is 1."""
    from adapters.embedded.secrets import refuse_weak_password  # noqa: PLC0415
    from supervisor.hooks import application_hooks  # noqa: PLC0415
    from supervisor.people import Person  # noqa: PLC0415

    settings = settings_module.load()
    password = (
        sys.stdin.readline().rstrip("\n")
        if password_stdin
        else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    refuse_weak_password("The password", password)
    url = settings.system_database_url or _running(settings)["system_database_url"]
    person = Person(email, password, full_name, "admin")
    (is_made,) = asyncio.run(application_hooks().ensure_people(url, [person]))
    if not is_made:
        problem = f"{email} exists already: neither its password nor its role was changed."
        errors.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED)
    _say(f"{email} can log in.")


@users.command("reset-2fa")
def users_reset_two_factor(
    email: Annotated[str, typer.Argument(help="The login.")],
) -> None:
    """Take two-factor authentication off a login whose app and recovery codes are lost.

    Make sure first that it is its owner who asks. Every session ends, the user is told, and the
    audit log says so; the password stays.
    """
    from adapters.clock import SystemClock  # noqa: PLC0415
    from domain.errors import DomainError  # noqa: PLC0415
    from services.identity.two_factor import reset_second_factor_at  # noqa: PLC0415

    settings = settings_module.load()
    url = settings.system_database_url or _running(settings)["system_database_url"]
    try:
        asyncio.run(reset_second_factor_at(url, SystemClock(), email=email))
    except DomainError as refused:
        errors.print(refused.message, style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from refused
    _say(f"{email} logs in with the password alone. Every session has ended.")


@audit.command("verify")
def audit_verify(
    head: Annotated[
        str | None, typer.Option(help="An end of the chain that was noted earlier: NUMBER:HASH.")
    ] = None,
) -> None:
    """Check the audit log's hash chain; exit code 0 only if every sealed entry is as written."""
    from services.audit_chain import Head, verify_database  # noqa: PLC0415

    settings = settings_module.load()
    try:
        noted = Head.parse(head) if head else None
    except ValueError as malformed:
        raise typer.BadParameter(str(malformed), param_hint="--head") from malformed
    url = settings.system_database_url or _running(settings)["system_database_url"]
    found = asyncio.run(verify_database(url, noted))
    if found.broken is not None:
        entry = f" (id {found.broken.entry_id})" if found.broken.entry_id else ""
        errors.print(
            f"The audit log is broken at entry {found.broken.sequence}{entry}:"
            f" {found.broken.problem}.",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
        raise typer.Exit(EXIT_FAILED)
    _say(f"{found.entries} entries are as they were written, {found.unsealed} are not sealed yet.")
    _say(f"The chain ends at {found.head}")


@payments.command("make-prices")
def stripe_make_prices() -> None:
    """Make the products and prices of the plan table at Stripe; those that exist are left."""
    from adapters.stripe.prices import make_prices_at  # noqa: PLC0415
    from domain.billing import (  # noqa: PLC0415
        ProviderMisconfigured,
        ProviderOutcomeUnknown,
        ProviderRefused,
        ProviderUnavailable,
    )

    settings = settings_module.load()
    key = settings.stripe_secret_key.get_secret_value() if settings.stripe_secret_key else ""
    if not key:
        _fail("NIJA_STRIPE_SECRET_KEY is not set.")
    try:
        prices = asyncio.run(make_prices_at(key, api_base=settings.stripe_api_base))
    except ProviderMisconfigured as failed:
        _fail(f"{failed}.")
    except (ProviderOutcomeUnknown, ProviderRefused, ProviderUnavailable) as failed:
        _fail(f"Stripe did not do it ({failed}). What was made stays; run this again.")
    for price in prices:
        state = "made" if price.is_new else "exists"
        _say(f"{price.choice.lookup_key}: {price.amount} USD, {state} ({price.id})")


@app.command()
def rollups(
    *, mend: Annotated[bool, typer.Option(help="Rebuild those that are wrong.")] = False
) -> None:
    """Compare the roll-ups of all accounts with their trades; exit code 0 only if all are right."""
    from services.analytics.recounting import recount_everything  # noqa: PLC0415

    settings = settings_module.load()
    url = settings.system_database_url or _running(settings)["system_database_url"]
    found = asyncio.run(recount_everything(url, mend=mend))
    if not found.wrong:
        _say(f"The roll-ups of {found.accounts} accounts are what their trades add up to.")
        return
    listed = ", ".join(str(account_id) for account_id in found.wrong)
    _say(f"{'Rebuilt' if mend else 'Wrong'}: {listed}")
    if not mend:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def status(*, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Say what runs; exit code 0 only if the API is ready."""
    from supervisor.web import answers  # noqa: PLC0415

    running = _running(settings_module.load())
    ready = answers(f"{running['api_url']}/ready")
    alive = {name: _is_alive(pid) for name, pid in running["pids"].items() if pid is not None}
    if as_json:
        typer.echo(json.dumps({"ready": ready, "alive": alive, "api_url": running["api_url"]}))
    else:
        table = Table("process", "pid", "state", title=running["api_url"], title_justify="left")
        for name, is_alive in alive.items():
            table.add_row(name, str(running["pids"][name]), "runs" if is_alive else "[red]gone")
        console.print(table, "The API is ready." if ready else "[red]The API is not ready.")
    if not ready:
        raise typer.Exit(EXIT_FAILED)


@app.command()
def version() -> None:
    """Say which version this is."""
    typer.echo(importlib.metadata.version("nija"))


def main() -> None:
    """Run the command; what a person can mend is said in a sentence, without a traceback."""
    end_in_order()
    try:
        app()
    except EmbeddedError as failed:
        errors.print(str(failed), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_FAILED)
    except ValidationError as malformed:
        if malformed.title != Settings.__name__:
            raise
        for problem in malformed.errors(include_input=False, include_url=False):
            name = "NIJA_" + "_".join(str(part) for part in problem["loc"]).upper()
            sentence = f"{name}: {problem['msg']}" if problem["loc"] else problem["msg"]
            errors.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(EXIT_USAGE)


def _say(sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _fail(sentence: str) -> NoReturn:
    errors.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(EXIT_FAILED)


def _folder(settings: Settings) -> DataFolder:
    return DataFolder.at(settings.data_dir)


def _running(settings: Settings) -> dict[str, Any]:
    return read_run_file(_folder(settings).run_file)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    main()
