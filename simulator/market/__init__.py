"""Where prices come from: candles, the intra-minute path, and the venue clock."""
