"""How a thread gives up the calls of another."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from ._limits import LOOK_AGAIN


class Stop:
    """Gives calls up: each that was given it raises `Stopped`, wherever it waits.

    ```python
    stop = Stop()
    threading.Timer(1.0, stop.set).start()
    lunasec.detokenize(token, stop=stop)
    ```
    """

    def __init__(self) -> None:
        self._is_set = False
        # One that a signal's handler can take again where it came in between.
        self._changed = threading.Condition(threading.RLock())
        self._ends: tuple[socket.socket, socket.socket] | None = None
        #: By who waits: two waits may have the same to be told.
        self._told: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """Gives up what waits, and what will be called with it."""
        with self._changed:
            self._is_set = True
            self._changed.notify_all()
            ends, told = self._ends, list(self._told.values())
        if ends is not None:
            with contextlib.suppress(OSError):
                ends[1].send(b"!")
        for each in told:
            each()

    def is_set(self) -> bool:
        return self._is_set

    def _wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        with self._changed:
            while not self._is_set and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, LOOK_AGAIN))
        return self._is_set

    def _fileno(self) -> int | None:
        """What can be read from once it is set: to be polled beside a connection. None where the process has no file left."""
        with self._changed:
            if self._ends is None:
                try:
                    ends = socket.socketpair()
                except OSError:
                    return None
                ends[1].setblocking(False)
                if self._is_set:
                    ends[1].send(b"!")
                self._ends = self._ends or ends
            return self._ends[0].fileno()

    def _tell(self, then: Callable[[], None]) -> object:
        who = object()
        with self._changed:
            self._told[who] = then
        return who

    def _forget(self, who: object) -> None:
        with self._changed:
            self._told.pop(who, None)

    def __del__(self) -> None:
        for end in self._ends or ():
            end.close()
