"""Named settings of the simulator process, read once from the environment.

What is left unset keeps whatever the database remembers from the last start, so that an idempotent
restart continues the same market; what is set explicitly always wins.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Mode = Literal["speed", "step"]
_SYMBOL = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")


class SimulatorConfig(BaseSettings):
    """Every setting with its unit; environment names are the aliases."""

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True
    )

    port: int = Field(default=8900, ge=0, le=65535, alias="NIJA_SIMULATOR_PORT")
    """TCP port on 127.0.0.1; 0 chooses a free one, printed in the ready line."""
    data_dir: Path = Field(default=Path(".nija"), alias="NIJA_DATA_DIR")
    database: Path | None = Field(default=None, alias="NIJA_SIMULATOR_DATABASE")
    """SQLite file; default `simulator.sqlite3` in the data folder."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", alias="NIJA_SIMULATOR_LOG_LEVEL"
    )

    market_data_dir: Path | None = Field(default=None, alias="NIJA_MARKET_DATA_DIR")
    """Folder of candle files to replay; unset means a seeded market."""
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), alias="NIJA_SIMULATOR_SYMBOLS"
    )
    """Product ids, comma separated; empty means all of the source."""
    seed: int | None = Field(default=None, ge=0, alias="NIJA_SIMULATOR_SEED")
    mode: Mode | None = Field(default=None, alias="NIJA_SIMULATOR_MODE")
    speed: float | None = Field(default=None, gt=0, le=100_000, alias="NIJA_REPLAY_SPEED")
    """Venue seconds per wall second in `speed` mode."""
    start: datetime | int | None = Field(default=None, alias="NIJA_REPLAY_START")
    """First venue instant: an ISO time, or minutes after the first candle of a replay."""

    spread_bps: Decimal = Field(
        default=Decimal(2), ge=0, le=1000, alias="NIJA_SIMULATOR_SPREAD_BPS"
    )
    """Distance between best bid and best ask, in basis points of the price."""
    level_spacing_bps: Decimal = Field(
        default=Decimal(2), gt=0, le=1000, alias="NIJA_SIMULATOR_LEVEL_SPACING_BPS"
    )
    levels: int = Field(default=20, ge=1, le=500, alias="NIJA_SIMULATOR_LEVELS")
    """Synthetic price levels a side."""
    depth_usd: Decimal = Field(default=Decimal(50_000), gt=0, alias="NIJA_SIMULATOR_DEPTH_USD")
    """Liquidity of each synthetic level, in quote currency."""
    fee_tier: str = Field(default="retail", alias="NIJA_SIMULATOR_FEE_TIER")
    """Tier of accounts that ask for none."""

    @field_validator("symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().upper() for part in value.split(",") if part.strip())
        return value

    @field_validator("symbols")
    @classmethod
    def _check_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if not _SYMBOL.fullmatch(name)]:
            raise ValueError(f"Products are named like BTC-USD, not {', '.join(wrong)}")
        return value

    @field_validator("start", mode="before")
    @classmethod
    def _read_minutes(cls, value: object) -> object:
        # Otherwise a bare number is read as seconds since 1970.
        return int(value) if isinstance(value, str) and value.strip().isdecimal() else value

    @field_validator("start")
    @classmethod
    def _assume_utc(cls, value: datetime | int | None) -> datetime | int | None:
        if isinstance(value, datetime) and value.tzinfo is None:
            return value.replace(tzinfo=UTC)
        return value

    @property
    def database_path(self) -> Path:
        """The SQLite file, wherever it was configured."""
        return self.database or self.data_dir / "simulator.sqlite3"


def read_config(overrides: Mapping[str, Any]) -> SimulatorConfig:
    """Read the environment; `overrides` (by field name) win over it.

    Raises:
        ValidationError: A setting is malformed; the message names it.
    """
    return SimulatorConfig(**overrides)
