"""Run by moto's own Python: serves moto on the listening socket that it inherits, until standard input
ends, which it does when the parent does."""

import os
import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps connections alive

    def log_request(self, *_):
        pass


def end_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end_with_parent, daemon=True).start()
application = DomainDispatcherApplication(create_backend_app)
make_server(
    "127.0.0.1", 0, application, threaded=True, request_handler=Quiet, fd=int(sys.argv[1])
).serve_forever()
