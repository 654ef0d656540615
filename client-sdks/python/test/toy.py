"""A server on a Unix socket that does what a test tells it, and one that is only a function."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

Json = dict[str, Any]


def token(number: int) -> str:
    return f"lunasec-00000000-0000-4000-8000-{number:012d}"


def answer(body: object, status: int = 200, **headers: str) -> httpx.Response:
    kind = "application/json" if status < 400 else "application/problem+json"
    said = {"content-type": kind, "lunasec-request-id": "r1", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return httpx.Response(status, headers=said, content=json.dumps(body).encode())


def problem(code: str, status: int, retryable: bool = False, **more: Any) -> httpx.Response:
    return answer({"code": code, "detail": "words", "retryable": retryable, "status": status, **more}, status)


class Function:
    """A transport that answers by a function, and remembers what it was asked."""

    def __init__(self, answers: Callable[[str, Json], httpx.Response] | list[httpx.Response]) -> None:
        self.asked: list[tuple[str, Json]] = []
        self.headers: list[httpx.Headers] = []
        self._answers = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        path = request.url.path
        self.asked.append((path, body))
        self.headers.append(request.headers)
        return self._answers.pop(0) if isinstance(self._answers, list) else self._answers(path, body)

    def sync(self) -> httpx.BaseTransport:
        return httpx.MockTransport(self)

    def aio(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self)


def values(path: str, body: Json) -> httpx.Response:
    """Every token has the value `the value of TOKEN`."""
    if path == "/v1/detokenize":
        return answer({"value": f"the value of {body['token']}", "encoding": "utf8"})
    items = [{"token": each, "value": f"the value of {each}", "encoding": "utf8"} for each in body["tokens"]]
    return answer({"items": items})


class Server:
    """Hands each connection to a function, in a thread."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.directory = tempfile.mkdtemp(prefix="lt-")
        self.socket = os.path.join(self.directory, "s.sock")
        self._serve = serve
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.socket)
        self._listener.listen(128)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno != errno.EMFILE:
                    return
                # It is this process that has no file left, and nobody tells when it has one again.
                time.sleep(0.01)
                continue
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._one, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
        shutil.rmtree(self.directory, ignore_errors=True)


def read_request(connection: socket.socket) -> bytes:
    """One request, whole; nothing at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def http(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextlib.contextmanager
def no_file_left() -> Iterator[None]:
    """Within it, this process can open nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 8, hard))
    held: list[int] = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        for each in held:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def twice(connection: socket.socket) -> None:
    """A server that says one more answer than it was asked for, in the same turn."""
    while request := read_request(connection):
        asked = json.loads(request.partition(b"\r\n\r\n")[2])["token"]
        connection.sendall(
            b"".join(http(json.dumps({"value": said, "encoding": "utf8"}).encode()) for said in (asked, "another's"))
        )
