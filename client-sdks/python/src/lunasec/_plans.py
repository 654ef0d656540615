"""Each call of a client as what is to be done: what is sent, within which bounds, and what its outcomes come to.

The clients differ in how they wait; what they do is said here, once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, TypeVar, Union

from . import _operations as ops
from ._context import Context, Says, context_of, header_value, idempotency_key
from ._engine import Engine
from ._flight import Common
from ._hiding import Wrong, caught, right
from ._limits import DEADLINE, DISPLAY_DEADLINE
from ._operation import Got, Operation, Outcome, Unit
from ._operations import Action, Item, ItemLike
from ._options import no_list, only_known, seconds
from ._places import Holder
from ._redacted import Plaintext, PlaintextLike, Token, TokenLike
from .errors import InvalidRequest, LunaSecError, Unavailable
from .policy import AsyncFallbackTo, FallbackTo, Policy, mask_of, policy_of, stands_in_for
from .results import (
    Deleted,
    Failed,
    Fallback,
    Granted,
    Invalid,
    Masked,
    Metadata,
    MetadataWritten,
    Revoked,
    Status,
    Tokenized,
    Valid,
    Value,
)

T = TypeVar("T")
CALL = frozenset({"deadline", "namespace", "purpose", "stop"})
AWAITED_CALL = CALL - {"stop"}


class Awaiting:
    """A fallback that is still to be awaited. The function is called where it is."""

    __slots__ = ("error", "function", "in_batch", "token")

    def __init__(
        self, function: Callable[[Token, Unavailable], Awaitable[Any]], token: Token, error: Unavailable
    ) -> None:
        self.function = function
        self.token = token
        self.error = error
        self.in_batch = False


Revealed = Union[Value, Masked, Fallback[Any], Failed, Awaiting]


@dataclass(frozen=True)
class View:
    """What a view of a client has of its own."""

    engine: Engine[Any]
    says: Says
    context: Context
    policy: Policy
    deadline: float | None
    #: Whether its client awaits.
    awaits: bool

    def __repr__(self) -> str:
        return "View(...)"


@dataclass(frozen=True)
class Ask(Generic[T]):
    """One call, whole."""

    common: Common
    units: Sequence[Unit]
    deadline: float
    holder: Holder
    #: Whether it may share its request with others of its turn.
    together: bool
    #: What the outcomes come to; raises where that is an error.
    finish: Callable[[Sequence[Outcome[Any]]], T]
    #: What stands in for all of it where there is no answer for any; raises where nothing does.
    instead: Callable[[LunaSecError], T]

    def __repr__(self) -> str:
        return f"Ask({self.common.operation.name})"


def said(namespace: str | None, purpose: str | None, jwt: str | None) -> Callable[[], Says]:
    """What a client says, behind a function: it prints nothing."""
    return lambda: Says(namespace=namespace, purpose=purpose, jwt=jwt)


def view_of(
    engine: Engine[Any],
    awaits: bool,
    said: Callable[[], Says],
    on_unavailable: Any,
    deadline: float | timedelta | None,
) -> View:
    limit = None if deadline is None else seconds("deadline", deadline)
    context = right(caught(context_of, said()))
    return View(engine, said(), context, policy_of(on_unavailable, awaits), limit, awaits)


def otherwise(view: View, changed: Mapping[str, Any]) -> View:
    """The same view, with something otherwise."""
    return right(caught(_otherwise, view, changed, kinds=(LunaSecError, TypeError)))


def _otherwise(view: View, changed: Mapping[str, Any]) -> View:
    only_known("with_options", changed, frozenset({"namespace", "purpose", "on_unavailable", "deadline"}))
    says = view.says._replace(**{name: changed[name] for name in ("namespace", "purpose") if name in changed})
    limit = view.deadline
    if changed.get("deadline") is not None:
        limit = seconds("deadline", changed["deadline"])
    policy = policy_of(changed.get("on_unavailable", view.policy), view.awaits)
    return replace(view, says=says, context=context_of(says), policy=policy, deadline=limit)


def in_session(view: View, session: str, jwt: str | None) -> View | Wrong:
    return caught(_in_session, view, session, jwt)


def _in_session(view: View, session: str, jwt: str | None) -> View:
    # Also where the type was not looked at: a session that is missing by mistake would be nobody's.
    header_value("session", session)
    says = view.says._replace(session=session, jwt=view.says.jwt if jwt is None else jwt)
    return replace(view, says=says, context=context_of(says))


def traced(view: View, traceparent: str | None) -> View:
    """For integrations: the trace of who called, where no OpenTelemetry says its own."""
    says = view.says._replace(traceparent=traceparent)
    return replace(view, says=says, context=right(caught(context_of, says)))


def session_of(client: Any, said: Any) -> Any:
    """For integrations: the client of a session that an application said; `said` is behind a function. None without one."""
    session, jwt = given if isinstance(given := said(), tuple) else (given, None)
    return None if session is None or session == "" else client.for_session(session, jwt=jwt)


def hidden(token: TokenLike | Wrong) -> Token | Wrong:
    return token if isinstance(token, Wrong) else caught(Token.of, token)


def hidden_value(value: PlaintextLike | Wrong) -> Plaintext | Wrong:
    return value if isinstance(value, Wrong) else caught(Plaintext.of, value)


def hidden_all(what: str, tokens: Iterable[TokenLike] | Wrong) -> list[Token] | Wrong:
    return _hidden_list(what, tokens, Token.of)


def hidden_items(items: Iterable[ItemLike] | Wrong) -> list[Item] | Wrong:
    return _hidden_list("tokenize_batch", items, lambda item: item if isinstance(item, Item) else Item(item))


def _hidden_list(what: str, items: Any, each: Callable[[Any], T]) -> list[T] | Wrong:
    if isinstance(items, Wrong):
        return items
    wrong = no_list(what, items)
    if wrong is not None:
        return Wrong(wrong)
    # What an application's own generator raises stays as it is.
    listed = list(items)
    del items
    return caught(lambda: [each(item) for item in listed])


def asked(plan: Callable[..., Ask[T]], view: View, arguments: Sequence[Any]) -> Ask[T]:
    """A call, planned; what is wrong with it is raised without the frames that know more."""
    for each in arguments:
        if isinstance(each, Wrong):
            return right(each)
    return right(caught(plan, view, *arguments, kinds=(LunaSecError, TypeError)))


def _raise(error: LunaSecError) -> Any:
    raise error


def _ask(
    view: View,
    operation: Operation[Any],
    units: Sequence[Unit],
    options: Mapping[str, Any],
    finish: Callable[[Sequence[Outcome[Any]]], T],
    *,
    policy: Policy = "fail",
    instead: Callable[[LunaSecError], T] = _raise,
    together: bool = False,
    as_batch: bool = False,
    key: str | None = None,
    holder: Holder | None = None,
) -> Ask[T]:
    only_known(operation.name, options, AWAITED_CALL if view.awaits else CALL)
    standing = policy != "fail"
    limit = options.get("deadline")
    deadline = view.deadline if limit is None else seconds("deadline", limit)
    if deadline is None:
        deadline = DISPLAY_DEADLINE if standing else DEADLINE
    common = Common(
        operation,
        _context(view, options),
        view.engine.retry.attempts_for(standing),
        as_batch,
        None if key is None else idempotency_key(key),
    )
    holder = holder or Holder(view.says.session)
    return Ask(common, units, deadline, holder, together, finish, instead)


def _context(view: View, options: Mapping[str, Any]) -> Context:
    changed = {name: options[name] for name in ("namespace", "purpose") if options.get(name) is not None}
    return context_of(view.says._replace(**changed)) if changed else view.context


def _only(outcomes: Sequence[Outcome[T]]) -> T:
    (outcome,) = outcomes
    if isinstance(outcome, Got):
        return outcome.value
    raise outcome


def _each(tokens: Sequence[Token]) -> Callable[[Sequence[Outcome[T]]], list[T | Failed]]:
    return lambda outcomes: [
        each.value if isinstance(each, Got) else Failed(each, token) for each, token in zip(outcomes, tokens)
    ]


def tokenize(
    view: View,
    value: PlaintextLike,
    metadata: Mapping[str, Any] | None,
    expires_in: str | timedelta | None,
    encoding: Any,
    key: str | None,
    options: Mapping[str, Any],
) -> Ask[Tokenized]:
    units = [ops.tokenize_unit(Item(value, encoding, metadata, expires_in))]
    return _ask(view, ops.TOKENIZE, units, options, _only, together=key is None, key=key)


def tokenize_batch(
    view: View, items: Sequence[Item], key: str | None, options: Mapping[str, Any]
) -> Ask[list[Tokenized | Failed]]:
    units = [ops.tokenize_unit(item) for item in items]

    def finish(outcomes: Sequence[Outcome[Tokenized]]) -> list[Tokenized | Failed]:
        return [each.value if isinstance(each, Got) else Failed(each) for each in outcomes]

    return _ask(view, ops.TOKENIZE, units, options, finish, as_batch=True, key=key)


def detokenize(view: View, token: Token, policy: Any, options: Mapping[str, Any]) -> Ask[Revealed]:
    chosen = view.policy if policy is None else policy_of(policy, view.awaits)

    def finish(outcomes: Sequence[Outcome[Value]]) -> Revealed:
        (outcome,) = outcomes
        return outcome.value if isinstance(outcome, Got) else _stand_in(chosen, token, outcome)

    return _ask(
        view,
        ops.DETOKENIZE,
        [ops.token_unit(token)],
        options,
        finish,
        policy=chosen,
        instead=lambda error: _stand_in(chosen, token, error),
        together=True,
    )


def detokenize_batch(
    view: View, tokens: Sequence[Token], policy: Any, options: Mapping[str, Any]
) -> Ask[list[Revealed]]:
    chosen = view.policy if policy is None else policy_of(policy, view.awaits)

    def instead(error: LunaSecError) -> list[Revealed]:
        if not stands_in_for(chosen, error):
            raise error
        return [_stand_in_item(chosen, token, error) for token in tokens]

    def finish(outcomes: Sequence[Outcome[Value]]) -> list[Revealed]:
        return [
            each.value if isinstance(each, Got) else _stand_in_item(chosen, token, each)
            for each, token in zip(outcomes, tokens)
        ]

    units = [ops.token_unit(token) for token in tokens]
    return _ask(view, ops.DETOKENIZE, units, options, finish, policy=chosen, instead=instead, as_batch=True)


def _stand_in(policy: Policy, token: Token, error: LunaSecError) -> Masked | Fallback[Any] | Awaiting:
    """What stands in for the value; raises the error where nothing may."""
    if not isinstance(error, Unavailable) or not stands_in_for(policy, error):
        raise error
    text = mask_of(policy)
    if text is not None:
        return Masked(token, text, error)
    if isinstance(policy, AsyncFallbackTo):
        return Awaiting(policy.function, token, error)
    assert isinstance(policy, FallbackTo)
    return Fallback(token, policy.function(token, error), error)


def _stand_in_item(policy: Policy, token: Token, error: LunaSecError) -> Revealed:
    try:
        stood = _stand_in(policy, token, error)
    except LunaSecError as said:
        return Failed(said, token)
    except Exception as thrown:
        return failed_fallback(token, error, thrown)
    if isinstance(stood, Awaiting):
        stood.in_batch = True
    return stood


def failed_fallback(token: Token, error: LunaSecError, thrown: Exception) -> Failed:
    """What a fallback raised is the cause: whoever reads items finds errors of this client only."""
    detail = f"{error.detail}; and the fallback of on_unavailable raised: see __cause__, and mend the fallback"
    item = Unavailable(detail, code=error.code, retryable=error.retryable)
    item.__cause__ = thrown
    return Failed(item, token)


def get_metadata(view: View, token: Token, options: Mapping[str, Any]) -> Ask[Metadata]:
    return _ask(view, ops.METADATA_GET, [ops.token_unit(token)], options, _only, holder=_alone(view))


def set_metadata(
    view: View, token: Token, metadata: Mapping[str, Any], if_version: int | None, options: Mapping[str, Any]
) -> Ask[MetadataWritten]:
    operation = ops.METADATA_SET if if_version is None else ops.METADATA_SET_IF
    units = [ops.metadata_unit(token, metadata, if_version)]
    return _ask(view, operation, units, options, _only, holder=_alone(view))


def _alone(view: View) -> Holder:
    """A user may have an application ask for many of these, of which none shares its request."""
    return Holder(view.says.session, alone=True)


def delete(view: View, tokens: Sequence[Token], options: Mapping[str, Any]) -> Ask[list[Deleted | Failed]]:
    units = [ops.token_unit(token) for token in tokens]
    return _ask(view, ops.DELETE, units, options, _each(tokens), together=True)


def grant(
    view: View,
    tokens: Sequence[Token],
    expires_in: str | timedelta | None,
    actions: Sequence[Action] | None,
    options: Mapping[str, Any],
) -> Ask[list[Granted | Failed]]:
    operation = ops.grants_create(_session(view), expires_in, actions)
    return _ask(view, operation, [ops.token_unit(token) for token in tokens], options, _each(tokens), together=True)


def verify(
    view: View, tokens: Sequence[Token], action: Action | None, options: Mapping[str, Any]
) -> Ask[list[Valid | Invalid | Failed]]:
    operation = ops.grants_verify(_session(view), action)
    return _ask(view, operation, [ops.token_unit(token) for token in tokens], options, _each(tokens), together=True)


def revoke(view: View, tokens: Sequence[Token] | None, options: Mapping[str, Any]) -> Ask[Revoked]:
    unit = ops.revoke_unit(_session(view), tokens)
    # What takes grants back is not refused because of what the session does beside it.
    return _ask(view, ops.GRANTS_REVOKE, [unit], options, _only, holder=Holder())


def status(view: View, options: Mapping[str, Any]) -> Ask[Status]:
    return _ask(view, ops.STATUS, [Unit(b"")], options, _only, holder=Holder())


def _session(view: View) -> str:
    if view.says.session is None:
        raise InvalidRequest("grants are a session's: ask for_session(id)")
    return view.says.session
