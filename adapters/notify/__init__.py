"""Sending notifications through Apprise."""
