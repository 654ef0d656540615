"""How a client is made, and what all of its views share: patience, places, traces."""

from __future__ import annotations

import os
import weakref
from datetime import timedelta
from typing import Any, Generic, TypeVar

from ._limits import (
    BATCH_ITEMS,
    CONNECTIONS,
    DEFAULT_SOCKET,
    PENDING_CALLS,
    RESTART_GRACE,
    START_DEADLINE,
)
from ._options import counted, seconds
from ._places import Places
from ._retry import Patience, Retry
from ._runtime import SYSTEM, Runtime
from ._telemetry import telemetry_of
from ._transport import socket_path
from .errors import InvalidRequest

Tr = TypeVar("Tr")


class Engine(Generic[Tr]):
    """What all views of a client share. In a forked process it is as new: neither connections nor locks are its parent's."""

    def __init__(
        self,
        *,
        socket: str | os.PathLike[str] | None = None,
        retry: Retry | None = None,
        start_deadline: float | timedelta = START_DEADLINE,
        restart_grace: float | timedelta = RESTART_GRACE,
        connections: int = CONNECTIONS,
        pending_calls: int = PENDING_CALLS,
        batch_items: int = BATCH_ITEMS,
        telemetry: bool | None = None,
        transport: Tr | None = None,
        runtime: Runtime = SYSTEM,
    ) -> None:
        # A variable that is there and empty says nothing.
        self.socket = socket_path(socket if socket is not None else os.environ.get("LUNASEC_SOCKET") or DEFAULT_SOCKET)
        if retry is not None and not isinstance(retry, Retry):
            raise InvalidRequest("retry is no Retry: write Retry(attempts=3)")
        self.retry = retry or Retry()
        self.connections = counted("connections", connections, 1)
        self.batch_items = counted("batch_items", batch_items, 1)
        self.telemetry = telemetry_of(telemetry)
        self.transport = transport
        self.runtime = runtime
        self.closed = False
        self._pending = counted("pending_calls", pending_calls, 0)
        self._start = seconds("start_deadline", start_deadline)
        self._grace = seconds("restart_grace", restart_grace)
        self.renew()
        _ENGINES.add(self)

    def renew(self) -> None:
        """As new: at first, and after a fork."""
        self.patience = Patience(self.runtime, self.retry, self.connections, self._start, self._grace)
        self.places = Places(self._pending)


_ENGINES: weakref.WeakSet[Engine[Any]] = weakref.WeakSet()


def _forked() -> None:
    for engine in list(_ENGINES):
        engine.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
