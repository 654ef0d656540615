"""Against the release binary: restarts, crashes, silence, late starts, crowds."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lunasec import (
    AccessDenied,
    AsyncLunaSec,
    Conflict,
    DeadlineExceeded,
    GrantDenied,
    Item,
    LunaSec,
    NotFound,
    SidecarUnreachable,
    Stop,
    Stopped,
)
from sidecar import Sidecar

pytestmark = pytest.mark.anyio


def test_every_operation(sidecar: Sidecar) -> None:
    with LunaSec(socket=sidecar.socket) as lunasec:
        card = lunasec.tokenize("4111 1111 1111 1111", metadata={"kind": "card"}, expires_in="720h")
        assert card.durability == "stored"
        assert lunasec.detokenize(card.token).value.reveal() == "4111 1111 1111 1111"
        scan = lunasec.tokenize(b"\x89\x50", idempotency_key="scan-1")
        assert lunasec.tokenize(b"\x89\x50", idempotency_key="scan-1").token == scan.token
        with pytest.raises(Conflict):
            lunasec.tokenize(b"other", idempotency_key="scan-1")
        assert lunasec.detokenize(scan.token).value.reveal_bytes() == b"\x89\x50"
        batch = lunasec.tokenize_batch(["a", Item("b", metadata={"n": 1}), b"c"])
        tokens = [each.token for each in batch if each.kind == "tokenized"]
        found = lunasec.detokenize_batch(tokens)
        assert [each.value.reveal_bytes() for each in found if each.kind == "value"] == [b"a", b"b", b"c"]
        metadata = lunasec.get_metadata(card.token)
        assert metadata.metadata == {"kind": "card"}
        written = lunasec.set_metadata(card.token, {**metadata.metadata, "checked": True}, if_version=metadata.version)
        assert written.version == metadata.version + 1
        with pytest.raises(Conflict):
            lunasec.set_metadata(card.token, {}, if_version=metadata.version)
        user = lunasec.for_session("a session")
        assert [each.kind for each in user.verify([card.token])] == ["invalid"]
        assert [each.kind for each in user.grant([card.token], expires_in="5m", actions=["update"])] == ["granted"]
        assert [each.kind for each in user.verify([card.token], action="update")] == ["valid"]
        assert user.revoke([card.token]).revoked == 1
        assert user.revoke_all().revoked is None
        assert [each.kind for each in lunasec.delete([card.token, "nothing"])] == ["deleted", "failed"]
        with pytest.raises(NotFound):
            lunasec.detokenize(card.token)
        lunasec.ready()
        assert lunasec.status().dependencies["storage"]["state"] == "up"


@pytest.mark.parametrize("how", ["restart", "kill -9"])
def test_threads_do_not_notice_a_restart(own_sidecar: Sidecar, how: str) -> None:
    with LunaSec(socket=own_sidecar.socket) as lunasec, ThreadPoolExecutor(8) as pool:
        tokens = [lunasec.tokenize(f"value {n}").token for n in range(8)]
        over = threading.Event()
        made = [0] * 8
        more = threading.Condition()

        def call(n: int) -> None:
            while not over.is_set():
                assert lunasec.detokenize(tokens[n]).value.reveal() == f"value {n}"
                with more:
                    made[n] += 1
                    more.notify()

        calling = [pool.submit(call, n) for n in range(8)]
        try:
            for _ in range(3):
                own_sidecar.stop(signal.SIGTERM if how == "restart" else signal.SIGKILL)
                own_sidecar.start()
                before = list(made)
                # A call survives two breaks of its connection: each is past this one before the next.
                with more:
                    assert more.wait_for(
                        lambda before=before: all(now > then + 1 for now, then in zip(made, before)), 30
                    )
        finally:
            over.set()
        for each in calling:
            each.result(30)


@pytest.mark.parametrize("how", ["restart", "kill -9"])
async def test_tasks_do_not_notice_a_restart(own_sidecar: Sidecar, how: str) -> None:
    async with AsyncLunaSec(socket=own_sidecar.socket) as lunasec:
        tokens = [(await lunasec.tokenize(f"value {n}")).token for n in range(32)]
        over = asyncio.Event()
        made = [0] * 32
        more = asyncio.Condition()

        async def call(n: int) -> None:
            while not over.is_set():
                assert (await lunasec.detokenize(tokens[n])).value.reveal() == f"value {n}"
                assert (await lunasec.tokenize("more")).durability == "stored"
                async with more:
                    made[n] += 1
                    more.notify()

        calling = [asyncio.ensure_future(call(n)) for n in range(32)]
        for _ in range(3):
            await asyncio.to_thread(own_sidecar.stop, signal.SIGTERM if how == "restart" else signal.SIGKILL)
            await asyncio.to_thread(own_sidecar.start)
            before = list(made)
            async with more:
                past = more.wait_for(lambda before=before: all(now > then + 1 for now, then in zip(made, before)))
                await asyncio.wait_for(past, 30)
        over.set()
        await asyncio.gather(*calling)


def test_a_dead_sidecar_is_waited_for_once_and_then_fails_fast(own_sidecar: Sidecar) -> None:
    with LunaSec(socket=own_sidecar.socket, restart_grace=0.3) as lunasec:
        token = lunasec.tokenize("v").token
        own_sidecar.kill()
        begun = time.monotonic()
        with pytest.raises(SidecarUnreachable):
            lunasec.detokenize(token)
        assert 0.2 < time.monotonic() - begun < 5
        begun = time.monotonic()
        for _ in range(100):
            with pytest.raises(SidecarUnreachable):
                lunasec.detokenize(token)
        assert time.monotonic() - begun < 15
        assert lunasec.with_options(on_unavailable="mask").detokenize(token).kind == "masked"
        own_sidecar.start()
        assert lunasec.detokenize(token).value.reveal() == "v"


async def test_so_it_is_by_tasks(own_sidecar: Sidecar) -> None:
    async with AsyncLunaSec(socket=own_sidecar.socket, restart_grace=0.3) as lunasec:
        token = (await lunasec.tokenize("v")).token
        own_sidecar.kill()
        with pytest.raises(SidecarUnreachable):
            await lunasec.detokenize(token)
        begun = time.monotonic()
        found = await asyncio.gather(*(lunasec.detokenize(token) for _ in range(500)), return_exceptions=True)
        assert {type(each) for each in found} == {SidecarUnreachable}
        assert time.monotonic() - begun < 15
        own_sidecar.start()
        assert (await lunasec.detokenize(token)).value.reveal() == "v"


def test_a_sidecar_that_starts_late_is_waited_for() -> None:
    late = Sidecar(start=False)
    try:
        with LunaSec(socket=late.socket) as lunasec, ThreadPoolExecutor(1) as pool:
            ready = pool.submit(lunasec.ready)
            late.start()
            ready.result(30)
            assert lunasec.tokenize("v").durability == "stored"
    finally:
        late.end()


def test_one_that_never_starts_is_not_waited_for_longer_than_is_said() -> None:
    never = Sidecar(start=False)
    try:
        with LunaSec(socket=never.socket, start_deadline=0.1) as lunasec:
            with pytest.raises(SidecarUnreachable, match="start one, or set LUNASEC_SOCKET"):
                lunasec.ready()
            shown = lunasec.with_options(on_unavailable="mask").detokenize("lunasec-x")
            assert (shown.kind, getattr(shown, "reason", "")) == ("masked", "sidecar_unreachable")
    finally:
        never.end()


async def test_a_frozen_sidecar_ends_calls_at_their_deadline_and_is_as_good_as_ever_once_it_thaws(
    own_sidecar: Sidecar,
) -> None:
    async with AsyncLunaSec(socket=own_sidecar.socket) as lunasec:
        token = (await lunasec.tokenize("v")).token
        own_sidecar.freeze()
        try:
            with pytest.raises(DeadlineExceeded):
                await lunasec.detokenize(token, deadline=0.1)
            shown = await lunasec.detokenize(token, deadline=0.1, on_unavailable="mask")
            assert shown.kind == "masked"
            leaving = asyncio.ensure_future(lunasec.detokenize(token))
            staying = asyncio.ensure_future(lunasec.detokenize(token))
            # Until both are under way, in one request.
            for _ in range(3):
                await asyncio.sleep(0)
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
        finally:
            own_sidecar.thaw()
        assert (await staying).value.reveal() == "v"


def test_a_thread_gives_a_call_of_a_frozen_sidecar_up(own_sidecar: Sidecar) -> None:
    with LunaSec(socket=own_sidecar.socket) as lunasec, ThreadPoolExecutor(1) as pool:
        token = lunasec.tokenize("v").token
        own_sidecar.freeze()
        stop = Stop()
        call = pool.submit(lunasec.detokenize, token, stop=stop)
        stop.set()
        with pytest.raises(Stopped):
            call.result(5)
        own_sidecar.thaw()
        assert lunasec.detokenize(token).value.reveal() == "v"


def test_hundreds_of_threads_get_their_own(sidecar: Sidecar) -> None:
    with LunaSec(socket=sidecar.socket, deadline=120) as lunasec, ThreadPoolExecutor(200) as pool:

        def call(n: int) -> bool:
            token = lunasec.tokenize(f"value {n}").token
            user = lunasec.for_session(f"session {n}")
            granted = user.grant([token])
            mine = user.detokenize(token).value.reveal() == f"value {n}"
            others = lunasec.for_session(f"session {n + 1}").verify([token])
            return mine and granted[0].kind == "granted" and others[0].kind == "invalid"

        assert all(pool.map(call, range(600)))


async def test_hundreds_of_tasks_get_their_own(sidecar: Sidecar) -> None:
    async with AsyncLunaSec(socket=sidecar.socket) as lunasec:

        async def call(n: int) -> bool:
            token = (await lunasec.tokenize(f"value {n}")).token
            user = lunasec.for_session(f"session {n % 50}")
            await user.grant([token])
            same = asyncio.ensure_future(user.detokenize(token))
            read: Any = await user.detokenize(token)
            return [read.value.reveal(), (await same).value.reveal()] == [f"value {n}"] * 2

        assert all(await asyncio.gather(*(call(n) for n in range(800))))


GRANTS = """
[listen]
socket = "{socket}"
admin = "127.0.0.1:0"
[storage]
kind = "embedded"
path = "{dir}/store"
[keys]
kind = "local"
path = "{dir}/key"
[degrade]
state_dir = "{dir}/state"
[audit]
sink = "file"
path = "{dir}/audit.jsonl"
[[clients]]
name = "test"
uid = UID
namespaces = ["default"]
operations = ["tokenize", "detokenize", "metadata", "grants", "delete"]
require_grant = true
"""


def test_where_a_grant_is_needed_only_the_session_that_has_it_reads() -> None:
    strict = Sidecar(GRANTS.replace("UID", str(os.getuid())))
    try:
        with LunaSec(socket=strict.socket) as lunasec:
            token = lunasec.tokenize("v").token
            alice, bob = lunasec.for_session("alice"), lunasec.for_session("bob")
            alice.grant([token])
            assert alice.detokenize(token).value.reveal() == "v"
            for reader in (bob, lunasec):
                with pytest.raises(AccessDenied):
                    reader.detokenize(token)
            alice.revoke_all()
            with pytest.raises(GrantDenied):
                alice.detokenize(token)
    finally:
        strict.end()
