"""Measurements of the whole stack on one machine: `python -m bench [signals|bars|api]`."""
