"""Whether and when a request is tried again."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ._limits import (
    ATTEMPTS,
    CONNECTION_ATTEMPTS,
    CONNECTION_RETRY_BUDGET,
    PAUSE,
    PAUSE_MOST,
    RETRY_BUDGET,
    SUCCESSES_FOR_A_RETRY,
)
from ._options import counted, seconds
from ._runtime import Runtime
from .errors import LunaSecError, Overloaded, RateLimited, SidecarUnreachable


@dataclass(frozen=True)
class Retry:
    """How calls are tried again."""

    #: Attempts of a call, the first included: 3, and 1 where a policy stands in for an answer.
    attempts: int | None = None
    #: Seconds of the longest pause before the second attempt. Each next one may be twice as long.
    pause: float = PAUSE
    #: Seconds of the longest pause of all. What the sidecar asks for comes on top.
    pause_most: float = PAUSE_MOST
    #: Retries after answers that may have been saved up, for all calls of a client together. Ten successes save up one
    #: more. Connections that break have their own.
    budget: int = RETRY_BUDGET

    def __post_init__(self) -> None:
        if self.attempts is not None:
            counted("attempts of Retry", self.attempts, 1)
        seconds("pause of Retry", self.pause)
        seconds("pause_most of Retry", self.pause_most)
        counted("budget of Retry", self.budget, 0)

    def attempts_for(self, standing: bool) -> int:
        return self.attempts or (1 if standing else ATTEMPTS)


class Budget:
    """A bucket of retries that all calls of a client share: when most calls fail, few are tried again."""

    def __init__(self, retries: int) -> None:
        # Counted in successes: tenths of a retry are not what ten of them sum up to.
        self._most = retries * SUCCESSES_FOR_A_RETRY
        self._left = self._most
        self._lock = threading.RLock()

    def take(self) -> bool:
        with self._lock:
            if self._left < SUCCESSES_FOR_A_RETRY:
                return False
            self._left -= SUCCESSES_FOR_A_RETRY
            return True

    def succeeded(self) -> None:
        # Mostly it is full: then nobody waits for the lock.
        if self._left < self._most:
            with self._lock:
                self._left = min(self._most, self._left + 1)


class Reachability:
    """Since when nobody answers at the socket, and how long calls still wait for that to change.

    Afterwards a call asks once, which costs next to nothing on a Unix socket, and fails at once: so it is noticed when
    the sidecar is back."""

    def __init__(self, start: float, restart: float) -> None:
        self._start = start
        self._restart = restart
        self._since: float | None = None
        self._ever_reached = False

    def reached(self) -> None:
        self._since = None
        self._ever_reached = True

    def missed(self, now: float) -> float:
        """Seconds that a call may still wait; 0 or less: none."""
        since = self._since
        if since is None:
            since = self._since = now
        return since + (self._restart if self._ever_reached else self._start) - now


class Patience:
    """What all requests of a client share about trying again. Answers and broken connections have a budget each: who was
    told `overloaded` a hundred times must not notice a restart."""

    def __init__(self, runtime: Runtime, retry: Retry, connections: int, start: float, restart: float) -> None:
        self.runtime = runtime
        self.retry = retry
        self.answers = Budget(retry.budget)
        self.breaks = Budget(max(CONNECTION_RETRY_BUDGET, 2 * connections))
        self.reachability = Reachability(start, restart)


def may_help(error: LunaSecError) -> bool:
    """Whether another attempt may do better. Not where a rate is used up and nobody says until when, as of an item of a
    batch: a call's pauses are shorter than rates are, and more attempts would only use up more."""
    return error.retryable and not (isinstance(error, RateLimited) and error.retry_after is None)


class Retries:
    """Decides, for one request, whether and when it is tried again."""

    def __init__(self, patience: Patience, attempts: int, repeatable: bool) -> None:
        self._patience = patience
        self._attempts = attempts
        self._repeatable = repeatable
        self._answers = 0
        self._breaks = 0
        self._misses = 0

    def succeeded(self) -> None:
        self._patience.reachability.reached()
        self._patience.answers.succeeded()
        self._patience.breaks.succeeded()

    def after(self, error: LunaSecError) -> float | None:
        """Seconds until the next attempt, or None if there is none."""
        if isinstance(error, SidecarUnreachable):
            return self._broken() if error.sent and error.retryable else self._missed(error)
        return self._answered(error)

    def _missed(self, error: LunaSecError) -> float | None:
        self._misses += 1
        left = self._patience.reachability.missed(self._patience.runtime.now())
        if not error.retryable or left <= 0:
            return None
        return min(left, max(0.001, self._jitter(min(self._misses, 3))))

    def _broken(self) -> float | None:
        self._breaks += 1
        allowed = max(self._attempts, CONNECTION_ATTEMPTS)
        if not self._repeatable or self._breaks >= allowed or not self._patience.breaks.take():
            return None
        return self._jitter(self._breaks)

    def _answered(self, error: LunaSecError) -> float | None:
        self._patience.reachability.reached()
        self._answers += 1
        undone = isinstance(error, (RateLimited, Overloaded))
        if not may_help(error) or not (self._repeatable or undone):
            return None
        if self._answers >= self._attempts or not self._patience.answers.take():
            return None
        return (error.retry_after or 0.0) + self._jitter(self._answers)

    def _jitter(self, attempt: int) -> float:
        """Full jitter: anything from nothing to twice the last one's most."""
        retry = self._patience.retry
        most: float = min(retry.pause_most, retry.pause * 2.0 ** (attempt - 1))
        return self._patience.runtime.random() * most
