"""The calls under way in a process: so many, and no more."""

from __future__ import annotations

import threading

from ._limits import ALONE_SHARE, SESSION_SHARE
from .errors import Overloaded


class Holder:
    """Who takes a place: whose call it is, for one session leaves places to the others, and whether it can share its
    request with nobody, so that each call of it is a request."""

    __slots__ = ("alone", "session")

    def __init__(self, session: str | None = None, alone: bool = False) -> None:
        self.session = session
        self.alone = alone


class Places:
    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._sessions: dict[str, int] = {}
        self._alone: dict[str, int] = {}
        # Taken again by a signal's handler that makes a call in the midst of this.
        self._lock = threading.RLock()

    def take(self, holder: Holder) -> None:
        """A place for one caller to wait; refused where too many do."""
        with self._lock:
            if self._taken >= self._most:
                raise _too_many(f"{self._taken} calls are under way in this process")
            if holder.session is not None:
                self._take_of(holder.session, holder.alone)
            self._taken += 1

    def leave(self, holder: Holder) -> None:
        with self._lock:
            self._taken -= 1
            if holder.session is not None:
                _less(self._sessions, holder.session)
                if holder.alone:
                    _less(self._alone, holder.session)

    def _take_of(self, session: str, alone: bool) -> None:
        held = self._sessions.get(session, 0)
        if held >= self._share_of(SESSION_SHARE):
            raise _too_many(f"{held} calls of one session are under way")
        requests = self._alone.get(session, 0)
        if alone and requests >= self._share_of(ALONE_SHARE):
            raise _too_many(f"{requests} requests for metadata of one session are under way")
        self._sessions[session] = held + 1
        if alone:
            self._alone[session] = requests + 1

    def _share_of(self, part: float) -> int:
        return max(1, int(self._most * part))


def _less(counts: dict[str, int], key: str) -> None:
    left = counts.get(key, 1) - 1
    if left > 0:
        counts[key] = left
    else:
        counts.pop(key, None)


def _too_many(what: str) -> Overloaded:
    return Overloaded(f"{what}, which is all that may be: make fewer at once, or raise pending_calls", retryable=True)
