"""Every setting of NIJA, read once from the environment into one frozen tree.

`bootstrap` reads this and hands narrow values on; nothing else reads the environment. Names are
`NIJA_*`; `.env.example` lists them all with their defaults (a test keeps the two equal). Secrets
that are not set are generated into the data folder by `adapters.embedded.secrets`.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.valuation import DEFAULT_STABLECOINS, Stablecoins

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
SECRET_LENGTH_MIN = 32


class Settings(BaseSettings):
    """The frozen settings tree of one process."""

    model_config = SettingsConfigDict(
        env_prefix="NIJA_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # a worker's log would hold the secret that was too short
    )

    # --- where things are -------------------------------------------------------------------
    data_dir: Path = Field(
        default=Path(".nija"), description="Everything the one-machine stack keeps."
    )
    exports_dir: Path | None = Field(
        default=None, description="Files of exports; unset = `exports` in the data folder."
    )
    bind_host: str = Field(default="127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(default=8000, ge=0, le=65535, description="0 picks a free port.")
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="Prometheus, API process.")
    worker_metrics_port: int = Field(
        default=9465, ge=0, le=65535, description="Prometheus, worker process."
    )
    exits_metrics_port: int = Field(
        default=9467, ge=0, le=65535, description="Prometheus, exits worker process."
    )
    temporal_port: int = Field(default=7233, ge=0, le=65535)
    temporal_ui_port: int = Field(default=8233, ge=0, le=65535)
    temporal_metrics_port: int = Field(default=9466, ge=0, le=65535)
    simulator_port: int = Field(default=8900, ge=0, le=65535)
    postgres_port: int = Field(default=5433, ge=0, le=65535)

    # --- servers that are not embedded ------------------------------------------------------
    database_url: str | None = Field(
        default=None, description="Owner role; set = no embedded PostgreSQL."
    )
    app_database_url: str | None = Field(
        default=None, description="Role nija_app, bound by row-level security."
    )
    system_database_url: str | None = Field(
        default=None, description="Role nija_system, bypasses row-level security."
    )
    temporal_address: str | None = Field(
        default=None, description="Set = no embedded Temporal server."
    )
    temporal_namespace: str = "default"
    task_queue: str = "nija"

    # --- an object storage for exports; unset bucket = the folder ----------------------------
    object_store_bucket: str | None = Field(
        default=None, description="Bucket for the files of exports, of anything that speaks S3."
    )
    object_store_prefix: str = Field(
        default="exports", description="Folder in the bucket, of this installation alone."
    )
    object_store_endpoint_url: str | None = Field(
        default=None, description="Another storage than Amazon's."
    )
    object_store_region: str | None = Field(default=None, description="Region of the bucket.")
    object_store_access_key_id: str | None = Field(
        default=None, description="Unset = environment, profile or role of the machine."
    )
    object_store_secret_access_key: SecretStr | None = Field(
        default=None, description="Belongs to the access key."
    )

    # --- markets ----------------------------------------------------------------------------
    venues: Literal["simulated", "real"] = Field(
        default="simulated", description="Stored on each connection; the two are never mixed."
    )
    simulator_url: str | None = Field(
        default=None, description="The running simulator; the supervisor sets it for its children."
    )
    market_data_dir: Path | None = Field(
        default=None, description="Folder of candle files for the replay."
    )
    replay_speed: Decimal = Field(
        default=Decimal(1), gt=0, description="Venue seconds per wall second."
    )
    replay_start: str | None = Field(default=None, description="ISO time at which a replay begins.")
    simulator_mode: Literal["speed", "step"] = "speed"
    simulator_seed: int = 7
    simulator_symbols: str | None = Field(default=None, description="Comma-separated.")
    simulator_spread_bps: Decimal = Decimal(2)
    simulator_depth_usd: Decimal = Decimal(50_000)
    simulator_fee_tier: str = "retail"
    paper_taker_fee_rate: Decimal | None = Field(
        default=None, ge=0, lt=1, description="Overrides the venue's public taker fee for paper."
    )
    paper_maker_fee_rate: Decimal | None = Field(
        default=None, ge=0, lt=1, description="Overrides the venue's public maker fee for paper."
    )
    paper_balance: Decimal = Field(
        default=Decimal(10_000), gt=0, description="Opening cash of a paper account, in USD."
    )
    stablecoins: str = Field(
        default=str(DEFAULT_STABLECOINS),
        description="Coins that count at par where they have no market, the preferred first.",
    )
    scan_seconds: Decimal = Field(
        default=Decimal(150),
        gt=0,
        description="Venue seconds of the longest silence between two scans of a bot.",
    )
    watch_interval_seconds: float = Field(
        default=1.0, gt=0, description="Wall seconds between two looks of a venue's watcher."
    )
    absence_grace_seconds: float = Field(
        default=30.0, ge=0, description="Venue seconds before a not-listed order counts as absent."
    )
    reconcile_interval_seconds: float = Field(
        default=30.0, gt=0, description="Wall seconds between two reconciliations of an account."
    )
    sweep_interval_seconds: float = Field(
        default=10.0, gt=0, description="Wall seconds between two sweeps of bots and workflows."
    )

    # --- people -----------------------------------------------------------------------------
    admin_email: str | None = None
    admin_password: SecretStr | None = None
    demo_user: bool = Field(default=False, description="The supervisor makes a demo login.")
    access_token_ttl: timedelta = timedelta(hours=24)
    refresh_token_ttl: timedelta = timedelta(days=30)
    trial_days: int = Field(default=14, ge=0)

    # --- secrets: generated into the data folder where unset --------------------------------
    jwt_secret: SecretStr | None = None
    vault_keys: SecretStr | None = Field(
        default=None, description="`id:base64key[,id:base64key]`, the first encrypts."
    )

    # --- payments ---------------------------------------------------------------------------
    stripe_secret_key: SecretStr | None = Field(
        default=None, description="Unset = plans, trial and limits work, paid calls answer 503."
    )
    stripe_webhook_secret: SecretStr | None = Field(
        default=None, description="Signing secret of the webhook endpoint; unset = closed."
    )
    stripe_api_base: str | None = Field(
        default=None, description="Another server than Stripe's own; tests use a stand-in."
    )

    # --- mail and notifications -------------------------------------------------------------
    smtp_url: SecretStr | None = Field(
        default=None,
        description="smtp[s]://user:password@host:port, `?tls=none` for plain; unset = no mail.",
    )
    mail_from: str = Field(
        default="NIJA <nija@localhost>", description="From of every mail; also names Message-IDs."
    )
    public_url: str | None = Field(
        default=None, description="Where users reach the API; links in mails begin with it."
    )
    notify_private_addresses: bool = Field(
        default=False, description="Users' channels may name servers at private addresses."
    )
    notify_interval_seconds: float = Field(
        default=2.0, gt=0, description="Wall seconds between two looks for new notices."
    )

    # --- alerts -----------------------------------------------------------------------------
    alert_age_seconds: int = Field(
        default=120, ge=1, description="An alert older than this is not acted on any more."
    )
    alerts_per_minute: int = Field(
        default=60, ge=0, description="Of one webhook key; 0 is any number."
    )

    # --- calls ------------------------------------------------------------------------------
    cors_origins: str = Field(default="", description="Comma-separated origins; none by default.")
    trusted_proxies: str = Field(
        default="", description="Comma-separated addresses or networks believed in X-Forwarded-For."
    )
    rate_limits: Literal["on", "off"] = Field(
        default="on", description="off: calls are counted, none is refused; only while on loopback."
    )
    auth_calls_per_minute: int = Field(
        default=20, ge=1, description="Of one address, under /auth and without a token."
    )
    public_calls_per_minute: int = Field(
        default=60, ge=1, description="Of one address, elsewhere and without a token."
    )
    api_processes: int = Field(default=1, ge=1, le=64)
    database_pool_size: int = Field(default=10, ge=1, le=200)
    exits_pool_size: int = Field(
        default=10, ge=1, le=200, description="Database connections a role, exits worker process."
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @field_validator("jwt_secret")
    @classmethod
    def _strong_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SECRET_LENGTH_MIN:
            raise ValueError(f"NIJA_JWT_SECRET needs at least {SECRET_LENGTH_MIN} characters")
        return value

    @field_validator("stablecoins")
    @classmethod
    def _names_stablecoins(cls, value: str) -> str:
        return str(Stablecoins.parse(value))

    @field_validator("smtp_url")
    @classmethod
    def _names_a_mail_server(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
            raise ValueError("NIJA_SMTP_URL must look like smtp://user:password@host:587")
        return value

    @field_validator(
        "object_store_bucket",
        "object_store_endpoint_url",
        "object_store_region",
        "object_store_access_key_id",
        "object_store_secret_access_key",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("object_store_bucket")
    @classmethod
    def _names_a_bucket(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}", value):
            raise ValueError("NIJA_OBJECT_STORE_BUCKET must be the name of a bucket, not a URL")
        return value

    @field_validator("object_store_prefix")
    @classmethod
    def _is_a_folder(cls, value: str) -> str:
        folder = value.strip("/")
        if folder and not re.fullmatch(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*", folder):
            raise ValueError("NIJA_OBJECT_STORE_PREFIX takes letters, digits, - and _ between /")
        return folder

    @field_validator("object_store_endpoint_url")
    @classmethod
    def _names_a_storage(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://amazon")
        is_web = parts.scheme in {"http", "https"} and parts.hostname
        if not is_web or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("NIJA_OBJECT_STORE_ENDPOINT_URL must look like https://host:port")
        return value

    @model_validator(mode="after")
    def _whole_object_store(self) -> Settings:
        if bool(self.object_store_access_key_id) != bool(self.object_store_secret_access_key):
            raise ValueError(
                "NIJA_OBJECT_STORE_ACCESS_KEY_ID and NIJA_OBJECT_STORE_SECRET_ACCESS_KEY"
                " need each other"
            )
        given = self.object_store_endpoint_url or self.object_store_access_key_id
        if given and not self.object_store_bucket:
            raise ValueError(
                "NIJA_OBJECT_STORE_BUCKET is not set, but other NIJA_OBJECT_STORE_* are"
            )
        return self

    @model_validator(mode="after")
    def _one_world(self) -> Settings:
        if self.venues == "real" and self.simulator_mode == "step":
            raise ValueError("NIJA_SIMULATOR_MODE=step needs NIJA_VENUES=simulated")
        return self

    @model_validator(mode="after")
    def _limited_where_reachable(self) -> Settings:
        if self.rate_limits == "off" and self.bind_host not in LOOPBACK_HOSTS:
            raise ValueError("NIJA_RATE_LIMITS=off needs NIJA_BIND_HOST to be loopback")
        return self

    @property
    def exports_folder(self) -> Path:
        """Where the files of exports lie without a bucket; API and workers must see the same."""
        return self.exports_dir or self.data_dir / "exports"

    @property
    def base_url(self) -> str:
        """Where users reach the API, without a slash at the end."""
        return (self.public_url or f"http://{self.bind_host}:{self.api_port}").rstrip("/")

    @property
    def cors_origin_list(self) -> tuple[str, ...]:
        """Allowed browser origins."""
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())

    @property
    def trusted_proxy_list(self) -> tuple[str, ...]:
        """Addresses or networks whose X-Forwarded-For is believed."""
        return tuple(part.strip() for part in self.trusted_proxies.split(",") if part.strip())


def load() -> Settings:
    """Read the environment once.

    Raises:
        pydantic.ValidationError: a setting is malformed or unsafe; the message names it.
    """
    return Settings()
