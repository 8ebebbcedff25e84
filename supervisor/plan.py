"""Turns the settings into one plan: which servers are ours, where everything listens."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.embedded.errors import EmbeddedError
from adapters.embedded.ports import LOOPBACK, claim
from adapters.embedded.postgres_roles import DatabaseUrls
from settings import Settings

ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared with, not bound


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; 0 where nothing of ours does."""

    api: int
    metrics: int
    worker_metrics: int
    exits_metrics: int
    temporal: int
    temporal_ui: int
    temporal_metrics: int
    simulator: int
    postgres: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the supervisor is going to run.

    Attributes:
        embeds_postgres, embeds_temporal, embeds_simulator: which servers are ours to start.
        ports: what our children bind.
    """

    embeds_postgres: bool
    embeds_temporal: bool
    embeds_simulator: bool
    ports: Ports
    bind_host: str

    @property
    def api_url(self) -> str:
        """The API's root as a client on this machine reaches it."""
        host = LOOPBACK if self.bind_host in ANY_ADDRESS else self.bind_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.ports.api}"

    @property
    def metrics_url(self) -> str:
        """The API's Prometheus page."""
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"

    @property
    def simulator_url(self) -> str:
        """The exchange simulator we start."""
        return f"http://{LOOPBACK}:{self.ports.simulator}"


def make_plan(settings: Settings) -> Plan:
    """Decide what is ours and claim its ports.

    Raises:
        EmbeddedError: a port is taken, or the settings name half of a database.
    """
    _require_whole_database(settings)
    embeds_postgres = settings.database_url is None
    embeds_temporal = settings.temporal_address is None
    embeds_simulator = settings.venues == "simulated" and settings.simulator_url is None
    claims = _Claims(settings)
    return Plan(
        embeds_postgres=embeds_postgres,
        embeds_temporal=embeds_temporal,
        embeds_simulator=embeds_simulator,
        ports=Ports(
            api=claims.take("api_port", host=settings.bind_host),
            metrics=claims.take("metrics_port"),
            worker_metrics=claims.take("worker_metrics_port"),
            exits_metrics=claims.take("exits_metrics_port"),
            temporal=claims.take("temporal_port", wanted=embeds_temporal),
            temporal_ui=claims.take("temporal_ui_port", wanted=embeds_temporal),
            temporal_metrics=claims.take("temporal_metrics_port", wanted=embeds_temporal),
            simulator=claims.take("simulator_port", wanted=embeds_simulator),
            postgres=claims.take("postgres_port", wanted=embeds_postgres),
        ),
        bind_host=settings.bind_host,
    )


def external_urls(settings: Settings) -> DatabaseUrls:
    """The URLs of a PostgreSQL that is not ours."""
    assert settings.database_url, "only asked for a given database"
    assert settings.app_database_url, "checked by make_plan"
    assert settings.system_database_url, "checked by make_plan"
    return DatabaseUrls(
        owner=settings.database_url,
        app=settings.app_database_url,
        system=settings.system_database_url,
        superuser="",  # never ours to use there
    )


def _require_whole_database(settings: Settings) -> None:
    urls = {
        "NIJA_DATABASE_URL": settings.database_url,
        "NIJA_APP_DATABASE_URL": settings.app_database_url,
        "NIJA_SYSTEM_DATABASE_URL": settings.system_database_url,
    }
    missing = [name for name, url in urls.items() if url is None]
    if 0 < len(missing) < len(urls):
        raise EmbeddedError(
            f"A database of yours needs all three roles; not set: {', '.join(missing)}."
        )


class _Claims:
    """Takes ports one after the other, never the same twice."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._taken: frozenset[int] = frozenset()

    def take(self, field: str, *, host: str = LOOPBACK, wanted: bool = True) -> int:
        if not wanted:
            return 0
        asked: int = getattr(self._settings, field)
        port = claim(f"NIJA_{field.upper()}", asked, host, self._taken)
        self._taken |= {port}
        return port
