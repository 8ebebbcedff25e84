"""The base of every contract."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A message that may be read by older or newer code.

    A payload that no longer fits its model makes Temporal retry the task for ever, so unknown
    fields are ignored and every field added later has a default. No secret and no market data goes
    into a contract: ids do.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")
