"""How an answer is read: to the letter of the contract, and past what it has beyond."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NamedTuple, NoReturn, cast

from ._transport import Answer
from .errors import LunaSecError, ProtocolError, error_of
from .results import Durability

Wire = Mapping[str, Any]

_SAFE: Final = 2**53 - 1
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_AGE: Final = re.compile(r"\d{1,15}", re.ASCII)


class Staleness(NamedTuple):
    degraded: str | None = None
    age: int | None = None


class Said(NamedTuple):
    """What an answer says: its body, and what its head says of its age."""

    body: Wire
    staleness: Staleness


class Misread(Exception):
    """It is not what the contract says. Its words quote nothing of what came."""


def misread(what: str, request_id: str | None = None) -> ProtocolError:
    return ProtocolError(
        f"the answer was not understood: {what}; is something else listening, or are client and sidecar of different "
        "versions?",
        request_id=request_id,
    )


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _parsed(body: bytes) -> Wire:
    value: object
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        value = _NOT_JSON
    if value is _NOT_JSON:
        # Not raised where the parser's own error is at hand: that one quotes the body.
        raise Misread("its body is not JSON")
    return object_(value, "its body")


_NOT_JSON: Final = object()


def object_(value: object, what: str) -> Wire:
    if not isinstance(value, dict):
        raise Misread(f"{what} is no object")
    return value


def list_(wire: Wire, name: str) -> list[Any]:
    value = wire.get(name)
    if not isinstance(value, list):
        raise Misread(f"{name} is no list")
    return value


def text(wire: Wire, name: str) -> str:
    value = wire.get(name)
    if not isinstance(value, str):
        raise Misread(f"{name} is no text")
    return value


def count(wire: Wire, name: str) -> int:
    value = wire.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _SAFE:
        raise Misread(f"{name} is no count")
    return value


def flag(wire: Wire, name: str) -> bool:
    value = wire.get(name)
    if not isinstance(value, bool):
        raise Misread(f"{name} is neither true nor false")
    return value


def time(wire: Wire, name: str) -> datetime:
    found = _TIME.fullmatch(text(wire, name))
    at = None if found is None else _datetime(found)
    if at is None:
        raise Misread(f"{name} is no time")
    return at


def _datetime(found: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = (int(found[index]) for index in range(1, 7))
    micros = int((found[7] or "").ljust(6, "0")[:6])
    away = timedelta(hours=int(found[9]), minutes=int(found[10])) if found[8] else timedelta()
    try:
        at = datetime(year, month, day, hour, minute, second, micros, timezone.utc)
        return at + away if found[8] == "-" else at - away
    except (ValueError, OverflowError):
        return None


def durability(wire: Wire) -> Durability:
    value = wire.get("durability")
    if value not in ("stored", "journaled"):
        raise Misread("durability is neither stored nor journaled")
    return cast(Durability, value)


def staleness(wire: Wire) -> Staleness:
    """What is beside an item's answer, as `degraded` and `age`."""
    if wire.get("degraded") is None:
        return Staleness()
    return Staleness(text(wire, "degraded"), None if wire.get("age") is None else count(wire, "age"))


def item_error(value: object) -> LunaSecError:
    """The error of one item."""
    wire = object_(value, "an error")
    return error_of(text(wire, "code"), text(wire, "detail"), retryable=flag(wire, "retryable"))


def counted(items: list[Any], asked: int) -> None:
    if len(items) != asked:
        raise Misread("it has another number of items than the request")


def about(wire: Wire, token: str) -> None:
    """What an item is about: never somebody else's value for a token."""
    if wire.get("token") != token:
        raise Misread("an item is about another token than the request")


def read(answer: Answer) -> Said | LunaSecError:
    """The body of a success, or what else it is."""
    request_id = answer.header("lunasec-request-id")
    kind = (answer.header("content-type") or "").split(";")[0].strip().lower()
    if answer.status >= 400:
        return _problem(answer, kind, request_id)
    if answer.status != 200 or kind != "application/json":
        raise Misread("it is not JSON")
    return Said(_parsed(answer.body), _head_staleness(answer))


def _head_staleness(answer: Answer) -> Staleness:
    degraded = answer.header("lunasec-degraded")
    if degraded is None:
        return Staleness()
    age = answer.header("age")
    return Staleness(degraded, int(age) if age is not None and _AGE.fullmatch(age) else None)


def _problem(answer: Answer, kind: str, request_id: str | None) -> LunaSecError:
    if kind != "application/problem+json":
        raise Misread(f"its status is {answer.status} without a problem")
    wire = _parsed(answer.body)
    after = wire.get("retry_after_ms")
    if isinstance(after, bool) or not isinstance(after, (int, float)) or not 0 <= after <= _SAFE:
        after = None
    return error_of(
        text(wire, "code"),
        text(wire, "detail"),
        retryable=flag(wire, "retryable"),
        status=answer.status,
        retry_after=None if after is None else after / 1000,
        request_id=request_id,
    )
