"""The functional core: decisions and arithmetic as pure functions over frozen values.

Nothing here does I/O, reads a clock, or knows a framework, so workflows may import all of it.
"""
