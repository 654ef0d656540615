"""Options are checked where they are said: a mistake in one must not wait for an outage to be found."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from ._limits import LONGEST
from .errors import InvalidRequest

# What can be printed of a name that somebody made up.
_NAME: Final = re.compile(r"[A-Za-z_]{1,32}")


def only_known(what: str, options: Mapping[str, object], names: frozenset[str]) -> None:
    """Refuses options that there are not, where no type checker looked: left out in silence, what was to be kept for an
    hour would be kept for ever."""
    for name in options:
        if name not in names:
            shown = name if _NAME.fullmatch(name) else "of such a name"
            raise TypeError(f"{what} has no option {shown}: {_mend(name, names)}")


def _mend(name: str, names: Iterable[str]) -> str:
    meant = next((each for each in names if _plain(each) == _plain(name)), None)
    return "leave it out, or look up how it is spelled" if meant is None else f"write {meant}"


def _plain(name: str) -> str:
    return name.replace("_", "").lower().removesuffix("ms").removesuffix("seconds")


def seconds(what: str, value: object) -> float:
    """A time that an application gives, as a number of seconds or a timedelta."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or math.isnan(value) or not 0 <= value <= LONGEST:  # type: ignore[arg-type, operator]
        raise InvalidRequest(
            f"{what} is no time that can be waited for: it is a number of seconds from 0 to {LONGEST:.0f}, which is "
            "more than 24 days, or a timedelta"
        )
    return float(value)  # type: ignore[arg-type]


def counted(what: str, value: object, least: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidRequest(f"{what} is no count: it is a whole number from {least} on")
    return value


def no_list(what: str, items: object) -> TypeError | None:
    """What is wrong where a list is none: of a text, each character would be taken for an item."""
    if isinstance(items, (str, bytes, bytearray, memoryview, Mapping)) or not isinstance(items, Iterable):
        return TypeError(f"{what} takes a list: write [ ] around what is one")
    return None


def text_list(what: str, items: object) -> list[str]:
    if isinstance(items, str) or not isinstance(items, Sequence) or not all(isinstance(each, str) for each in items):
        raise TypeError(f"{what} is a list of texts")
    return list(items)


def duration(what: str, value: object) -> str:
    """`15m` or `720h` as the sidecar reads it; a timedelta in the same words."""
    if isinstance(value, timedelta):
        millis = value // timedelta(milliseconds=1)
        if millis <= 0:
            raise InvalidRequest(f"{what} is over before it begins: give one that is longer than nothing")
        return f"{millis}ms" if millis % 1000 else f"{millis // 1000}s"
    if not isinstance(value, str):
        raise InvalidRequest(f"{what} is no duration: it is text such as '15m' or '720h', or a timedelta")
    return value
