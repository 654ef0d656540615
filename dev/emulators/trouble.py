"""What a person is told when something cannot be done."""

from __future__ import annotations

import contextlib
import sys


class Trouble(Exception):
    """Says what happened and what to do about it."""


@contextlib.contextmanager
def told(command: str):
    """Turns trouble into a line on standard error and the exit code 1."""
    try:
        yield
    except Trouble as trouble:
        sys.exit(f"{command}: {trouble}")
    except KeyboardInterrupt:
        sys.exit(130)
