"""Prometheus metrics of live connections."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

_open = Gauge("nija_stream_connections", "Open live connections", multiprocess_mode="livesum")
_frames = Counter("nija_stream_events_sent_total", "Committed events, once for each receiver")


def opened() -> None:
    """A connection was accepted."""
    _open.inc()


def closed() -> None:
    """A connection is over."""
    _open.dec()


def told(receivers: int) -> None:
    """An event was sent to so many."""
    _frames.inc(receivers)
