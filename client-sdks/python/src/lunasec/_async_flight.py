"""Flies requests in an event loop: calls that are made in one turn of asyncio's share one."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import anyio

from ._async_transport import AsyncExchanges
from ._engine import Engine
from ._flight import Common, Entry, Flight, Pause
from ._groups import Groups
from ._operation import Outcome
from ._plans import Ask
from ._sync_flight import Call, too_late
from .errors import LunaSecError

T = TypeVar("T")


class Awaited(Generic[T]):
    """A call of asyncio: it ends with its result, its deadline or its task's cancellation, whichever is first."""

    __slots__ = ("_deadline", "_timer", "flown", "future", "trouble", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadline: float, now: float) -> None:
        self.future: asyncio.Future[list[Outcome[T]] | LunaSecError] = loop.create_future()
        self.trouble: LunaSecError | None = None
        self.until = now + deadline
        self.flown: Flown | None = None
        self._deadline = deadline
        self._timer = loop.call_later(deadline, self._late)

    @property
    def over(self) -> bool:
        return self.future.done()

    def resolve(self, outcomes: list[Outcome[T]]) -> None:
        self._end(outcomes)

    def reject(self, error: LunaSecError) -> None:
        self._end(error)

    def fail(self, error: Exception) -> None:
        """With what is no error of the sidecar's."""
        if not self.future.done():
            self._timer.cancel()
            self.future.set_exception(error)

    def left(self) -> None:
        """Whoever waited does not any more."""
        self._timer.cancel()
        if self.flown is not None:
            self.flown.look()

    def _late(self) -> None:
        self._end(self.trouble or too_late(self._deadline))

    def _end(self, said: list[Outcome[T]] | LunaSecError) -> None:
        if not self.future.done():
            self._timer.cancel()
            self.future.set_result(said)


class Flown:
    """A flight on its way, in a task of its own: whoever leaves does not take along those that share it."""

    __slots__ = ("flight", "task")

    def __init__(self, flight: Flight[Any], task: asyncio.Task[None]) -> None:
        self.flight = flight
        self.task = task

    def look(self) -> None:
        if self.flight.deserted:
            self.task.cancel()


class Lane:
    """The way to the sidecar of one event loop: connections are a loop's own."""

    def __init__(self, engine: Engine[Any], trio: bool) -> None:
        self._engine = engine
        self._exchanges = AsyncExchanges(engine.socket, engine.connections, engine.transport, trio)
        self._groups: Groups | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def make(self, ask: Ask[Any]) -> list[Outcome[Any]] | LunaSecError:
        """A call of asyncio."""
        loop = asyncio.get_running_loop()
        engine = self._engine
        call: Awaited[Any] = Awaited(loop, ask.deadline, engine.runtime.now())
        entry = Entry(ask.units, call, engine.telemetry.here())
        if ask.together and len(ask.units) <= engine.batch_items:
            self._join(loop, ask.common, entry)
        else:
            self._launch(self._flight(ask.common, [entry]))
        try:
            return await call.future
        finally:
            call.left()

    async def make_alone(self, ask: Ask[Any]) -> list[Outcome[Any]] | LunaSecError:
        """A call of another event loop than asyncio's: in the task of who calls."""
        call: Call[Any] = Call(ask.deadline, self._engine.runtime.now())
        entry = Entry(ask.units, call, self._engine.telemetry.here())
        flights = [self._flight(ask.common, [entry])]
        with anyio.move_on_after(ask.deadline):
            while flights:
                await self._fly(flights.pop())
        if call.said is None:
            call.late()
        assert call.said is not None
        return call.said

    def _join(self, loop: asyncio.AbstractEventLoop, common: Common, entry: Entry[Any]) -> None:
        if self._groups is None:
            self._groups = Groups(self._engine.batch_items)
            # After all that is ready to run in this turn.
            loop.call_soon(self._depart)
        self._groups.add(common, entry)

    def _depart(self) -> None:
        groups, self._groups = self._groups, None
        for batch in groups.batches() if groups is not None else ():
            self._launch(self._flight(batch.common, batch.entries))

    def _flight(self, common: Common, entries: Sequence[Entry[Any]]) -> Flight[Any]:
        engine = self._engine
        return Flight(engine.patience, engine.telemetry, common, entries, self._launch)

    def _launch(self, flight: Flight[Any]) -> None:
        task = asyncio.get_running_loop().create_task(self._fly(flight))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        flown = Flown(flight, task)
        for entry in flight.entries:
            if isinstance(entry.call, Awaited):
                entry.call.flown = flown

    async def _fly(self, flight: Flight[Any]) -> None:
        steps = flight.steps()
        try:
            step = next(steps, None)
            while step is not None:
                said = None
                if isinstance(step, Pause):
                    await anyio.sleep(step.seconds)
                else:
                    said = await self._exchanges.exchange(step.wanted)
                try:
                    step = steps.send(said)
                except StopIteration:
                    step = None
        except Exception as error:
            # What a signal's handler raised, or a defect: whoever waits is told at once.
            for entry in flight.entries:
                entry.call.fail(error.with_traceback(None))
        finally:
            steps.close()

    async def aclose(self) -> None:
        await self._exchanges.aclose()


class Lanes:
    """A lane for each event loop: a client may be made before there is one, and used from several."""

    def __init__(self, engine: Engine[Any]) -> None:
        self._engine = engine
        self._closed = False
        self.renew()

    def renew(self) -> None:
        # The loop of this process is another one after a fork, also where it has the same address.
        self._lanes: weakref.WeakKeyDictionary[Any, Lane] = weakref.WeakKeyDictionary()

    async def make(self, ask: Ask[Any]) -> list[Outcome[Any]] | LunaSecError:
        loop: Any = _asyncio_loop()
        if loop is not None:
            return await self._lane(loop, False).make(ask)
        import trio

        return await self._lane(trio.lowlevel.current_trio_token(), True).make_alone(ask)

    def _lane(self, key: Any, trio: bool) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(self._engine, trio)
            if self._closed:
                lane._exchanges._closed = True
        return lane

    async def aclose(self) -> None:
        """Of this loop; those of others end with theirs."""
        self._closed = True
        for lane in list(self._lanes.values()):
            lane._exchanges._closed = True
        key: Any = _asyncio_loop()
        if key is None:
            import trio

            key = trio.lowlevel.current_trio_token()
        if key in self._lanes:
            await self._lanes[key].aclose()


def _asyncio_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_LANES: weakref.WeakSet[Lanes] = weakref.WeakSet()


def lanes_of(engine: Engine[Any]) -> Lanes:
    lanes = Lanes(engine)
    _LANES.add(lanes)
    return lanes


def _forked() -> None:
    for lanes in list(_LANES):
        lanes.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
