from tests.embedded.fakes.page import serve

serve("NIJA_SIMULATOR_PORT")
