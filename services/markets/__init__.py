"""Watching venues and evaluating bars, once for all bots."""
