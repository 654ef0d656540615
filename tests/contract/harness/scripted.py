"""A server that answers as a case's script says, on a Unix socket, over one of the wires."""

import os
import socket
import threading
import time

from . import exchange as exchanges
from .pattern import ABSENT, Mismatch, match

# For a call to come to an end, where an answer waits for that.
HELD_SECONDS = 10
# A real listener of a sidecar that starts again is away for about so long.
RESTART_SECONDS = 0.05


class Scripted:
    """Takes requests in the order of their arrival, over any number of connections."""

    def __init__(self, path, script, variables, wire):
        self.path = path
        self.wire = wire
        self.left = [list(each.get("in_any_order", [each])) for each in script]
        self.variables = variables
        self.wrong = []
        self.lock = threading.RLock()
        self.seen = 0
        self.last = None
        self.connections = set()
        self.listener = None
        self.over = False
        # Whether a request has come, and whether one of the case's calls has come to an end.
        self.came = threading.Event()
        self.ended = threading.Event()

    def listen(self):
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(128)
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.connections.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        self.carry(connection, lambda: self.wire.serve(self, connection))

    def carry(self, connection, talk):
        """Talks on a connection, which is over unless that says that it goes on."""
        goes_on = False
        try:
            goes_on = talk()
        except OSError:
            pass
        except Exception as error:  # A script that is none must not look like a client that waits.
            self.wrong.append(f"the script cannot be played: {error!r}")
        finally:
            if not goes_on:
                self.drop(connection)

    def play(self, exchange, reply):
        """What the script says of a request that was taken; whether the connection goes on."""
        if exchange is None:
            reply.stray()
            return True
        exchange = self.wire.counterpart(exchange)
        self.came.set()
        if exchange.get("held"):
            self.ended.wait(HELD_SECONDS)
        fault = exchange.get("fault")
        if fault == "hang":
            return reply.hang()
        if "bytes" in exchange:
            reply.raw(exchange["bytes"].encode("latin-1"))
        elif fault != "close":
            reply.answer(exchanges.answered(self.variables, exchange["answer"]), exchange.get("cut"))
        then = exchange.get("then")
        if then == "restart":
            self.restart()
        return fault is None and then is None and "bytes" not in exchange and "cut" not in exchange

    def take(self, request):
        """The next exchange of the script, if this request is what it says."""
        now = time.monotonic()
        before, self.last = self.last, now
        self.left = [group for group in self.left if group]
        if not self.left:
            self.wrong.append(f"one request too many: {request.method} {request.path}")
            return None
        group = self.left[0]
        several = group if len(group) > 1 else []
        exchange = next((each for each in several if self.fits(each, request)), group[0])
        group.remove(exchange)
        self.seen += 1
        earliest = exchange.get("not_before_ms", 0) / 1000
        if before is not None and now - before < earliest:
            self.wrong.append(f"request {self.seen} came after {(now - before) * 1000:.0f} ms, too early")
        try:
            self.compare(exchange.get("request", {}), request, self.variables.known)
        except Mismatch as mismatch:
            self.wrong.append(f"request {self.seen}: {mismatch}")
        return exchange

    def fits(self, exchange, request):
        try:
            self.compare(exchange.get("request", {}), request, {})
        except Mismatch:
            return False
        return True

    def compare(self, expected, request, captured):
        if request.unread:
            raise Mismatch(request.unread)
        for part in ("method", "path"):
            found = getattr(request, part)
            if part in expected and expected[part] != found:
                raise Mismatch(f"{part}: {found} instead of {expected[part]}")
        for name, pattern in expected.get("headers", {}).items():
            value = request.headers.get(name, ABSENT)
            try:
                match(self.variables.expand(pattern), value, captured=captured)
            except Mismatch as mismatch:
                raise Mismatch(f"{name}: {mismatch}") from None
        if "body" in expected:
            pattern = self.wire.body(self.variables.expand(expected["body"]))
            match(pattern, request.said(), exact=True, captured=captured)
        if "body" not in expected and expected.get("method") == "GET" and request.body:
            raise Mismatch("it has a body")

    def restart(self):
        self.stop()
        time.sleep(RESTART_SECONDS)
        with self.lock:
            if not self.over:
                self.listen()

    def stop(self):
        with self.lock:
            listener, self.listener = self.listener, None
            open_ = list(self.connections)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            os.unlink(self.path)
        for connection in open_:
            self.drop(connection)

    def drop(self, connection):
        with self.lock:
            self.connections.discard(connection)
        try:
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        connection.close()

    def end(self):
        """Stops for good; gives what went wrong."""
        with self.lock:
            self.over = True
        self.stop()
        missing = sum(not each.get("optional") for group in self.left for each in group)
        return self.wrong + ([f"{missing} requests of the script never came"] if missing else [])
