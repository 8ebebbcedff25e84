from tests.embedded.fakes.page import serve

serve("NIJA_WORKER_METRICS_PORT")
