"""A server that answers as a case's script says, byte for byte, on a Unix socket."""

import json
import os
import socket
import threading
import time

from . import words
from .pattern import ABSENT, Mismatch, match

# For a call to come to an end, where an answer waits for that.
HELD_SECONDS = 10
# A real listener of a sidecar that starts again is away for about so long.
RESTART_SECONDS = 0.05


class Scripted:
    """Takes requests in the order of their arrival, over any number of connections."""

    def __init__(self, path, script, variables):
        self.path = path
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
        try:
            stream = connection.makefile("rb")
            while (request := read_request(stream)) is not None:
                if not self.answer(connection, request):
                    break
        except OSError:
            pass
        except Exception as error:  # A script that is none must not look like a client that waits.
            self.wrong.append(f"the script cannot be played: {error!r}")
        finally:
            self.drop(connection)

    def answer(self, connection, request):
        """Whether the connection goes on."""
        with self.lock:
            exchange = self.take(request)
        if exchange is None:
            connection.sendall(http(500, {"content-type": "text/plain"}, b"not in the script"))
            return True
        self.came.set()
        if exchange.get("held"):
            self.ended.wait(HELD_SECONDS)
        fault = exchange.get("fault")
        if fault == "hang":
            connection.recv(1)
            return False
        if "bytes" in exchange:
            connection.sendall(exchange["bytes"].encode("latin-1"))
        elif fault != "close":
            bytes_ = answer_bytes(self.variables, exchange["answer"])
            connection.sendall(bytes_[: -exchange["cut"]] if "cut" in exchange else bytes_)
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
            self.wrong.append(f"one request too many: {request['method']} {request['path']}")
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
        for part in ("method", "path"):
            if part in expected and expected[part] != request[part]:
                raise Mismatch(f"{part}: {request[part]} instead of {expected[part]}")
        for name, pattern in expected.get("headers", {}).items():
            value = request["headers"].get(name, ABSENT)
            try:
                match(self.variables.expand(pattern), value, captured=captured)
            except Mismatch as mismatch:
                raise Mismatch(f"{name}: {mismatch}") from None
        if "body" in expected:
            try:
                body = json.loads(request["body"])
            except ValueError:
                raise Mismatch("its body is not JSON") from None
            match(self.variables.expand(expected["body"]), body, exact=True, captured=captured)
        if "body" not in expected and expected.get("method") == "GET" and request["body"]:
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


def read_request(stream):
    """One request, or None at the end of the connection."""
    line = stream.readline(65_536)
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = {}
    while (line := stream.readline(65_536)) not in (b"\r\n", b"\n", b""):
        name, value = line.split(b":", 1)
        headers[name.decode("latin-1").lower()] = value.strip().decode("utf-8", "replace")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = read_chunks(stream)
    else:
        body = stream.read(int(headers.get("content-length", "0")))
    return {"method": method, "path": path, "headers": headers, "body": body}


def read_chunks(stream):
    body = b""
    while size := int(stream.readline(1_024).split(b";")[0], 16):
        body += stream.read(size)
        stream.readline(2)
    stream.readline(1_024)
    return body


def answer_bytes(variables, answer):
    status = variables.expand(answer.get("status", 200))
    kind = "application/json" if status < 400 else "application/problem+json"
    headers = {"content-type": kind, "lunasec-request-id": "0123456789abcdef"}
    for name, value in variables.expand(answer.get("headers", {})).items():
        headers[name] = value
    headers = {name: value for name, value in headers.items() if value is not None}
    if "body_text" in answer:
        body = variables.text(answer["body_text"]).encode()
    else:
        body = json.dumps(words.repeated(variables.expand(answer["body"])), ensure_ascii=False).encode()
    return http(status, headers, body)


def http(status, headers, body):
    head = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    if not any(name in headers for name in ("content-length", "transfer-encoding")):
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body
