"""The workflow service on Temporal."""
