"""asyncio and trio: cancellation, loops that come and go."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from typing import Any

import anyio
import httpx
import pytest

from lunasec import AsyncLunaSec, DeadlineExceeded, LunaSecError, ProtocolError, SidecarUnreachable
from test_sync import value_server
from toy import Function, Server, no_file_left, read_request, token, twice, values

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


async def test_it_works_in_either_loop() -> None:
    with Server(value_server) as server:
        async with AsyncLunaSec(socket=server.socket) as lunasec:
            for n in range(20):
                assert (await lunasec.detokenize(token(n))).value.reveal() == f"the value of {token(n)}"
            assert server.connections == 1
        with pytest.raises(SidecarUnreachable, match="closed"):
            await lunasec.detokenize(token(1))


async def test_cancelling_a_call_ends_its_request() -> None:
    gone = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        assert connection.recv(1) == b""
        gone.set()

    with Server(silent) as server:
        lunasec = AsyncLunaSec(socket=server.socket)
        with anyio.move_on_after(0.05) as scope:
            await lunasec.detokenize(token(1))
        assert scope.cancelled_caught
        assert await anyio.to_thread.run_sync(gone.wait, 5)
        await lunasec.aclose()


async def test_a_deadline_ends_it_too() -> None:
    gone = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        assert connection.recv(1) == b""
        gone.set()

    with Server(silent) as server:
        lunasec = AsyncLunaSec(socket=server.socket)
        with pytest.raises(DeadlineExceeded):
            await lunasec.detokenize(token(1), deadline=0.05)
        assert await anyio.to_thread.run_sync(gone.wait, 5)
        await lunasec.aclose()


async def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    def endless(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")

    with Server(endless) as server, pytest.raises(ProtocolError, match="larger than"):
        await AsyncLunaSec(socket=server.socket).detokenize(token(1))


def test_a_client_serves_one_loop_after_another() -> None:
    with Server(value_server) as server:
        lunasec = AsyncLunaSec(socket=server.socket)

        async def once() -> str:
            revealed: str = (await lunasec.detokenize(token(1))).value.reveal()
            return revealed

        async def last() -> str:
            async with lunasec:
                return await once()

        assert asyncio.run(last()) == f"the value of {token(1)}"


def test_a_client_serves_loops_of_several_threads_at_once() -> None:
    function = Function(values)
    lunasec = AsyncLunaSec(transport=function.aio())
    found: list[list[str]] = []

    async def page(first: int) -> None:
        got = await asyncio.gather(*(lunasec.detokenize(token(first + n)) for n in range(50)))
        found.append([each.value.reveal()[-3:] for each in got])

    threads = [threading.Thread(target=lambda first=first: asyncio.run(page(first))) for first in (100, 200, 300, 400)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(each[0] for each in found) == ["100", "200", "300", "400"]
    assert all(each == [str(int(each[0]) + n) for n in range(50)] for each in found)


def test_a_forked_process_has_connections_of_its_own() -> None:
    with Server(value_server) as server:
        lunasec = AsyncLunaSec(socket=server.socket)

        async def page(n: int) -> bool:
            got = [(await lunasec.detokenize(token(n))).value.reveal() for _ in range(20)]
            await lunasec._lanes._lanes[asyncio.get_running_loop()].aclose()
            return got == [f"the value of {token(n)}"] * 20

        assert asyncio.run(page(1))
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if asyncio.run(page(2)) else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert server.connections == 2


async def test_hundreds_of_callers_of_whom_some_leave_get_their_own(anyio_backend_name: str) -> None:
    def batches(connection: socket.socket) -> None:
        from toy import http

        while request := read_request(connection):
            body = json.loads(request.partition(b"\r\n\r\n")[2])
            asked = body.get("tokens", [body.get("token")])
            items = [{"token": t, "value": f"the value of {t}", "encoding": "utf8"} for t in asked]
            connection.sendall(http(json.dumps({"items": items} if "tokens" in body else items[0]).encode()))

    with Server(batches) as server:
        lunasec = AsyncLunaSec(socket=server.socket)
        found: dict[int, Any] = {}

        async def call(n: int) -> None:
            await anyio.lowlevel.checkpoint()
            with anyio.move_on_after(0 if n % 7 == 0 else 10):
                try:
                    found[n] = (await lunasec.detokenize(token(n))).value.reveal()
                except LunaSecError as error:
                    found[n] = error

        async with anyio.create_task_group() as group:
            for n in range(700):
                group.start_soon(call, n)
        assert found == {n: f"the value of {token(n)}" for n in range(700) if n % 7}
        await lunasec.aclose()


async def test_what_a_transport_fails_by_is_the_sidecars_and_whatever_else_is_not() -> None:
    def raising(error: Exception) -> AsyncLunaSec[Any]:
        def handle(request: httpx.Request) -> httpx.Response:
            raise error

        return AsyncLunaSec(transport=httpx.MockTransport(handle), deadline=0.5)

    for error in (httpx.ReadError("x"), ConnectionResetError()):
        with pytest.raises(LunaSecError):
            await raising(error).detokenize(token(1))
    for foreign in (KeyError("defect"), TimeoutError("the task is over")):
        with pytest.raises(type(foreign)):
            await raising(foreign).detokenize(token(1), on_unavailable="mask")


async def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    with Server(twice) as server:
        async with AsyncLunaSec(socket=server.socket) as lunasec:
            for n in range(3):
                assert (await lunasec.for_session(f"s{n}").detokenize(token(n))).value.reveal() == token(n)


async def test_a_process_without_a_file_left_is_as_without_a_sidecar() -> None:
    with Server(value_server) as server:
        async with AsyncLunaSec(socket=server.socket, start_deadline=0.1, restart_grace=0.1) as lunasec:
            with no_file_left():
                with pytest.raises(SidecarUnreachable, match="no file left") as caught:
                    await lunasec.detokenize(token(1))
                assert caught.value.retryable
                assert (await lunasec.detokenize(token(1), on_unavailable="mask")).kind == "masked"
            assert (await lunasec.detokenize(token(1))).kind == "value"
