"""`python -m simulator`: start the exchange simulator on 127.0.0.1."""

import argparse
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from decimal import setcontext

import uvicorn
from pydantic import ValidationError

from simulator.app import build_app
from simulator.config import read_config
from simulator.engine.fees import UnknownFeeTierError
from simulator.exact import EXACT
from simulator.exchange import Exchange
from simulator.market.candle_files import MarketDataUnusableError
from simulator.store import DatabaseInUseError, Store

_HOST = "127.0.0.1"
_USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop; return the process's exit code."""
    try:
        setcontext(EXACT.copy())  # what the server's tasks inherit
        config = read_config(_overrides(arguments))
        logging.basicConfig(level=config.log_level.upper())
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        exchange = Exchange(config, Store(config.database_path))
        listener = _listen(config.port)
    except (
        ValidationError,
        MarketDataUnusableError,
        UnknownFeeTierError,
        DatabaseInUseError,
        OSError,
    ) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return _USAGE_ERROR
    server = _Server(
        uvicorn.Config(
            build_app(exchange),
            access_log=False,
            log_config=None,
            proxy_headers=False,  # nobody may pretend to be a loopback peer
            timeout_graceful_shutdown=3,
        )
    )
    server.run(sockets=[listener])
    return 0


class _Server(uvicorn.Server):
    """Says when it is ready, and takes a signal as a request to stop, not as a failure."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            port = sockets[0].getsockname()[1]
            sys.stdout.write(f"simulator ready at http://{_HOST}:{port}\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The base class raises the signal again after a clean shutdown, which would make a
        # supervisor see a crash.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((_HOST, port))
    listener.listen(2048)
    return listener


def _overrides(arguments: Sequence[str] | None) -> dict[str, str]:
    parser = argparse.ArgumentParser(prog="simulator", description=__doc__)
    parser.add_argument("--port", help="TCP port; 0 chooses a free one")
    parser.add_argument("--database", help="SQLite file")
    parser.add_argument("--market-data-dir", help="folder of candle files to replay")
    parser.add_argument("--symbols", help="product ids, comma separated")
    parser.add_argument("--seed", help="seed of the generated market")
    parser.add_argument("--mode", choices=("speed", "step"))
    parser.add_argument("--speed", help="venue seconds per wall second")
    parser.add_argument("--start", help="ISO time, or minutes after the first candle")
    given = vars(parser.parse_args(arguments))
    return {name: value for name, value in given.items() if value is not None}


if __name__ == "__main__":
    sys.exit(main())
