"""Logging of tests: plain or as in production, and still to be captured later in the process."""

from __future__ import annotations

import structlog

from observability import configure_logging


def log_plainly() -> None:
    """Log as structlog does of itself, but never show the local variables of a traceback.

    Rendering those takes seconds where a test's container is among them.
    """
    structlog.reset_defaults()
    *others, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, renderer])


def log_as_in_production(level: str) -> None:
    """Configure logging without keeping loggers as they were when first used.

    A logger that was kept would go on with the configuration of its first use, and whatever
    captures logs or configures them anew afterwards would see nothing of it.
    """
    configure_logging(level, "json", "test")
    structlog.configure(cache_logger_on_first_use=False)
