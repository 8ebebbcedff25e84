"""Coinbase Advanced Trade, and the exchange simulator that speaks its protocol.

ccxt is the transport: it signs, sends, limits the rate and names errors. Requests are built and
answers are read here, from the venue's own JSON, because ccxt's unified methods are lenient where
money needs strictness: they drop the client order id, truncate quantities silently, cannot buy a
base quantity at the market, and turn missing fields into `None`.
"""

from adapters.venues.coinbase.account import CoinbaseAccount
from adapters.venues.coinbase.market_data import CoinbaseMarketData

__all__ = ["CoinbaseAccount", "CoinbaseMarketData"]
