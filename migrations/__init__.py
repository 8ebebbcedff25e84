"""Alembic migrations; `migrations.run.upgrade` brings a database to the newest one."""
