"""HTTP/1.1 over the Unix socket from threads, on a few connections that are kept alive. It tries nothing twice."""

from __future__ import annotations

import select
import socket
import threading
import time
from contextvars import ContextVar
from typing import Any, Final

import httpcore
import httpx

from ._limits import ANSWER_BYTES, CONNECT, KEEP_ALIVE, LOOK_AGAIN
from ._stop import Stop
from ._transport import (
    FAILURES,
    ORIGIN,
    TRAIL,
    Answer,
    Socket,
    Trail,
    Wanted,
    closed,
    core_request,
    has_ended,
    has_more,
    request_of,
    says_too_large,
    too_large,
    translated,
)
from .errors import LunaSecError


class Late(Exception):
    """The call's time is over."""


class GivenUp(Exception):
    """Its `Stop` was set."""


class Bounds:
    """Until when the call of this thread waits, and what gives it up. The bound is the call's, whatever trickles in."""

    __slots__ = ("stop", "until")

    def __init__(self, until: float, stop: Stop | None) -> None:
        self.until = until
        self.stop = stop

    def left(self) -> float:
        left = self.until - time.monotonic()
        if self.stop is not None and self.stop.is_set():
            raise GivenUp
        if left <= 0:
            raise Late
        return left

    def wait_for(self, sock: socket.socket, event: int) -> None:
        """Until the connection is ready. Only where it can be given up: otherwise the socket's own time-out is enough."""
        poll = select.poll()
        poll.register(sock, event)
        given_up_by = None if self.stop is None else self.stop._fileno()
        if given_up_by is not None:
            poll.register(given_up_by, select.POLLIN)
        looks_again = self.stop is not None and given_up_by is None
        while True:
            left = self.left()
            ready = poll.poll((min(left, LOOK_AGAIN) if looks_again else left) * 1000 + 1)
            if any(fd == sock.fileno() for fd, _ in ready):
                return


# What clocks may differ by.
_TICK: Final = 0.002
_BOUNDS: Final[ContextVar[Bounds | None]] = ContextVar("lunasec_bounds", default=None)


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        trail = TRAIL.get() or Trail()
        try:
            self._ready(select.POLLIN)
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            _late()
            raise
        except OSError as error:
            trail.broke = True
            raise httpcore.ReadError(str(error)) from None
        return trail.came(data)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        trail = TRAIL.get() or Trail()
        trail.wrote = trail.wrote or bool(buffer)
        view = memoryview(buffer)
        try:
            while view:
                self._ready(select.POLLOUT)
                view = view[self._socket.send(view) :]
        except TimeoutError:
            _late()
            raise
        except OSError as error:
            trail.broke = True
            raise httpcore.WriteError(str(error)) from None

    def _ready(self, event: int) -> None:
        bounds = _BOUNDS.get()
        if bounds is None:
            return
        self._socket.settimeout(bounds.left())
        if bounds.stop is not None:
            bounds.wait_for(self._socket, event)

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return has_ended(self._socket)
        return self._socket if info == "socket" else None


def _late() -> None:
    """Raises `Late` where the socket's own time-out was the call's. Another one is of a signal's handler, and goes on."""
    bounds = _BOUNDS.get()
    if bounds is not None and bounds.until - time.monotonic() <= _TICK:
        raise Late from None


class _Backend(httpcore.NetworkBackend):
    def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> _Stream:
        bounds = _BOUNDS.get()
        until = time.monotonic() + (CONNECT if bounds is None else min(CONNECT, bounds.left()))
        sock: Socket | None = None
        try:
            sock = Socket()
            sock.settimeout(max(_TICK, until - time.monotonic()))
            sock.connect(path)
        except OSError as error:
            if sock is not None:
                sock.close()
            if isinstance(error, TimeoutError) and until - time.monotonic() > _TICK:
                raise
            if (trail := TRAIL.get()) is not None:
                trail.refused = error
            raise httpcore.ConnectError(str(error)) from None
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        return _Stream(sock)


class UnixTransport(httpx.BaseTransport):
    """httpx over a Unix socket, whose calls end in time also where an answer trickles in byte by byte."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._backend = _Backend()
        # Lists give and take under the interpreter's own lock.
        self._idle: list[httpcore.HTTP11Connection] = []
        self._closed = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        connection = self._connection()
        try:
            answer = connection.handle_request(core_request(request))
            chunks = list(answer.stream)  # type: ignore[arg-type]
            answer.close()
        finally:
            if connection.is_idle() and not self._closed and not has_more(connection):
                self._idle.append(connection)
            else:
                connection.close()
        stream = httpx.ByteStream(b"".join(chunks))
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    def _connection(self) -> httpcore.HTTP11Connection:
        """The one that was used last, so that what is not needed grows old; or another."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                stream = self._backend.connect_unix_socket(self._path)
                return httpcore.HTTP11Connection(ORIGIN, stream, keepalive_expiry=KEEP_ALIVE)
            if not connection.has_expired():
                return connection
            connection.close()

    def close(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class Slots:
    """As many at once as there are connections. Others wait here, where they can be given up."""

    def __init__(self, free: int) -> None:
        self._free = free
        # A signal's handler that makes a call may take it again.
        self._changed = threading.Condition(threading.RLock())

    def take(self, bounds: Bounds) -> None:
        stop = bounds.stop
        who = None if stop is None else stop._tell(self._wake)
        try:
            with self._changed:
                while self._free <= 0:
                    self._changed.wait(min(bounds.left(), LOOK_AGAIN))
                self._free -= 1
        finally:
            if stop is not None:
                stop._forget(who)

    def leave(self) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Exchanges:
    def __init__(self, path: str, connections: int, transport: httpx.BaseTransport | None) -> None:
        self._path = path
        self._slots = Slots(connections)
        self._transport = transport or UnixTransport(path)
        self._closed = False

    def exchange(self, wanted: Wanted, bounds: Bounds) -> Answer | LunaSecError:
        """One exchange. Raises `Late` and `GivenUp`; gives what else went wrong."""
        if self._closed:
            return closed()
        self._slots.take(bounds)
        trail = Trail()
        tokens = TRAIL.set(trail), _BOUNDS.set(bounds)
        try:
            return self._exchange(wanted)
        except FAILURES as error:
            if not isinstance(error, TimeoutError):
                return closed() if self._closed else translated(self._path, trail, error)
            foreign: BaseException = error
        except BaseException as error:
            foreign = error
        finally:
            TRAIL.reset(tokens[0])
            _BOUNDS.reset(tokens[1])
            self._slots.leave()
        # `Late`, `GivenUp`, what a signal's handler raised, or a defect. Frames that it came through hold the request.
        try:
            raise foreign.with_traceback(None)
        finally:
            del foreign

    def _exchange(self, wanted: Wanted) -> Answer | LunaSecError:
        response = self._transport.handle_request(request_of(wanted))
        try:
            if says_too_large(response.headers.raw):
                return too_large()
            chunks: list[bytes] = []
            size = 0
            assert isinstance(response.stream, httpx.SyncByteStream)
            for chunk in response.stream:
                size += len(chunk)
                if size > ANSWER_BYTES:
                    return too_large()
                chunks.append(chunk)
            return Answer(response.status_code, response.headers.raw, b"".join(chunks))
        finally:
            response.close()

    def close(self) -> None:
        self._closed = True
        self._transport.close()
