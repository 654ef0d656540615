"""Overhead over a bare client, interleaved in one run: rounds of each in turn, and the median of each one's rounds.

The bare client is httpx over the same socket with a JSON body, and `response.json()["value"]`."""

from __future__ import annotations

import asyncio
import statistics
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from lunasec import AsyncLunaSec, LunaSec
from sidecar import Sidecar

ROUNDS = 5
CALLS = 120
CALLERS = 64
URL = "http://localhost/v1/detokenize"

Call = Callable[[str], Awaitable[str]]
Rows = dict[str, list[float]]


def report(title: str, rows: Rows, unit: str, better: Callable[[float, float], float]) -> None:
    """The medians, and each one's ratio to the bare client's."""
    print(f"\n{title}")
    bare = statistics.median(next(iter(rows.values())))
    for name, rounds in rows.items():
        median = statistics.median(rounds)
        print(f"  {name:<44} {median:>10,.1f} {unit}   {better(median, bare):.2f}")


def slower(median: float, bare: float) -> float:
    return median / bare


async def after_another(calls: dict[str, Call], tokens: list[str]) -> None:
    rows: Rows = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken = []
            for n in range(CALLS):
                begun = time.perf_counter()
                await call(tokens[n % len(tokens)])
                taken.append(time.perf_counter() - begun)
            rows[name].append(statistics.median(taken) * 1e6)
    report("tasks, one after another: p50 of a call", rows, "µs", slower)


async def at_once(calls: dict[str, Call], tokens: list[str]) -> None:
    rows: Rows = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():

            async def caller(token: str, call: Call = call) -> None:
                for _ in range(CALLS // 8):
                    await call(token)

            begun = time.perf_counter()
            await asyncio.gather(*(caller(token) for token in tokens[:CALLERS]))
            rows[name].append(CALLERS * (CALLS // 8) / (time.perf_counter() - begun))
    report(f"tasks, {CALLERS} callers, a token each: calls per second", rows, "/s", slower)


async def allocated(calls: dict[str, Call], tokens: list[str]) -> None:
    rows: Rows = {name: [] for name in calls}
    for name, call in calls.items():
        await call(tokens[0])
        for _ in range(ROUNDS):
            tracemalloc.start()
            before = tracemalloc.take_snapshot()
            tracemalloc.reset_peak()
            at = tracemalloc.get_traced_memory()[0]
            await call(tokens[0])
            rows[name].append((tracemalloc.get_traced_memory()[1] - at) / 1024)
            del before
            tracemalloc.stop()
    report("tasks: most memory that a call holds at once (Python counts no allocations)", rows, "KiB", slower)


def threads(calls: dict[str, Callable[[str], str]], tokens: list[str]) -> None:
    rows: Rows = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            taken = []
            for n in range(CALLS):
                begun = time.perf_counter()
                call(tokens[n % len(tokens)])
                taken.append(time.perf_counter() - begun)
            rows[name].append(statistics.median(taken) * 1e6)
    report("threads, one call after another: p50 of a call", rows, "µs", slower)
    rows = {name: [] for name in calls}
    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(ROUNDS):
            for name, call in calls.items():

                def caller(token: str, call: Callable[[str], str] = call) -> None:
                    for _ in range(CALLS // 8):
                        call(token)

                begun = time.perf_counter()
                list(pool.map(caller, tokens[:CALLERS]))
                rows[name].append(CALLERS * (CALLS // 8) / (time.perf_counter() - begun))
    report(f"threads, {CALLERS} callers, a token each: calls per second", rows, "/s", slower)


async def main(socket: str) -> None:
    limits = httpx.Limits(max_connections=16, max_keepalive_connections=16)
    transport = httpx.AsyncHTTPTransport(uds=socket, limits=limits)
    one = AsyncLunaSec(socket=socket, telemetry=False)
    each = AsyncLunaSec(socket=socket, telemetry=False, batch_items=1)
    async with httpx.AsyncClient(transport=transport, timeout=15) as client, one, each:
        made = await one.tokenize_batch([f"value {n}" for n in range(CALLERS)])
        tokens = [item.token.expose() for item in made if item.kind == "tokenized"]

        async def bare(token: str) -> str:
            value: str = (await client.post(URL, json={"token": token})).json()["value"]
            return value

        async def lunasec(token: str) -> str:
            return (await one.detokenize(token)).value.reveal()

        async def lunasec_each(token: str) -> str:
            return (await each.detokenize(token)).value.reveal()

        calls: dict[str, Call] = {"bare httpx": bare, "AsyncLunaSec": lunasec}
        await after_another(calls, tokens)
        await at_once({**calls, "AsyncLunaSec, a request for each call": lunasec_each}, tokens)
        await allocated(calls, tokens)
    sync_transport = httpx.HTTPTransport(uds=socket, limits=limits)
    with httpx.Client(transport=sync_transport, timeout=15) as client_, LunaSec(socket=socket, telemetry=False) as two:

        def bare_sync(token: str) -> str:
            value: str = client_.post(URL, json={"token": token}).json()["value"]
            return value

        threads({"bare httpx": bare_sync, "LunaSec": lambda token: two.detokenize(token).value.reveal()}, tokens)


if __name__ == "__main__":
    sidecar = Sidecar()
    try:
        asyncio.run(main(sidecar.socket))
    finally:
        sidecar.end()
