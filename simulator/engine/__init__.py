"""Pure order matching: no clock, no I/O, no framework, Decimal only."""
