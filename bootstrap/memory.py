"""Garbage collection for processes that live long and answer quickly."""

from __future__ import annotations

import gc

_YOUNG_MAX = 10_000
"""New containers before a look at them: an answer makes hundreds and frees nearly all itself."""


def settle_memory() -> None:
    """Call once everything is loaded: what is there now stays, and is never looked through again.

    Modules, models and routes are some hundred thousand objects. A full collection that goes
    through them stops the process for a quarter of a second, now and then, under load.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_MAX, *gc.get_threshold()[1:])
