"""Notifying: channels, preferences, delivery of notices, reports."""
