"""Refusals of exports."""

from __future__ import annotations

from domain.errors import ErrorKind
from services.errors import Refusal


class ExportFailed(Refusal):
    """The file could not be made, however often it was tried."""

    kind = ErrorKind.UNAVAILABLE
    code = "export_failed"
    usual_message = "The export failed; please try again later"


class ExportsUnavailable(Refusal):
    """The store of files does not answer."""

    kind = ErrorKind.UNAVAILABLE
    code = "exports_unavailable"
    usual_message = "The file cannot be read at the moment"
