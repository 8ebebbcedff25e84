"""A part that fails never fails the whole: its failure is logged, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

_log = structlog.get_logger("nija.parts")


@contextmanager
def isolated(event: str, *raised: type[Exception], **about: object) -> Iterator[None]:
    """Log what fails in the block, and go on behind it.

    Args:
        event: of the log; a warning where the database or a connection failed, which the next round
            tries again, and else an error with its traceback.
        raised: failures that are raised all the same, because they concern all parts.
        about: which part it is, for the log.
    """
    try:
        yield
    except raised:
        raise
    except Exception as failure:  # noqa: BLE001 - a boundary: the other parts go on
        is_passing = isinstance(failure, SQLAlchemyError | OSError)
        log = _log.warning if is_passing else _log.exception
        named = {name: str(value) for name, value in about.items()}
        log(event, error=type(failure).__name__, **named)
