import os
import sys

from tests.embedded.fakes.page import serve

if "NIJA_FAKE_API_FAILS" in os.environ:
    sys.exit("told to fail")
serve("NIJA_API_PORT")
