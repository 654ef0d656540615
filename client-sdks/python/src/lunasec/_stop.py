"""How a thread gives up the calls of another."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable


class Stop:
    """Gives calls up: each that was given it raises `Stopped`, wherever it waits.

    ```python
    stop = Stop()
    threading.Timer(1.0, stop.set).start()
    lunasec.detokenize(token, stop=stop)
    ```
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._ends: tuple[socket.socket, socket.socket] | None = None
        #: By who waits: two waits may have the same to be told.
        self._told: dict[object, Callable[[], None]] = {}

    def set(self) -> None:
        """Gives up what waits, and what will be called with it."""
        with self._lock:
            self._event.set()
            ends, told = self._ends, list(self._told.values())
        if ends is not None:
            with contextlib.suppress(OSError):
                ends[1].send(b"!")
        for each in told:
            each()

    def is_set(self) -> bool:
        return self._event.is_set()

    def _wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def _fileno(self) -> int:
        """What can be read from once it is set: to be polled beside a connection."""
        with self._lock:
            if self._ends is None:
                self._ends = socket.socketpair()
                self._ends[1].setblocking(False)
                if self._event.is_set():
                    self._ends[1].send(b"!")
            return self._ends[0].fileno()

    def _tell(self, then: Callable[[], None]) -> object:
        who = object()
        with self._lock:
            self._told[who] = then
        return who

    def _forget(self, who: object) -> None:
        with self._lock:
            self._told.pop(who, None)

    def __del__(self) -> None:
        for end in self._ends or ():
            end.close()
