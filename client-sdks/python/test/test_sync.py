"""Threads: giving up, deadlines that nothing trickling in prolongs, forks."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import socket
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lunasec import DeadlineExceeded, LunaSec, LunaSecError, ProtocolError, SidecarUnreachable, Stop, Stopped
from lunasec._places import Holder, Places
from lunasec._retry import Budget
from lunasec._sync_transport import Bounds, GivenUp, Late, Slots
from toy import Server, http, no_file_left, read_request, token, twice


def value_server(connection: socket.socket) -> None:
    while request := read_request(connection):
        asked = json.loads(request.partition(b"\r\n\r\n")[2])["token"]
        connection.sendall(http(json.dumps({"value": f"the value of {asked}", "encoding": "utf8"}).encode()))


def test_a_call_is_given_up_while_it_waits_for_its_answer() -> None:
    came = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        came.set()
        assert connection.recv(1) == b""

    with Server(silent) as server:
        stop = Stop()
        lunasec = LunaSec(socket=server.socket)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(lunasec.detokenize, token(1), stop=stop)
            assert came.wait(5)
            stop.set()
            with pytest.raises(Stopped):
                call.result(5)
        with pytest.raises(Stopped):
            lunasec.detokenize(token(1), stop=stop)


def test_a_call_is_given_up_while_it_waits_for_a_connection_or_a_pause() -> None:
    came = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        came.set()
        connection.recv(1)

    with Server(silent) as server, ThreadPoolExecutor(2) as pool:
        lunasec = LunaSec(socket=server.socket, connections=1)
        first, second = Stop(), Stop()
        holding = pool.submit(lunasec.detokenize, token(1), stop=first)
        assert came.wait(5)
        waiting = pool.submit(lunasec.detokenize, token(2), stop=second)
        second.set()
        with pytest.raises(Stopped):
            waiting.result(5)
        assert not holding.done()
        first.set()
        with pytest.raises(Stopped):
            holding.result(5)
        nowhere = LunaSec(socket=server.socket + "x")
        pausing = Stop()
        threading.Timer(0.05, pausing.set).start()
        with pytest.raises(Stopped):
            nowhere.detokenize(token(1), stop=pausing)


def test_a_deadline_is_the_calls_whatever_trickles_in() -> None:
    def trickle(connection: socket.socket) -> None:
        read_request(connection)
        for byte in b"HTTP/1.1 200 OK\r\nx-padding: " + b"x" * 2_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.005)

    with Server(trickle) as server:
        begun = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            LunaSec(socket=server.socket).detokenize(token(1), deadline=0.2)
        assert time.monotonic() - begun < 5


def test_an_answer_without_an_end_is_not_read_to_its_end() -> None:
    def endless(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        while True:
            connection.sendall(chunk)

    with Server(endless) as server, pytest.raises(ProtocolError, match="larger than"):
        LunaSec(socket=server.socket).detokenize(token(1))


def test_a_head_without_an_end_is_not_either() -> None:
    def endless(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"x-more: " + b"x" * 1_000 + b"\r\n")

    with Server(endless) as server, pytest.raises(ProtocolError):
        LunaSec(socket=server.socket).detokenize(token(1), deadline=5)


def test_many_threads_share_few_connections_and_nobody_gets_anothers_answer() -> None:
    with Server(value_server) as server, ThreadPoolExecutor(64) as pool:
        lunasec = LunaSec(socket=server.socket, connections=4)
        found = pool.map(lambda n: lunasec.detokenize(token(n)).value.reveal(), range(500))
        assert list(found) == [f"the value of {token(n)}" for n in range(500)]
        assert server.connections <= 4
        lunasec.close()


def test_a_forked_process_has_connections_of_its_own() -> None:
    with Server(value_server) as server:
        lunasec = LunaSec(socket=server.socket)
        lunasec.detokenize(token(0))
        reads, writes = os.pipe()
        children = []
        for n in range(1, 4):
            child = os.fork()
            if child == 0:
                said = b"failed\n"
                try:
                    own = all(
                        lunasec.detokenize(token(n)).value.reveal() == f"the value of {token(n)}" for _ in range(50)
                    )
                    said = b"own\n" if own else b"another's\n"
                finally:
                    os.write(writes, said)
                    os._exit(0)
            children.append(child)
        mine = [lunasec.detokenize(token(9)).value.reveal() for _ in range(50)]
        for child in children:
            os.waitpid(child, 0)
        os.close(writes)
        with os.fdopen(reads) as results:
            assert results.read().split() == ["own"] * 3
        assert mine == [f"the value of {token(9)}"] * 50
        assert server.connections == 4
        lunasec.close()


def test_a_fork_while_other_threads_call_leaves_no_lock_behind() -> None:
    with Server(value_server) as server:
        lunasec = LunaSec(socket=server.socket)
        over = threading.Event()

        def busy() -> None:
            while not over.is_set():
                lunasec.detokenize(token(1))

        threads = [threading.Thread(target=busy) for _ in range(8)]
        for thread in threads:
            thread.start()
        statuses = []
        for _ in range(20):
            child = os.fork()
            if child == 0:
                try:
                    good = lunasec.detokenize(token(2), deadline=5).value.reveal() == f"the value of {token(2)}"
                    os._exit(0 if good else 1)
                finally:
                    os._exit(2)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        over.set()
        for thread in threads:
            thread.join(5)
        assert statuses == [0] * 20
        lunasec.close()


def test_a_socket_that_may_not_be_used_is_not_waited_for(tmp_path: object) -> None:
    path = f"{tmp_path}/not-a-socket"
    with open(path, "w"):
        pass
    with pytest.raises(SidecarUnreachable) as caught:
        LunaSec(socket=f"{path}/below").detokenize(token(1))
    assert not caught.value.retryable


def test_one_stop_gives_up_whoever_waits_with_it() -> None:
    slots, stop = Slots(1), Stop()
    slots.take(Bounds(time.monotonic() + 60, None))
    ended: dict[str, type[BaseException]] = {}

    def wait(name: str, seconds: float) -> None:
        try:
            slots.take(Bounds(time.monotonic() + seconds, stop))
        except BaseException as error:
            ended[name] = type(error)

    long, short = (threading.Thread(target=wait, args=each) for each in (("long", 30), ("short", 0.1)))
    long.start()
    short.start()
    short.join(10)
    stop.set()
    long.join(10)
    assert ended == {"short": Late, "long": GivenUp}


def test_no_lock_is_waited_for_by_who_holds_it() -> None:
    """As where a signal's handler makes a call, or sets a `Stop`, in the midst of another call of its thread."""
    slots, places, budget, stop = Slots(2), Places(2), Budget(1), Stop()

    def again() -> None:
        with slots._changed:
            slots.take(Bounds(time.monotonic() + 1, stop))
            slots.leave()
        with places._lock:
            places.take(Holder("s"))
            places.leave(Holder("s"))
        with budget._lock:
            budget.take()
            budget.succeeded()
        with stop._changed:
            stop._fileno()
            stop.set()
        assert stop._wait(0)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(again)
        try:
            done.result(5)
        except concurrent.futures.TimeoutError:
            os._exit(1)


def test_a_signals_handler_may_make_calls() -> None:
    with Server(value_server) as server:
        lunasec = LunaSec(socket=server.socket)
        calls = 0

        def handler(*_: object) -> None:
            nonlocal calls
            lunasec.detokenize(token(2))
            calls += 1

        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            until = time.monotonic() + 20
            while calls < 20 and time.monotonic() < until:
                assert lunasec.detokenize(token(1)).value.reveal() == f"the value of {token(1)}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert calls >= 20


@pytest.mark.parametrize("kind", [TimeoutError, ValueError])
@pytest.mark.parametrize("policy", ["fail", "mask"])
def test_what_a_signals_handler_raises_goes_on(kind: type[Exception], policy: str) -> None:
    def silent(connection: socket.socket) -> None:
        read_request(connection)
        connection.recv(1)

    def handler(*_: object) -> None:
        raise kind("the task is over")

    def gathered(lunasec: LunaSec) -> None:
        with lunasec.gather() as page:
            page.tokenize("a secret value")

    ways = [
        lambda lunasec: lunasec.detokenize(token(1)),
        lambda lunasec: lunasec.tokenize("a secret value"),
        lambda lunasec: lunasec.tokenize("a secret value", stop=Stop()),
        gathered,
    ]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Server(silent) as server:
            for way in ways:
                lunasec = LunaSec(socket=server.socket, on_unavailable=policy, deadline=10)
                signal.setitimer(signal.ITIMER_REAL, 0.1)
                with pytest.raises(kind, match="the task is over") as caught:
                    way(lunasec)
                said = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
                frames = [each for each in said.split("  File ") if "/lunasec/" in each.partition("\n")[0]]
                assert frames
                assert not any("secret" in each or token(1) in each for each in frames)
                assert lunasec._pilot._exchanges._slots._free == 16
                lunasec.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_a_transport_fails_by_is_the_sidecars_and_whatever_else_is_not() -> None:
    def raising(error: Exception) -> LunaSec:
        def handle(request: httpx.Request) -> httpx.Response:
            raise error

        return LunaSec(transport=httpx.MockTransport(handle), deadline=0.5)

    for error in (httpx.ReadError("x"), ConnectionResetError()):
        with pytest.raises(LunaSecError):
            raising(error).detokenize(token(1))
    with pytest.raises(KeyError):
        raising(KeyError("defect")).detokenize(token(1))


def test_an_answer_that_nobody_asked_for_is_nobodys() -> None:
    with Server(twice) as server:
        lunasec = LunaSec(socket=server.socket)
        for n in range(3):
            assert lunasec.for_session(f"s{n}").detokenize(token(n)).value.reveal() == token(n)


def test_a_process_without_a_file_left_is_as_without_a_sidecar() -> None:
    with Server(value_server) as server:
        lunasec = LunaSec(socket=server.socket, start_deadline=0.1, restart_grace=0.1)
        with no_file_left():
            with pytest.raises(SidecarUnreachable, match="no file left") as caught:
                lunasec.detokenize(token(1))
            assert caught.value.retryable
            assert lunasec.detokenize(token(1), on_unavailable="mask").kind == "masked"
        assert lunasec.detokenize(token(1)).kind == "value"
        stop = Stop()
        with no_file_left():
            # On the connection that there is.
            assert lunasec.detokenize(token(1), stop=stop).kind == "value"
        assert stop._ends is None


def test_a_call_is_given_up_also_without_a_file_left() -> None:
    came = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        came.set()
        connection.recv(1)

    with Server(silent) as server, ThreadPoolExecutor(1) as pool:
        stop = Stop()
        stop._fileno = lambda: None  # type: ignore[method-assign]
        call = pool.submit(LunaSec(socket=server.socket).detokenize, token(1), stop=stop)
        assert came.wait(5)
        stop.set()
        with pytest.raises(Stopped):
            call.result(2)
