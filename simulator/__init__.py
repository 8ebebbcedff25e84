"""The exchange simulator: a venue of its own that speaks the Coinbase Advanced Trade protocol.

It is a process, not a library: `python -m simulator` starts it, and everything else talks to it
over HTTP exactly as it would talk to the real venue. Inside, four parts know nothing of each other
and meet in `exchange.py`:

* `engine/`   pure order matching, balances, fees and trading rules (no clock, no I/O);
* `market/`   where prices come from: replayed candle files or a seeded market, and the clock;
* `store.py`  the SQLite file that makes every acknowledged change survive a kill;
* `coinbase/` the wire: signatures, request parsing and response shapes.
"""
