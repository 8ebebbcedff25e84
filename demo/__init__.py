"""`nija demo`: the platform at work, in about a minute, on a stack of its own.

A person registers, connects a broker, starts a bot that trades live at the exchange simulator,
changes settings, survives a kill of the worker, and stops. Everything is done through the API; at
the end the API's figures are held against the exchange's own books.
"""

from demo.story import run

__all__ = ["run"]
