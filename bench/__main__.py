"""`python -m bench [PART ...]`: run the parts, show and keep their results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from bench import alerts, api, bars, closing, exits, figures, kill_switch, reads, signals, stream
from supervisor.signals import end_in_order

PARTS: dict[str, tuple[str, Callable[..., dict[str, Any]]]] = {
    "signals": ("Trade signal to order at the exchange", signals.measure),
    "bars": ("Bar close to the last decision of 500 bots", bars.measure),
    "alerts": ("TradingView alerts: acknowledged, decided, replayed", alerts.measure),
    "api": ("GET /account/positions with three open positions", api.measure),
    "reads": ("Account and analytics reads with 10,000 trades, 300 a second", reads.measure),
    "kill_switch": ("The kill switch with 500 running bots", kill_switch.measure),
    "closing": ("The kill switch closing 80 positions among 500 bots", closing.measure),
    "exits": ("Crossed stops while candles, products and fees hang, 300 bots", exits.measure),
    "stream": ("Committed events to 2,000 WebSocket clients", stream.measure),
}

SIZED = {"closing", "exits"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all when left out")
    parser.add_argument("--bots", type=int, help="of closing and exits; then nothing is kept")
    parser.add_argument("--positions", type=int, help="the same")
    arguments = parser.parse_args()
    chosen = arguments.parts or list(PARTS)
    sizes = {
        name: value
        for name in ("bots", "positions")
        if (value := getattr(arguments, name)) is not None
    }
    if sizes and not set(chosen) <= SIZED:
        parser.error(f"only {' and '.join(sorted(SIZED))} have another size")
    console = Console(highlight=False)
    end_in_order()  # what a part has started is stopped
    for part in chosen:
        title, measure = PARTS[part]
        with console.status(f"{title} ..."):
            result = measure(**sizes)
        figures.show(console, title, result)
        if not sizes:
            figures.keep(part, result)
    if not sizes:
        console.print(f"Kept in {figures.RESULTS}.")


if __name__ == "__main__":
    main()
