"""HTTP/1.1 over the Unix socket from asyncio and trio, on a few connections that are kept alive. It tries nothing twice.

Deadlines are the call's business: it is cancelled."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import anyio
import httpcore
import httpx

from ._limits import ANSWER_BYTES, KEEP_ALIVE
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


class _Stream(httpcore.AsyncNetworkStream):
    """A connection of asyncio's loop, without the layers that bring their own buffers."""

    def __init__(self, sock: Any) -> None:
        self._socket = sock

    async def _recv(self, max_bytes: int) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, max_bytes)

    async def _send(self, buffer: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        trail = TRAIL.get() or Trail()
        try:
            data = await self._recv(max_bytes)
        except TimeoutError:
            raise
        except OSError as error:
            trail.broke = True
            raise httpcore.ReadError(str(error)) from None
        return trail.came(data)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        trail = TRAIL.get() or Trail()
        trail.wrote = True
        try:
            await self._send(buffer)
        except TimeoutError:
            raise
        except OSError as error:
            trail.broke = True
            raise httpcore.WriteError(str(error)) from None

    async def aclose(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._socket.fileno() < 0 or has_ended(self._socket)
        return self._socket if info == "socket" else None


class _TrioStream(_Stream):
    async def _recv(self, max_bytes: int) -> bytes:
        data: bytes = await self._socket.recv(max_bytes)
        return data

    async def _send(self, buffer: bytes) -> None:
        view = memoryview(buffer)
        while view:
            view = view[await self._socket.send(view) :]


class _Backend(httpcore.AsyncNetworkBackend):
    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> _Stream:
        sock: Any = None
        try:
            sock = self._socket()
            await self._connect(sock, path)
        except OSError as error:
            if sock is not None:
                sock.close()
            if isinstance(error, TimeoutError):
                raise
            if (trail := TRAIL.get()) is not None:
                trail.refused = error
            raise httpcore.ConnectError(str(error)) from None
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        return self._stream(sock)

    def _socket(self) -> Any:
        sock = Socket()
        sock.setblocking(False)
        return sock

    async def _connect(self, sock: Any, path: str) -> None:
        await asyncio.get_running_loop().sock_connect(sock, path)

    def _stream(self, sock: Any) -> _Stream:
        return _Stream(sock)


class _TrioBackend(_Backend):
    def _socket(self) -> Any:
        import trio

        return trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    async def _connect(self, sock: Any, path: str) -> None:
        await sock.connect(path)

    def _stream(self, sock: Any) -> _Stream:
        return _TrioStream(sock)


class AsyncUnixTransport(httpx.AsyncBaseTransport):
    """httpx over a Unix socket, on connections of its own: a call that is cancelled anywhere leaves none behind that is
    neither used nor free."""

    def __init__(self, path: str, connections: int, trio: bool) -> None:
        self._path = path
        self._backend = _TrioBackend() if trio else _Backend()
        self._slots = anyio.Semaphore(connections, fast_acquire=True)
        self._idle: list[httpcore.AsyncHTTP11Connection] = []
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        async with self._slots:
            connection = await self._connection()
            try:
                answer = await connection.handle_async_request(core_request(request))
                chunks = [chunk async for chunk in answer.stream]  # type: ignore[union-attr]
                await answer.aclose()
            finally:
                if connection.is_idle() and not self._closed and not has_more(connection):
                    self._idle.append(connection)
                else:
                    await connection.aclose()
        stream = httpx.ByteStream(b"".join(chunks))
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions)

    async def _connection(self) -> httpcore.AsyncHTTP11Connection:
        """The one that was used last, so that what is not needed grows old; or another."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        stream = await self._backend.connect_unix_socket(self._path)
        return httpcore.AsyncHTTP11Connection(ORIGIN, stream, keepalive_expiry=KEEP_ALIVE)

    async def aclose(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.aclose()


class AsyncExchanges:
    def __init__(self, path: str, connections: int, transport: httpx.AsyncBaseTransport | None, trio: bool) -> None:
        self._path = path
        self._transport = transport or AsyncUnixTransport(path, connections, trio)
        self._closed = False

    async def exchange(self, wanted: Wanted) -> Answer | LunaSecError:
        """One exchange; gives what went wrong."""
        if self._closed:
            return closed()
        trail = Trail()
        token = TRAIL.set(trail)
        try:
            return await self._exchange(wanted)
        except FAILURES as error:
            if not isinstance(error, TimeoutError):
                return closed() if self._closed else translated(self._path, trail, error)
            foreign: BaseException = error
        except BaseException as error:
            foreign = error
        finally:
            TRAIL.reset(token)
        # What a signal's handler raised, a cancellation, or a defect. Frames that it came through hold the request.
        try:
            raise foreign.with_traceback(None)
        finally:
            del foreign

    async def _exchange(self, wanted: Wanted) -> Answer | LunaSecError:
        response = await self._transport.handle_async_request(request_of(wanted))
        try:
            if says_too_large(response.headers.raw):
                return too_large()
            chunks: list[bytes] = []
            size = 0
            assert isinstance(response.stream, httpx.AsyncByteStream)
            async for chunk in response.stream:
                size += len(chunk)
                if size > ANSWER_BYTES:
                    return too_large()
                chunks.append(chunk)
            return Answer(response.status_code, response.headers.raw, b"".join(chunks))
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        self._closed = True
        await self._transport.aclose()
