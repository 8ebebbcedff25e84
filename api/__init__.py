"""The HTTP doors: one FastAPI sub-application a dialect, mounted by `api.main`."""
