"""Roll-ups of closed trades, and the analytics read from them."""
