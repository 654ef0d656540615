"""dev/down."""

from __future__ import annotations

from . import compose
from .state import State
from .trouble import Trouble


def down(state: State) -> None:
    if state.read(state.engine) == "docker":
        compose.down()
    elif not stop(state):
        print("Nothing to stop.")
        return
    state.forget()
    print("Stopped. What was stored is gone.")


def stop(state: State) -> bool:
    """Whether there was anything to stop."""
    descriptor = state.take()
    if descriptor is not None:
        state.forget()
        return False
    if not state.stop_process():
        raise Trouble(
            f"process {state.read(state.pid)} does not end, or dev/up is at work just now; try again"
        )
    return True
