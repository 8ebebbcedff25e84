"""Stripe: the only importer of its client library."""
