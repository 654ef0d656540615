"""How a case's script is spoken: its exchanges are the contract's, the bytes are the wire's.

A wire is a module with

- `serve(server, connection)`: talks on a connection until it is over; each request goes to the server's `take`, and
  what that gives to its `play`, with a reply that can `stray`, `hang`, `raw` and `answer`
- `counterpart(exchange)`: the exchange as this wire can say it
- `body(pattern)`: what a request's body must be, in this wire's spelling
- `expected(pattern)`: what a call comes to, as far as this wire can tell
"""

import importlib

from . import needs

SPOKEN = ("http", "grpc")


def of(name):
    """Loaded only when it is asked for: gRPC needs more than the standard library."""
    if name == "grpc":
        needs.install()
    return importlib.import_module(f".{name}", __name__)
