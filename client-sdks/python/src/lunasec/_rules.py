"""What happens to a field on its way in and out: the same in models, web frameworks and gRPC.

| rule | on its way in | on its way out |
| --- | --- | --- |
| `tokenize` | the value becomes a token; a token is refused, unless `verify` is there, too | |
| `verify` | refused unless the session was granted the token | |
| `grant` | with `tokenize`: the session is granted the token that was just made | the session is granted the token |
| `detokenize` | | the token's value takes its place |

All fields that need the same are one request of the sidecar. It does no I/O: it yields the calls that are to be made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, NamedTuple, TypeVar

from ._limits import BATCH_BYTES, BATCH_ITEMS
from ._operations import Item
from ._options import duration
from ._redacted import Plaintext, Token
from ._words import non_value, of_field, refusal_of, told
from .errors import InvalidRequest, LunaSecError
from .results import Failed, Fallback, Masked, Value

#: Who carries rules out. `server`: all of them. `behind`: a server whose clients tokenize and detokenize. `client`: one of
#: those.
Role = Literal["server", "behind", "client"]
T = TypeVar("T")
# A value's share of a request beside its own bytes, which base64 makes a third more.
_ITEM_BYTES: Final = 256


@dataclass(frozen=True)
class Rule:
    """What is done with a field."""

    tokenize: bool = False
    verify: bool = False
    detokenize: bool = False
    grant: str | timedelta | None = None
    #: Of what is tokenized.
    expires_in: str | timedelta | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not all(isinstance(each, bool) for each in (self.tokenize, self.verify, self.detokenize)):
            raise InvalidRequest("tokenize, verify and detokenize of a rule are True or False")
        for what, time in (("grant", self.grant), ("expires_in", self.expires_in)):
            if time is not None:
                duration(what, time)
        if not self.tokenize and (self.expires_in is not None or self.metadata is not None):
            raise InvalidRequest("expires_in and metadata of a rule go with tokenize")

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        """Of an annotated field of a model."""
        from .pydantic import schema_of

        if source is not Token:
            raise TypeError("a Rule is for fields of type Token: Annotated[Token, Rule(...)]")
        return schema_of(self)

    def __hash__(self) -> int:
        return hash((self.tokenize, self.verify, self.detokenize, self.grant, self.expires_in))

    def comes_in(self) -> bool:
        return self.tokenize or self.verify

    def goes_out(self) -> bool:
        return self.detokenize or self.grant is not None


class Slot:
    """One field that holds something, and how to put something else in its place: a Token, or what is to be shown."""

    __slots__ = ("content", "rule", "set", "where")

    def __init__(
        self, where: str, rule: Rule, content: str | bytes | Plaintext | Token, set: Callable[[Any], None]
    ) -> None:
        self.where = where
        self.rule = rule
        self.content = content
        self.set = set

    @property
    def token(self) -> Token:
        if isinstance(self.content, Token):
            return self.content
        return Token(self._text())

    def plain(self) -> str | bytes:
        if isinstance(self.content, Plaintext):
            return self.content.reveal() if self.content.is_text else self.content.reveal_bytes()
        assert not isinstance(self.content, Token)
        return self.content

    def _text(self) -> str:
        plain = self.plain()
        return plain if isinstance(plain, str) else plain.decode("utf-8", "replace")


class Ask(NamedTuple):
    """A call of the client: of the session, where one is needed."""

    needs_session: bool
    call: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


Asks = Generator[Ask, Any, None]


def incoming(slots: Sequence[Slot], role: Role = "server") -> Asks:
    """What comes from outside, as who keeps it gets it."""
    values: list[Slot] = []
    tokens: list[Slot] = []
    for slot in slots:
        if slot.rule.tokenize and not _is_token(slot, role):
            values.append(slot)
        elif slot.rule.verify and role != "client":
            tokens.append(slot)
        elif slot.rule.tokenize:
            slot.set(slot.token)
    # First of all: nothing is made for a request that is refused.
    yield from _verify(tokens)
    yield from _tokenize(values)


def outgoing(slots: Sequence[Slot], role: Role = "server", policy: Any = None) -> Asks:
    """What goes outside, as who asked gets it."""
    if role != "client":
        yield from _grant([(slot, slot.token) for slot in slots])
    if role != "behind":
        yield from _detokenize([slot for slot in slots if slot.rule.detokenize], policy)


def _is_token(slot: Slot, role: Role) -> bool:
    """Whether it is a token already; refused where nobody would look at whose it is."""
    if isinstance(slot.content, Token):
        # The application's own code gave it: no text from outside can be one.
        return True
    wrong = non_value(slot.plain())
    if role == "behind":
        if wrong is not None and wrong[0]:
            return True
        raise of_field(told(InvalidRequest("clients tokenize this field; it holds something else")), slot.where)
    if wrong is None or (wrong[0] and slot.rule.verify):
        return wrong is not None
    mend = ", and would be anybody's who found one; let the field say verify, too" if wrong[0] else ""
    raise of_field(told(InvalidRequest(wrong[1] + mend)), slot.where)


def _verify(slots: Sequence[Slot]) -> Asks:
    for chunk in _chunks(_by_token(slots)):
        answers = yield Ask(True, "verify", ([token for token, _ in chunk],), {})
        for (token, same), answer in zip(chunk, answers):
            refusal = refusal_of(answer)
            if refusal is not None:
                raise of_field(refusal, same[0].where)
            for slot in same:
                slot.set(token)


def _tokenize(slots: Sequence[Slot]) -> Asks:
    made: list[tuple[Slot, Token]] = []
    for chunk in _chunks(slots, _weight):
        items = [Item(slot.plain(), expires_in=slot.rule.expires_in, metadata=slot.rule.metadata) for slot in chunk]
        answers = yield Ask(False, "tokenize_batch", (items,), {})
        for slot, answer in zip(chunk, answers):
            if isinstance(answer, Failed):
                raise of_field(answer.error, slot.where)
            made.append((slot, answer.token))
    yield from _grant(made)
    # All or nothing.
    for slot, token in made:
        slot.set(token)


def _grant(tokens: Sequence[tuple[Slot, Token]]) -> Asks:
    times: dict[str | timedelta, dict[Token, Slot]] = {}
    for slot, token in tokens:
        if slot.rule.grant is not None:
            times.setdefault(slot.rule.grant, {}).setdefault(token, slot)
    for time, granted in times.items():
        for chunk in _chunks(list(granted.items())):
            answers = yield Ask(True, "grant", ([token for token, _ in chunk],), {"expires_in": time})
            for (_, slot), answer in zip(chunk, answers):
                if isinstance(answer, Failed):
                    raise of_field(answer.error, slot.where)


def _detokenize(slots: Sequence[Slot], policy: Any) -> Asks:
    options = {} if policy is None else {"on_unavailable": policy}
    for chunk in _chunks(_by_token(slots)):
        answers = yield Ask(False, "detokenize_batch", ([token for token, _ in chunk],), options)
        for (_, same), answer in zip(chunk, answers):
            for slot in same:
                slot.set(_shown(answer, slot.where))


def _shown(answer: Value | Masked | Fallback[Any] | Failed, where: str) -> Any:
    if isinstance(answer, Failed):
        raise of_field(answer.error, where)
    return answer


def _by_token(slots: Iterable[Slot]) -> list[tuple[Token, list[Slot]]]:
    """A token that is in several places is asked for once."""
    found: dict[Token, list[Slot]] = {}
    for slot in slots:
        found.setdefault(slot.token, []).append(slot)
    return list(found.items())


def _weight(slot: Slot) -> int:
    return _ITEM_BYTES + len(slot.plain()) * 4


def _chunks(items: Sequence[T], weight: Callable[[T], int] = lambda _: 0) -> list[list[T]]:
    """Requests that are small enough, each."""
    chunks: list[list[T]] = []
    held = 0
    for item in items:
        more = weight(item)
        if not chunks or len(chunks[-1]) >= BATCH_ITEMS or held + more > BATCH_BYTES:
            chunks.append([])
            held = 0
        chunks[-1].append(item)
        held += more
    return chunks


def carry_out(asks: Asks, target: Callable[[bool], Any], options: Callable[[Ask], dict[str, Any]]) -> None:
    """Makes the calls, in this thread."""
    said: Any = None
    while True:
        try:
            ask = asks.send(said)
        except StopIteration:
            return
        said = getattr(target(ask.needs_session), ask.call)(*ask.arguments, **{**ask.options, **options(ask)})


async def carry_out_async(asks: Asks, target: Callable[[bool], Any], options: Callable[[Ask], dict[str, Any]]) -> None:
    """Makes the calls, and awaits them. What a call raises is raised where it was asked for, and so names no field."""
    said: Any = None
    while True:
        try:
            ask = asks.send(said)
        except StopIteration:
            return
        client = await target(ask.needs_session)
        said = await getattr(client, ask.call)(*ask.arguments, **{**ask.options, **options(ask)})


__all__ = ["Ask", "LunaSecError", "Role", "Rule", "Slot", "carry_out", "carry_out_async", "incoming", "outgoing"]
