"""A page that answers 200 to everything: stands for a program of ours.

As of a worker, it is there some time before it says that the worker is ready.
"""

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

NOT_READY_SECONDS = 0.5
_began = time.monotonic()


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_ready = time.monotonic() - _began >= NOT_READY_SECONDS
        self._send(f'nija_worker_ready{{service_name="fake"}} {int(is_ready)}\n'.encode())

    def do_POST(self) -> None:
        self._answer({"api_key": "key-1", "api_secret": "secret-1"})

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: dict[str, str]) -> None:
        self._send(json.dumps(body).encode())

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(setting: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    HTTPServer(("127.0.0.1", int(os.environ[setting])), Page).serve_forever()
