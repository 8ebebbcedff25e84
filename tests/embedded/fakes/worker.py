import sys

from tests.embedded.fakes.page import serve

serve("NIJA_EXITS_METRICS_PORT" if sys.argv[1:] == ["exits"] else "NIJA_WORKER_METRICS_PORT")
