"""Wire models of exports."""

from __future__ import annotations

from pydantic import Field, StrictBool, StrictStr

from api.kit.wire import Request, View, WallTime, wire_id
from api.nija.schemas.account import End, Start
from domain.exports import ExportData, ExportFormat
from domain.markets import Mode
from services.exports.requests import ExportView, ExportWish

EXPORT = "exp"


class ExportRequest(Request):
    """What to export, of which account; by default the one of the bot's current or last run.

    Dates are of the opening of positions and of the making of orders, on the venue's clock; of the
    audit log they are wall time.
    """

    format: ExportFormat = Field(examples=["csv"])
    data_type: ExportData = Field(default=ExportData.TRADES, examples=["trades"])
    start_date: Start | None = Field(
        default=None, examples=["2026-01-01"], description="ISO 8601, inclusive."
    )
    end_date: End | None = Field(
        default=None, examples=["2026-01-31"], description="ISO 8601; a date includes its day."
    )
    include_closed_positions: StrictBool = Field(default=True, examples=[True])
    include_open_positions: StrictBool = Field(default=False, examples=[False])
    mode: Mode | None = Field(default=None, examples=["paper"], description="paper or live")
    broker: StrictStr | None = Field(default=None, max_length=50, examples=["coinbase"])

    def to_wish(self) -> ExportWish:
        """What the service is asked for."""
        return ExportWish(
            format=self.format,
            data=self.data_type,
            start=self.start_date,
            end=self.end_date,
            with_closed=self.include_closed_positions,
            with_open=self.include_open_positions,
        )


class ExportItem(View):
    """An export. The link needs no login, ends at `expires_at`, and works once it is ready."""

    export_id: str = Field(examples=["exp_6e1a7c0e5d3b5f0a9c534f2b7c9d1e10"])
    status: str = Field(examples=["ready"], description="pending, ready, failed or expired.")
    download_url: str | None = Field(
        examples=["http://127.0.0.1:8000/exports/trades_6e1a.csv?expires=1&signature=0"],
        description="Null where there will be no file.",
    )
    expires_at: WallTime
    file_size_bytes: int | None = Field(examples=[45678], description="Null until ready.")
    row_count: int | None = Field(examples=[156])
    file_name: str = Field(examples=["nija_trades_2026-01-01_2026-01-31.csv"])
    format: ExportFormat
    data_type: ExportData
    created_at: WallTime

    @classmethod
    def from_domain(cls, view: ExportView) -> ExportItem:
        """Render an export."""
        return cls(
            export_id=wire_id(EXPORT, view.id),
            status=view.state.value,
            download_url=view.download_url,
            expires_at=view.expires_at,
            file_size_bytes=view.file_size_bytes,
            row_count=view.row_count,
            file_name=view.file_name,
            format=view.format,
            data_type=view.data,
            created_at=view.created_at,
        )


class ExportsData(View):
    """The latest exports, newest first."""

    exports: list[ExportItem]
