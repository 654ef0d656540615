"""Errors without frames of this package that hold what must not be printed: error trackers keep the locals of frames.

What is secret is given to `caught` or put into a `Held`, and the name that had it deleted, before anything can go wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, Union

from .errors import LunaSecError

T = TypeVar("T")


class Wrong:
    """What was raised instead of a result. Its repr says nothing."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


Made = Union[T, Wrong]


def caught(make: Callable[..., T], *arguments: Any, kinds: Any = LunaSecError) -> T | Wrong:
    """What a function gives, or what it raised, without the frames."""
    try:
        return make(*arguments)
    except kinds as error:
        return Wrong(error.with_traceback(None))


def right(made: T | Wrong) -> T:
    """Raises what was wrong, with this frame first."""
    if isinstance(made, Wrong):
        raise made.error.with_traceback(None)
    return made


class Held(Generic[T]):
    """Something that a frame hands on and keeps no name of. It is taken once, and may be seen before."""

    __slots__ = ("_inside",)

    def __init__(self, inside: T) -> None:
        self._inside = [inside]

    def take(self) -> T:
        return self._inside.pop()

    def seen(self) -> T:
        return self._inside[0]
