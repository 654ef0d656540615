"""Pydantic v2: fields that hold tokens.

```python
from typing import Annotated

from lunasec import Token
from lunasec.pydantic import Model, Rule, validate


class Customer(Model):
    name: Annotated[Token, Rule(tokenize=True, detokenize=True)]
    card: Annotated[Token, Rule(tokenize=True, verify=True, grant="15m")]
    referrer: Token | None = None


customer = validate(Customer, {"name": "Alice", "card": "4111"}, lunasec)
customer.name.expose()  # what the database keeps
reveal(customer, lunasec)  # {"name": "Alice", "card": "lunasec-..."}
```

A field of type `Token` alone takes a token and nothing else. What a model holds prints redacted, also in JSON;
`model_dump_json(context=EXPOSE)` says tokens."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from ._declared import annotated, clean, refuse_misplaced, rules_within, words_in
from ._hiding import Held, Wrong, right
from ._redacted import Token
from ._rules import Ask, Asks, Rule, Slot, carry_out, carry_out_async, incoming, outgoing
from ._words import TOKEN_PATTERN, is_token
from .aio import AsyncLunaSec, AsyncLunaSecSession
from .client import LunaSec, LunaSecSession
from .errors import Unauthenticated
from .results import Fallback, Masked, Value, text_of

__all__ = ["EXPOSE", "Model", "Rule", "areveal", "avalidate", "reveal", "validate"]

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", bound="Collected | None")

#: Given as `context` of `model_dump` and `model_dump_json`: tokens are said as text, for a database or a request.
EXPOSE: Final = {"lunasec": "expose"}


class Model(BaseModel):
    """A model whose errors do not quote what was put in: a value that is in the wrong field would be in the log."""

    model_config = ConfigDict(hide_input_in_errors=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.__pydantic_complete__:
            refuse_misplaced(cls.__pydantic_core_schema__)

    def __setattr__(self, name: str, value: Any) -> None:
        """A field of tokens takes tokens also later: whatever else would be printed."""
        adapter = _token_fields(type(self)).get(name)
        if adapter is not None:
            held = Held(value)
            del value
            with using(_IN, None):
                value = right(validated(adapter, held))
        super().__setattr__(name, value)


_TOKEN_FIELDS: Final[weakref.WeakKeyDictionary[type[BaseModel], dict[str, TypeAdapter[Any]]]] = (
    weakref.WeakKeyDictionary()
)


def _token_fields(kind: type[BaseModel]) -> dict[str, TypeAdapter[Any]]:
    found = _TOKEN_FIELDS.get(kind)
    if found is None:
        found = {}
        for name, field in kind.model_fields.items():
            adapter: TypeAdapter[Any] = TypeAdapter(annotated(field))
            if rules_in(adapter):
                found[name] = adapter
        _TOKEN_FIELDS[kind] = found
    return found


class Collected:
    """The fields of one document that rules apply to, on their way in or out."""

    def __init__(self, shares: bool = False, texts: bool = False) -> None:
        self.slots: list[Slot] = []
        #: What is shown instead of a token.
        self.shown: dict[tuple[Rule, Token], Any] = {}
        #: Of a document that is validated several times: what is one text in it becomes one token.
        self._shares = shares
        #: Values are text: bytes are a body of another kind than the endpoint was made for, and no page could show them.
        self.texts = texts
        self._tokens: list[weakref.ref[Token]] = []

    def comes_in(self, slot: Slot, token: Token) -> None:
        self.slots.append(slot)
        self._tokens.append(weakref.ref(token))

    def incoming(self) -> Asks:
        """Of what somebody still holds: a branch of a union that was tried and not chosen is nobody's."""
        held = [slot for slot, token in zip(self.slots, self._tokens) if token() is not None]
        return incoming(_shared(held) if self._shares else held)

    def outgoing(self, policy: Any) -> Asks:
        return outgoing(self.slots, policy=policy)


def _shared(slots: list[Slot]) -> list[Slot]:
    found: dict[tuple[int, int], list[Slot]] = {}
    for slot in slots:
        # A text of one character is the same object wherever it is.
        same = id(slot) if len(slot.plain()) < 2 else id(slot.content)
        found.setdefault((same, id(slot.rule)), []).append(slot)
    return [same[0] if len(same) == 1 else _one_of(same) for same in found.values()]


def _one_of(same: list[Slot]) -> Slot:
    def settle(token: Token) -> None:
        for each in same:
            each.set(token)

    return Slot(same[0].where, same[0].rule, same[0].content, settle)


_IN: Final[ContextVar[Collected | None]] = ContextVar("lunasec_in", default=None)
_OUT: Final[ContextVar[Collected | None]] = ContextVar("lunasec_out", default=None)
_SHOW: Final[ContextVar[Collected | None]] = ContextVar("lunasec_show", default=None)


@contextmanager
def using(variable: ContextVar[Collected | None], collected: C) -> Iterator[C]:
    token = variable.set(collected)
    try:
        yield collected
    finally:
        variable.reset(token)


def _unsettled() -> tuple[Token, Callable[[Token], None]]:
    """A token that is one once its value was tokenized."""
    token = Token.__new__(Token)
    held: list[Token] = []

    def ask() -> str:
        if not held:
            raise RuntimeError("this value was not tokenized: validate the model with lunasec.pydantic.validate()")
        return held[0].expose()

    object.__setattr__(token, "_ask", ask)
    return token, held.append


def _refused() -> PydanticCustomError:
    return PydanticCustomError("lunasec_token", "this is no token")


def _plain_token(value: object) -> Token:
    if isinstance(value, Token):
        return value
    if isinstance(value, str) and is_token(value):
        return Token(value)
    raise _refused()


def _ruled(rule: Rule) -> Callable[[object, Any], Token]:
    def validated(value: object, info: Any) -> Token:
        if isinstance(value, Token):
            return value
        if not isinstance(value, (str, bytes)):
            raise PydanticCustomError("lunasec_value", "a value is text")
        collected = _IN.get()
        if collected is not None and collected.texts and isinstance(value, bytes):
            raise PydanticCustomError("lunasec_value", "a value is text: send it as JSON, or in a form")
        if not rule.tokenize:
            plain = _plain_token(value)
            if not rule.verify:
                return plain
        if collected is None:
            raise PydanticCustomError(
                "lunasec_validate", "this field is tokenized or verified: validate it with lunasec.pydantic.validate()"
            )
        token, settle = _unsettled()
        collected.comes_in(Slot(getattr(info, "field_name", None) or "", rule, value, settle), token)
        return token

    return validated


def _serialized(rule: Rule | None) -> Callable[[Token, Any], Any]:
    def serialized(token: Token, info: Any) -> Any:
        exposes = isinstance(info.context, Mapping) and info.context.get("lunasec") == "expose"
        if not info.mode_is_json():
            return token.expose() if exposes else token
        if rule is not None and rule.goes_out():
            if (collecting := _OUT.get()) is not None:
                collecting.slots.append(_slot_out(collecting, rule, token))
                return None
            if (showing := _SHOW.get()) is not None and (rule, token) in showing.shown:
                return showing.shown[rule, token]
        return token.expose() if exposes or _SHOW.get() is not None else str(token)

    return serialized


def _slot_out(collected: Collected, rule: Rule, token: Token) -> Slot:
    def show(answer: object) -> None:
        collected.shown[rule, token] = _text_of(answer)

    return Slot("", rule, token, show)


def _text_of(answer: object) -> Any:
    if isinstance(answer, Value):
        return text_of(answer)
    if isinstance(answer, Masked):
        return answer.text
    assert isinstance(answer, Fallback)
    return answer.value


def schema_of(rule: Rule | None) -> core_schema.CoreSchema:
    """Of a field that holds a token."""
    metadata = {"pydantic_js_functions": [lambda *_: _json_schema(rule)], "lunasec": rule or Rule()}
    serialization = core_schema.plain_serializer_function_ser_schema(_serialized(rule), info_arg=True)
    if rule is None:
        return core_schema.no_info_plain_validator_function(
            _plain_token, serialization=serialization, metadata=cast(Any, metadata)
        )
    return core_schema.with_info_plain_validator_function(
        _ruled(rule), serialization=serialization, metadata=cast(Any, metadata)
    )


def rules_in(adapter: TypeAdapter[Any]) -> list[Rule]:
    """Of all fields of type `Token` that there are in a type; one without a rule has an empty one."""
    return rules_within(adapter.core_schema)


def _json_schema(rule: Rule | None) -> dict[str, Any]:
    if rule is not None and (rule.tokenize or rule.detokenize):
        return {"type": "string", "description": "A value; tokens are kept in its place."}
    return {"type": "string", "format": "lunasec-token", "pattern": TOKEN_PATTERN}


def _clean(error: ValidationError, words: set[str]) -> ValidationError:
    """The same mistakes, without what was put in."""
    lines: list[InitErrorDetails] = []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        said = clean(cast(Any, each), words)
        kind = PydanticCustomError(said["type"], said["msg"].replace("{", "{{").replace("}", "}}"))
        lines.append({"type": kind, "loc": said["loc"], "input": None})
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)


def validated(adapter: TypeAdapter[Any], held: Held[Any], **options: Any) -> Any:
    """Validates; what is wrong quotes nothing, and no frame here has it."""
    wrong: ValidationError
    try:
        return adapter.validate_python(held.take(), **options)
    except ValidationError as error:
        wrong = error
    return Wrong(_clean(wrong, words_in(adapter.core_schema)))


_LOOKED_AT: Final[weakref.WeakSet[type[BaseModel]]] = weakref.WeakSet()


def collect(kind: Any, held: Held[Any]) -> tuple[Any, Collected]:
    """Validates, and notes what is to be tokenized and verified."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel) and kind in _LOOKED_AT):
        refuse_misplaced(adapter.core_schema)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            _LOOKED_AT.add(kind)
    with using(_IN, Collected()) as collected:
        return right(validated(adapter, held)), collected


def _no_options(_: Ask) -> dict[str, Any]:
    return {}


def validate(kind: type[M], data: object, lunasec: LunaSec[Any] | LunaSecSession[Any]) -> M:
    """A model of data from outside. What its rules say is tokenized and verified in one request each; where one field
    fails, there is no model. Rules `verify` and `grant` are for a session: give `lunasec.for_session(id)`."""
    held = Held(data)
    del data
    model, collected = collect(kind, held)

    def target(needs_session: bool) -> Any:
        return _session(lunasec, LunaSecSession) if needs_session else lunasec

    carry_out(collected.incoming(), target, _no_options)
    return cast(M, model)


async def avalidate(kind: type[M], data: object, lunasec: AsyncLunaSec[Any] | AsyncLunaSecSession[Any]) -> M:
    """As `validate`, awaited."""
    held = Held(data)
    del data
    model, collected = collect(kind, held)

    async def target(needs_session: bool) -> Any:
        return _session(lunasec, AsyncLunaSecSession) if needs_session else lunasec

    await carry_out_async(collected.incoming(), cast(Any, target), _no_options)
    return cast(M, model)


def _session(lunasec: object, kind: type) -> object:
    if not isinstance(lunasec, kind):
        raise Unauthenticated("rules of verify and grant are a session's: give lunasec.for_session(id)")
    return lunasec


def reveal(
    model: BaseModel, lunasec: LunaSec[Any] | LunaSecSession[Any], *, on_unavailable: Any = None
) -> dict[str, Any]:
    """The model as JSON goes out: granted and revealed as its rules say, in one request each; other tokens as text."""
    collected = collected_out(_dumped(model))

    def target(needs_session: bool) -> Any:
        return _session(lunasec, LunaSecSession) if needs_session else lunasec

    carry_out(collected.outgoing(on_unavailable), target, _no_options)
    return cast(dict[str, Any], shown(model, collected))


async def areveal(
    model: BaseModel, lunasec: AsyncLunaSec[Any] | AsyncLunaSecSession[Any], *, on_unavailable: Any = None
) -> dict[str, Any]:
    """As `reveal`, awaited."""
    collected = collected_out(_dumped(model))

    async def target(needs_session: bool) -> Any:
        return _session(lunasec, AsyncLunaSecSession) if needs_session else lunasec

    await carry_out_async(collected.outgoing(on_unavailable), cast(Any, target), _no_options)
    return cast(dict[str, Any], shown(model, collected))


def collected_out(dump: Callable[[], object]) -> Collected:
    """What is to be granted and revealed of what is dumped."""
    with using(_OUT, Collected()) as collected:
        dump()
    return collected


def _dumped(model: BaseModel) -> Callable[[], object]:
    return lambda: TypeAdapter(type(model)).dump_python(model, mode="json", warnings=False)


def shown(model: object, collected: Collected) -> Any:
    with using(_SHOW, collected):
        return TypeAdapter(type(model)).dump_python(model, mode="json")
