"""Time and randomness: the only ambient access of the core, so that tests bring their own."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass


def _key() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Runtime:
    #: Seconds, of a clock that never goes back.
    now: Callable[[], float] = time.monotonic
    #: From 0 to 1.
    random: Callable[[], float] = random.random
    #: A new idempotency key.
    key: Callable[[], str] = _key


SYSTEM = Runtime()
