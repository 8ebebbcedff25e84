"""Gateways to trading venues. Nothing outside this package imports ccxt."""
