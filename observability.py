"""Structured logs: one JSON object (or one console line) an event, without secrets.

Every process configures this once, at its entry point. Context bound by `structlog.contextvars`
(request_id, user_id, bot_id) goes into each line; so do the lines of libraries that use `logging`.
Tracebacks never show local variables: they hold what must not be logged.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from services.redaction import redact

_NOISY = ("httpx", "httpcore", "asyncio", "ccxt", "psycopg.pool", "uvicorn.access")


def configure_logging(level: str, log_format: Literal["json", "console"], service: str) -> None:
    """Send this process's events to standard error.

    Args:
        level: debug, info, warning or error.
        log_format: JSON for machines, console for people.
        service: name of the process in every line.
    """
    severity = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(service),
        blank_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_last(log_format),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(severity)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(severity, logging.WARNING))


def blank_secrets(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Blank values that go under a secret's name; a last net, not a licence to log them."""
    return redact(event)


def _named(service: str) -> structlog.types.Processor:
    def name(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event.setdefault("service", service)
        return event

    return name


def _last(log_format: str) -> list[structlog.types.Processor]:
    if log_format == "console":
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(tracebacks),
        structlog.processors.JSONRenderer(default=str),
    ]
