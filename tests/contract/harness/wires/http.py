"""HTTP/1.1 and JSON, byte for byte."""

import json

from ..exchange import Request


def serve(server, connection):
    stream = connection.makefile("rb")
    while (request := read_request(stream)) is not None:
        with server.lock:
            exchange = server.take(request)
        if not server.play(exchange, Reply(connection)):
            break


def counterpart(exchange):
    return exchange


def body(pattern):
    return pattern


def expected(pattern):
    return pattern


class Reply:
    def __init__(self, connection):
        self.connection = connection

    def stray(self):
        self.connection.sendall(http(500, {"content-type": "text/plain"}, b"not in the script"))

    def hang(self):
        """Until the client goes away; whether the connection goes on."""
        self.connection.recv(1)
        return False

    def raw(self, bytes_):
        self.connection.sendall(bytes_)

    def answer(self, answer, cut=None):
        bytes_ = answer_bytes(answer)
        self.connection.sendall(bytes_ if cut is None else bytes_[:-cut])


class Cut(Exception):
    """The connection ended within a request."""


def read_request(stream):
    """One request, or None at the end of the connection: also one that was given up while it was sent is none."""
    line = stream.readline(65_536)
    if not line.strip():
        return None
    try:
        return read_rest(stream, whole(line))
    except Cut:
        return None


def read_rest(stream, line):
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = {}
    while (line := whole(stream.readline(65_536))) not in (b"\r\n", b"\n"):
        name, value = line.split(b":", 1)
        headers[name.decode("latin-1").lower()] = value.strip().decode("utf-8", "replace")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = read_chunks(stream)
    else:
        body = read_all(stream, int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def read_chunks(stream):
    body = b""
    while size := int(whole(stream.readline(1_024)).split(b";")[0], 16):
        body += read_all(stream, size)
        read_all(stream, 2)
    whole(stream.readline(1_024))
    return body


def whole(line):
    if not line.endswith(b"\n"):
        raise Cut
    return line


def read_all(stream, size):
    read = stream.read(size)
    if len(read) < size:
        raise Cut
    return read


def answer_bytes(answer):
    kind = "application/json" if answer.status < 400 else "application/problem+json"
    headers = {"content-type": kind, "lunasec-request-id": "0123456789abcdef", **answer.headers}
    headers = {name: value for name, value in headers.items() if value is not None}
    if answer.text is not None:
        body = answer.text.encode()
    else:
        body = json.dumps(answer.body, ensure_ascii=False).encode()
    return http(answer.status, headers, body)


def http(status, headers, body):
    head = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    if not any(name in headers for name in ("content-length", "transfer-encoding")):
        head.append(f"content-length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode() + body
