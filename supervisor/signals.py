"""How our commands end when they are asked to.

A shell starts a command in the background (`make run &`, a CI job) with SIGINT ignored, and what
that command starts inherits it: none of them would end at SIGINT. And SIGTERM ends Python on the
spot, without the clean-up that stops the servers a command has started.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

EXIT_TERMINATED = 143


def end_in_order() -> None:
    """Have SIGINT raise KeyboardInterrupt and SIGTERM SystemExit, whatever was inherited.

    Handlers do not outlive exec, so programs that are started from now on have both as usual.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    sys.exit(EXIT_TERMINATED)
