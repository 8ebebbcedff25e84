"""Strategies: what to do about closed candles, as pure functions; a module per bot kind."""
