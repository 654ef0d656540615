"""Flies requests in the thread of who calls."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from ._engine import Engine
from ._flight import Entry, Flight, Pause
from ._groups import Groups
from ._operation import Outcome
from ._plans import Ask
from ._stop import Stop
from ._sync_transport import Bounds, Exchanges, GivenUp, Late
from .errors import DeadlineExceeded, LunaSecError, Stopped

T = TypeVar("T")


class Call(Generic[T]):
    """A call of this thread, and what it came to."""

    def __init__(self, deadline: float, now: float) -> None:
        self.trouble: LunaSecError | None = None
        self.until = now + deadline
        self.said: list[Outcome[T]] | LunaSecError | None = None
        self._deadline = deadline

    @property
    def over(self) -> bool:
        return self.said is not None

    def resolve(self, outcomes: list[Outcome[T]]) -> None:
        self.said = self.said or outcomes

    def reject(self, error: LunaSecError) -> None:
        self.said = self.said or error

    def fail(self, error: Exception) -> None:
        """With what is no error of the sidecar's."""
        raise error

    def late(self) -> None:
        self.reject(self.trouble or too_late(self._deadline))


def too_late(deadline: float) -> LunaSecError:
    return DeadlineExceeded(
        f"there was no answer within {deadline * 1000:.0f} ms; a write may have been done", retryable=True
    )


class Pilot:
    """Takes flights one after another, and what comes out of them. Another process has its own connections."""

    def __init__(self, engine: Engine[Any]) -> None:
        self._engine = engine
        self.renew()

    def renew(self) -> None:
        engine = self._engine
        self._exchanges = Exchanges(engine.socket, engine.connections, engine.transport)
        if engine.closed:
            self._exchanges.close()

    def close(self) -> None:
        # Also of a process that is forked later.
        self._engine.closed = True
        self._exchanges.close()

    def fly(self, asks: Iterable[Ask[Any]], stop: Stop | None) -> list[Call[Any]]:
        """Each call comes to an end: with its outcomes, an error or its deadline. Raises `Stopped` for all."""
        engine = self._engine
        now = time.monotonic()
        waiting = [(ask, Call[Any](ask.deadline, now)) for ask in asks]
        traces = engine.telemetry.here()
        groups = Groups(engine.batch_items)
        flights: deque[Flight[Any]] = deque()
        for ask, call in waiting:
            entry = Entry(ask.units, call, traces)
            if len(waiting) > 1 and ask.together and len(ask.units) <= engine.batch_items:
                groups.add(ask.common, entry)
            else:
                flights.append(Flight(engine.patience, engine.telemetry, ask.common, [entry], flights.append))
        for batch in groups.batches():
            flights.append(Flight(engine.patience, engine.telemetry, batch.common, batch.entries, flights.append))
        while flights:
            self._fly(flights.popleft(), [call for _, call in waiting], stop)
        return [call for _, call in waiting]

    def _fly(self, flight: Flight[Any], calls: list[Call[Any]], stop: Stop | None) -> None:
        steps = flight.steps()
        given_up = False
        try:
            step = next(steps, None)
            while step is not None:
                bounds = Bounds(flight.until(), stop)
                if isinstance(step, Pause):
                    _pause(step.seconds, stop)
                    bounds.left()
                    step = next(steps, None)
                else:
                    answer = self._exchanges.exchange(step.wanted, bounds)
                    step = _sent(steps.send, answer)
        except Late:
            now = time.monotonic()
            for call in calls:
                if call.until <= now:
                    call.late()
        except GivenUp:
            given_up = True
        finally:
            steps.close()
        if given_up:
            raise Stopped("the call was given up by its Stop")


def _sent(send: Callable[[Any], T], said: object) -> T | None:
    try:
        return send(said)
    except StopIteration:
        return None


def _pause(seconds: float, stop: Stop | None) -> None:
    if stop is None:
        time.sleep(seconds)
    elif stop._wait(seconds):
        raise GivenUp
