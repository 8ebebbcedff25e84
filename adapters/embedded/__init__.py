"""The servers of a one-machine installation: PostgreSQL and Temporal, run from wheels.

Nothing here is needed where `NIJA_DATABASE_URL` and `NIJA_TEMPORAL_ADDRESS` name real servers.
"""
