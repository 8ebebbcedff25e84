"""The HTTP API: one FastAPI sub-application a dialect, mounted by `api.main`."""
