"""What the ways to the sidecar have in common: what goes, what comes, and what became of a connection."""

from __future__ import annotations

import errno
import os
import select
import socket
from contextvars import ContextVar
from typing import Final, NamedTuple

import httpcore
import httpx

from ._limits import ANSWER_BYTES, PATH_BYTES
from .errors import InvalidRequest, LunaSecError, ProtocolError, SidecarUnreachable

#: What an exchange fails by. Whatever else is raised in it is not of it, and goes on to who calls.
FAILURES: Final = (
    OSError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.ConnectionNotAvailable,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)

Headers = list[tuple[bytes, bytes]]

# Errors of a connection that there was not yet, and that waiting helps against.
_NOBODY: Final = frozenset(
    {errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT}
)
_BASE: Final = httpx.URL("http://localhost")
ORIGIN: Final = httpcore.Origin(b"http", b"localhost", 80)


class Wanted(NamedTuple):
    method: str
    path: str
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        # It holds values, tokens, a session.
        return f"Wanted({self.method} {self.path})"


class Answer:
    __slots__ = ("_headers", "body", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self._headers = headers
        self.body = body

    def header(self, name: str) -> str | None:
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self._headers if key.lower() == wanted), None)


class Trail:
    """What became of the connection of one exchange: it tells a break from an answer that is none."""

    __slots__ = ("broke", "length", "refused", "wrote")

    def __init__(self) -> None:
        #: Why no connection was made.
        self.refused: OSError | None = None
        #: Whether anything may have left.
        self.wrote = False
        #: Whether the connection ended or failed.
        self.broke = False
        #: Bytes that were read, of head and body together.
        self.length = 0

    def came(self, data: bytes) -> bytes:
        """Notes what was read. Raised in here, where the layers above end by themselves what they began."""
        self.broke = not data
        if self.length == 0 and not b"HTTP/1.".startswith(data[:7]):
            # The layer above would quote it, and log that.
            raise httpcore.RemoteProtocolError("no HTTP")
        self.length += len(data)
        if self.length > ANSWER_BYTES:
            raise httpcore.ReadError("more than is read of an answer")
        return data


TRAIL: Final[ContextVar[Trail | None]] = ContextVar("lunasec_trail", default=None)


def socket_path(path: str | os.PathLike[str]) -> str:
    """A path that a socket can have."""
    text = os.fspath(path)
    if not isinstance(text, str) or "\0" in text or text == "":
        raise InvalidRequest("the path of the socket is no path: give text, or set LUNASEC_SOCKET")
    length = len(os.fsencode(text))
    if length > PATH_BYTES:
        raise InvalidRequest(
            f"the path of the socket is {length} bytes long, and Unix takes {PATH_BYTES}: put the socket where its path "
            "is shorter"
        )
    return text


class Socket(socket.socket):
    """One that closes with its client, its event loop or its parent process, none of which has to say so."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)

    def __del__(self) -> None:
        # One that was never made, as there was no file left, has nothing to close.
        if self.fileno() >= 0:
            self.close()


def has_ended(sock: socket.socket) -> bool:
    """Whether there is something to read on a connection that nobody asked anything: its end."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def has_more(connection: httpcore.HTTP11Connection | httpcore.AsyncHTTP11Connection) -> bool:
    """Whether more came than the answer: it would be taken for the next one's. So it is where nobody can tell."""
    state = getattr(connection, "_h11_state", None)
    return state is None or bool(state.trailing_data[0])


def request_of(wanted: Wanted) -> httpx.Request:
    url = _BASE.copy_with(raw_path=wanted.path.encode())
    headers: Headers = [(b"host", b"localhost"), *wanted.headers]
    return httpx.Request(wanted.method, url, headers=headers, content=wanted.body if wanted.body else None)


def core_request(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def too_large() -> LunaSecError:
    return ProtocolError("the answer is larger than the contract allows")


def says_too_large(headers: Headers) -> bool:
    length = next((value for name, value in headers if name.lower() == b"content-length"), b"0")
    return length.isdigit() and int(length[:20]) > ANSWER_BYTES


def closed() -> SidecarUnreachable:
    return SidecarUnreachable(
        "this client was closed: make calls before close(), or make another client", retryable=False, closed=True
    )


def translated(path: str, trail: Trail, error: Exception) -> LunaSecError:
    """The error of an exchange that came to no answer. The error itself is not passed on: it has the request in it."""
    if trail.length > ANSWER_BYTES:
        return too_large()
    refused = trail.refused
    if refused is not None:
        return _refused(path, refused)
    if trail.broke or isinstance(error, (httpx.NetworkError, httpcore.NetworkError)):
        done = ", and a write may have been done" if trail.wrote else ""
        return SidecarUnreachable(
            f"the connection to the sidecar broke before its answer{done}: make the call again, and look into the "
            "sidecar's log if that goes on",
            sent=trail.wrote,
        )
    if isinstance(error, (httpx.ProtocolError, httpcore.ProtocolError, httpcore.RemoteProtocolError)):
        # Its own words quote what came.
        return ProtocolError("the answer is not HTTP: does something else listen at the socket?")
    return ProtocolError(f"the request could not be made ({type(error).__name__})")


def _refused(path: str, error: OSError) -> SidecarUnreachable:
    number = error.errno or errno.ETIMEDOUT
    name = errno.errorcode.get(number, "timeout")
    if number in (errno.EMFILE, errno.ENFILE):
        return SidecarUnreachable(f"there is no file left for a connection ({name}): close some, or allow more")
    if number in _NOBODY:
        return SidecarUnreachable(f"no sidecar answers at {path} ({name}): start one, or set LUNASEC_SOCKET")
    # No waiting helps against it.
    return SidecarUnreachable(
        f"the socket {path} cannot be used ({name}): check its path, mode and group", retryable=False
    )
