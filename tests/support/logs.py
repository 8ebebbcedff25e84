"""Logging of tests: as in production, and still to be captured later in the same process."""

from __future__ import annotations

import structlog

from observability import configure_logging


def log_as_in_production(level: str) -> None:
    """Configure logging without keeping loggers as they were when first used.

    A logger that was kept would go on with the configuration of its first use, and whatever
    captures logs or configures them anew afterwards would see nothing of it.
    """
    configure_logging(level, "json", "test")
    structlog.configure(cache_logger_on_first_use=False)
