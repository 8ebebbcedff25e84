"""Where files lie: on disk."""
