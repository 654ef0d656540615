"""HTTP/1.1 over the Unix socket from asyncio and trio, on a few connections that are kept alive. It tries nothing twice.

Deadlines are the call's business: it is cancelled."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import httpcore
import httpx

from ._limits import ANSWER_BYTES
from ._transport import (
    TRAIL,
    Answer,
    Trail,
    Wanted,
    closed,
    core_request,
    has_ended,
    pool_size,
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
        except OSError as error:
            trail.broke = True
            raise httpcore.ReadError(str(error)) from None
        trail.broke = not data
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        trail = TRAIL.get() or Trail()
        trail.wrote = True
        try:
            await self._send(buffer)
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
        sock = self._socket()
        try:
            await self._connect(sock, path)
        except OSError as error:
            sock.close()
            if (trail := TRAIL.get()) is not None:
                trail.refused = error
            raise httpcore.ConnectError(str(error)) from None
        except BaseException:
            sock.close()
            raise
        return self._stream(sock)

    def _socket(self) -> Any:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
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


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: AsyncIterable[bytes]) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        aclose = getattr(self._stream, "aclose", None)
        if aclose is not None:
            await aclose()


class AsyncUnixTransport(httpx.AsyncBaseTransport):
    """httpx over a Unix socket."""

    def __init__(self, path: str, connections: int, trio: bool) -> None:
        backend = _TrioBackend() if trio else _Backend()
        self._pool = httpcore.AsyncConnectionPool(uds=path, network_backend=backend, **pool_size(connections))  # type: ignore[arg-type]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._pool.handle_async_request(core_request(request))
        body = _Body(answer.stream)  # type: ignore[arg-type]
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


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
        except Exception as error:
            return closed() if self._closed else translated(self._path, trail, error)
        finally:
            TRAIL.reset(token)

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
