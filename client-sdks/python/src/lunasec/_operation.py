"""Operations in general: how items become a request, and an answer becomes their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Union

from ._transport import Answer
from ._wire import Misread, Said, about, counted, item_error, list_, misread, object_, read
from .errors import LunaSecError, PayloadTooLarge

T = TypeVar("T")

#: The operations, as the contract names them. They name spans, too.
OperationName = Literal[
    "tokenize",
    "detokenize",
    "metadata/get",
    "metadata/set",
    "grants/create",
    "grants/verify",
    "grants/revoke",
    "delete",
    "status",
]


class Unit:
    """One item of a list as it goes into the body, and the token that its answer has to be about."""

    __slots__ = ("json", "token")

    def __init__(self, json: bytes, token: str | None = None) -> None:
        self.json = json
        self.token = token


class Got(Generic[T]):
    """What one item came to, where it did not come to an error."""

    __slots__ = ("value",)

    def __init__(self, value: T) -> None:
        self.value = value


Outcome = Union[Got[T], LunaSecError]


@dataclass(frozen=True, eq=False)
class Operation(Generic[T]):
    """An operation on a list of items, or on one."""

    name: OperationName
    #: One item's answer. A token is given back to it as it was sent.
    read: Callable[[Said, Unit], T]
    #: The route of a list, the body's bytes before and after its items, and its bound.
    path: str | None = None
    before: bytes = b""
    after: bytes = b"]}"
    most_bytes: int = 0
    #: The route of an item that is alone, if there is one, and the body's bytes around it.
    alone_path: str | None = None
    alone_before: bytes = b""
    alone_after: bytes = b""
    #: Keyed by the client, and so sent again as a whole: an item is known by its place. Otherwise only what failed is.
    keyed: bool = False
    #: Whether another time changes nothing. Otherwise it is tried again only where it certainly had no effect.
    repeatable: bool = True

    @property
    def overhead(self) -> int:
        return len(self.before) + len(self.after)


@dataclass(frozen=True)
class Route(Generic[T]):
    """One request of an operation, and how its answer is read."""

    operation: Operation[T]
    path: str
    body: bytes
    units: Sequence[Unit]
    alone: bool

    def read(self, answer: Answer) -> list[Outcome[T]] | LunaSecError:
        """What each item came to, or what is wrong with the whole."""
        wrong: str
        try:
            said = read(answer)
            return said if isinstance(said, LunaSecError) else self._outcomes(said)
        except Misread as misreading:
            wrong = str(misreading)
        return misread(wrong, answer.header("lunasec-request-id"))

    def _outcomes(self, said: Said) -> list[Outcome[T]]:
        if self.alone:
            return [Got(self.operation.read(said, self.units[0]))]
        items = list_(said.body, "items")
        counted(items, len(self.units))
        return [self._outcome(unit, item, said) for unit, item in zip(self.units, items)]

    def _outcome(self, unit: Unit, item: Any, said: Said) -> Outcome[T]:
        wire = object_(item, "an item")
        if unit.token is not None:
            about(wire, unit.token)
        if wire.get("error") is not None:
            return item_error(wire["error"])
        return Got(self.operation.read(Said(wire, said.staleness), unit))


def route_of(operation: Operation[T], units: Sequence[Unit], alone: bool) -> Route[T]:
    if operation.path is None or (alone and operation.alone_path is not None):
        body = operation.alone_before + units[0].json + operation.alone_after
        return Route(operation, operation.alone_path or "", body, units, True)
    body = operation.before + b",".join(unit.json for unit in units) + operation.after
    return Route(operation, operation.path, body, units, False)


def found_no_room(operation: Operation[Any], outcome: Outcome[Any]) -> bool:
    """Whether an item only found no room in the answer: alone it would."""
    return operation.name == "detokenize" and isinstance(outcome, PayloadTooLarge)
