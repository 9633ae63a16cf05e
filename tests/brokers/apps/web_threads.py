"""`python -m tests.brokers.apps.web_threads PORT`: a server in a thread, and a main that waits."""

from __future__ import annotations

import sys
import threading

from werkzeug.serving import make_server

from tests.brokers.apps.web_flask import app

if __name__ == "__main__":
    server = threading.Thread(
        target=make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever
    )
    server.start()
    server.join()
