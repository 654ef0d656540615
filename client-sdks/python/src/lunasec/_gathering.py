"""Calls of a thread that are made together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypedDict, cast

from typing_extensions import Self, TypeVar, Unpack

from . import _plans as plans
from ._hiding import caught, right
from ._plans import Ask, View
from ._redacted import PlaintextLike, TokenLike
from ._stop import Stop
from ._sync_flight import Call
from .errors import LunaSecError, Stopped
from .results import Tokenized, Value

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R", default=Value)


class CallOptions(TypedDict, total=False):
    """What any call may say of itself."""

    #: Seconds for the whole call, its retries included: 15, and 2 where a policy stands in for an answer.
    deadline: float | timedelta
    #: Instead of the client's: another namespace.
    namespace: str
    #: Instead of the client's: what it is for, for the audit record.
    purpose: str
    #: Gives the call up.
    stop: Stop


class Pending(Generic[C]):
    """What a gathered call comes to, once its `with` is over."""

    def __init__(self) -> None:
        self._said: Callable[[], C] | None = None

    def result(self) -> C:
        """The result, or the call's own error, which is nobody else's."""
        if self._said is None:
            raise RuntimeError("a gathered call has no result before the end of its `with`")
        wrong: LunaSecError
        try:
            return self._said()
        except LunaSecError as error:
            wrong = error
        raise wrong.with_traceback(None)


class Gathering(Generic[R]):
    """Made by `gather()`. A call that is wrong in itself is refused where it is made; whatever else goes wrong is said by
    `result()`."""

    def __init__(
        self,
        view: Callable[[], View],
        made: Callable[[Sequence[Ask[Any]], Stop | None], list[Call[Any]]],
        answer: Callable[[Ask[Any], Call[Any]], Any],
        stop: Stop | None,
    ) -> None:
        self._view = view
        self._made = made
        self._answer = answer
        self._stop = stop
        self._asks: list[tuple[Ask[Any], Pending[Any]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        asks, self._asks = self._asks, []
        if kind is not None or not asks:
            return
        calls = right(caught(self._made, [ask for ask, _ in asks], self._stop, kinds=(LunaSecError, Stopped)))
        for (ask, pending), call in zip(asks, calls):
            pending._said = lambda ask=ask, call=call: self._answer(ask, call)

    def _note(self, plan: Callable[..., Ask[T]], *arguments: Any) -> Pending[T]:
        pending: Pending[T] = Pending()
        self._asks.append((plans.asked(plan, self._view(), arguments), pending))
        return pending

    def detokenize(self, token: TokenLike, **options: Unpack[CallOptions]) -> Pending[R]:
        """See `detokenize` of the client; under its policy."""
        hidden = plans.hidden(token)
        del token
        return cast(Pending[R], self._note(plans.detokenize, hidden, None, options))

    def tokenize(
        self,
        value: PlaintextLike,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
        **options: Unpack[CallOptions],
    ) -> Pending[Tokenized]:
        """See `tokenize` of the client."""
        hidden = plans.hidden_value(value)
        del value
        return self._note(plans.tokenize, hidden, metadata, expires_in, None, None, options)
