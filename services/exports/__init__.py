"""Exports: a user's trades, positions, orders or audit log as a file behind a signed link."""
