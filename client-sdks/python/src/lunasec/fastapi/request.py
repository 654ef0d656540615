"""What a request does with the sidecar: under its session, within a page's patience."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Union, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from .._hiding import Held, caught, right
from .._limits import DISPLAY_DEADLINE, HOPELESS_DEADLINE
from .._operations import Action, ItemLike
from .._plans import hidden as hidden_token
from .._plans import hidden_all, hidden_items, hidden_value, session_of, traced
from .._redacted import PlaintextLike, TokenLike
from .._rules import Ask, Asks, carry_out_async
from ..aio import AsyncLunaSec, AsyncLunaSecSession
from ..errors import LunaSecError, Unauthenticated
from ..policy import policy_of
from ..results import (
    Deleted,
    Failed,
    Granted,
    Invalid,
    Masked,
    Metadata,
    MetadataWritten,
    Revoked,
    Tokenized,
    Valid,
)

Said = Union[str, tuple[str, Union[str, None]], None]
#: Gives the text that an application knows a user's session by, or that and a JWT, or None.
SessionOf = Callable[[HTTPConnection], Union[Said, Awaitable[Said]]]

_UNASKED: Final = object()


class Notes:
    """What became of a request's calls, for its answer's head, its templates and its log."""

    def __init__(self) -> None:
        #: `storage`, `keys`, or the code of what was masked.
        self.reasons: set[str] = set()
        self.age: int | None = None
        #: How many values are not readable.
        self.masked = 0
        self.journaled = False
        #: Whether a value is in the answer.
        self.revealed = False

    @property
    def degraded(self) -> bool:
        return bool(self.reasons)

    def take(self, answer: object) -> None:
        if isinstance(answer, list):
            for each in answer:
                self.take(each)
        if getattr(answer, "durability", None) == "journaled":
            self.journaled = True
        if getattr(answer, "kind", None) == "value":
            self.revealed = True
        if getattr(answer, "kind", None) in ("masked", "fallback"):
            self.masked += 1
            self.reasons.add(cast(Masked, answer).reason)
        degraded = getattr(answer, "degraded", None)
        if degraded is not None:
            self.reasons.update(each.strip() for each in degraded.split(","))
            self.age = max(self.age or 0, getattr(answer, "age", None) or 0)


class RequestLunaSec:
    """Everything that the client does, under the session of this request: `request.state.lunasec`, or `LunaSecDep`.

    Its session is asked for once, when it is needed first; what is granted, verified and revealed cannot be of two.
    Without one, values are read and written without; grants need one, and raise `Unauthenticated`."""

    def __init__(self, client: AsyncLunaSec[Any], session_of: SessionOf | None, connection: HTTPConnection) -> None:
        parent = connection.headers.get("traceparent")
        self._client: AsyncLunaSec[Any] = client
        if parent is not None and len(parent) <= 128 and parent.isascii() and parent.isprintable():
            self._client = client._with(traced(client._view, parent))
        self._session_of = session_of
        self._connection = connection
        self._bound: Any = _UNASKED
        # Which time it is asked for: what is said to an earlier one is not bound any more.
        self._question = 0
        self._patience: float | None = None
        #: What reveals come to when nobody can answer; see `showing`.
        self.on_unavailable: Any = None
        self.notes = Notes()

    async def session(self) -> AsyncLunaSecSession[Any]:
        """The client of this request's session."""
        found = await self._find()
        if found is None:
            raise Unauthenticated("this needs a session, and the request has none")
        return found

    async def has_session(self) -> bool:
        return await self._find() is not None

    def rebind(self) -> None:
        """Asks for the session anew: after a login gave the user another one."""
        self._bound = _UNASKED
        self._question += 1

    async def _find(self) -> AsyncLunaSecSession[Any] | None:
        while self._bound is _UNASKED:
            question = self._question
            said: Any = None if self._session_of is None else self._session_of(self._connection)
            if inspect.isawaitable(said):
                said = await said
            held = Held(said)
            del said
            bound = right(caught(session_of, self._client, held.take))
            # The first that is said is everybody's who asked meanwhile.
            if question == self._question and self._bound is _UNASKED:
                self._bound = bound
        return cast("AsyncLunaSecSession[Any] | None", self._bound)

    async def _any(self) -> AsyncLunaSec[Any] | AsyncLunaSecSession[Any]:
        return await self._find() or self._client

    async def _target(self, needs_session: bool) -> Any:
        return await self.session() if needs_session else await self._any()

    def _options(self, ask: Ask) -> dict[str, Any]:
        """A page waits so long for what it can do without, for all of that together."""
        policy = self._client._view.policy if self.on_unavailable is None else self.on_unavailable
        if ask.call != "detokenize_batch" or policy == "fail":
            return {}
        return {"deadline": self.patience()}

    def patience(self) -> float:
        """Seconds that this page still waits for what it can do without."""
        now = time.monotonic()
        limit = self._client._view.deadline
        if self._patience is None:
            self._patience = now + (DISPLAY_DEADLINE if limit is None else min(limit, DISPLAY_DEADLINE))
        return max(HOPELESS_DEADLINE, self._patience - now)

    async def carry_out(self, asks: Asks) -> None:
        """Makes the calls that rules ask for."""
        await carry_out_async(self._noted(asks), cast(Any, self._target), self._options)

    def _noted(self, asks: Asks) -> Asks:
        said: Any = None
        while True:
            try:
                ask = asks.send(said)
            except StopIteration:
                return
            said = yield ask
            self.notes.take(said)

    async def tokenize(self, value: PlaintextLike, **options: Any) -> Tokenized:
        hidden: Any = hidden_value(value)
        del value
        made = await (await self._any()).tokenize(hidden, **options)
        self.notes.take(made)
        return made

    async def tokenize_batch(self, items: Iterable[ItemLike], **options: Any) -> list[Tokenized | Failed]:
        hidden: Any = hidden_items(items)
        del items
        made = await (await self._any()).tokenize_batch(hidden, **options)
        self.notes.take(made)
        return made

    async def detokenize(self, token: TokenLike, **options: Any) -> Any:
        """As the client's. What may be masked waits as long as the page still does."""
        hidden: Any = hidden_token(token)
        del token
        found = await (await self._any()).detokenize(hidden, **self._reading(options))
        self.notes.take(found)
        return found

    async def detokenize_batch(self, tokens: Iterable[TokenLike], **options: Any) -> list[Any]:
        """As the client's. What may be masked waits as long as the page still does."""
        hidden: Any = hidden_all("detokenize_batch", tokens)
        del tokens
        found: list[Any] = await (await self._any()).detokenize_batch(hidden, **self._reading(options))
        self.notes.take(found)
        return found

    def _reading(self, options: dict[str, Any]) -> dict[str, Any]:
        policy = options.get("on_unavailable", self.on_unavailable)
        chosen = {} if policy is None else {"on_unavailable": policy}
        standing = (self._client._view.policy if policy is None else policy) != "fail"
        waits = {"deadline": self.patience()} if standing and "deadline" not in options else {}
        return {**options, **chosen, **waits}

    async def get_metadata(self, token: TokenLike, **options: Any) -> Metadata:
        hidden: Any = hidden_token(token)
        del token
        found = await (await self._any()).get_metadata(hidden, **options)
        self.notes.take(found)
        return found

    async def set_metadata(self, token: TokenLike, metadata: Mapping[str, Any], **options: Any) -> MetadataWritten:
        hidden: Any = hidden_token(token)
        del token
        return await (await self._any()).set_metadata(hidden, metadata, **options)

    async def delete(self, tokens: Iterable[TokenLike], **options: Any) -> list[Deleted | Failed]:
        hidden: Any = hidden_all("delete", tokens)
        del tokens
        return await (await self._any()).delete(hidden, **options)

    async def grant(
        self,
        tokens: Iterable[TokenLike],
        *,
        expires_in: str | timedelta | None = None,
        actions: Sequence[Action] | None = None,
        **options: Any,
    ) -> list[Granted | Failed]:
        hidden: Any = hidden_all("grant", tokens)
        del tokens
        return await (await self.session()).grant(hidden, expires_in=expires_in, actions=actions, **options)

    async def verify(
        self, tokens: Iterable[TokenLike], *, action: Action | None = None, **options: Any
    ) -> list[Valid | Invalid | Failed]:
        hidden: Any = hidden_all("verify", tokens)
        del tokens
        return await (await self.session()).verify(hidden, action=action, **options)

    async def revoke(self, tokens: Iterable[TokenLike], **options: Any) -> Revoked:
        hidden: Any = hidden_all("revoke", tokens)
        del tokens
        return await (await self.session()).revoke(hidden, **options)

    async def revoke_all(self, **options: Any) -> Revoked:
        return await (await self.session()).revoke_all(**options)


def of_connection(connection: HTTPConnection) -> RequestLunaSec:
    found = getattr(connection.state, "lunasec", None)
    if not isinstance(found, RequestLunaSec):
        raise RuntimeError("this application has no LunaSecMiddleware: call lunasec.fastapi.install(app, client)")
    return found


#: A parameter of this type is the request's: `async def page(lunasec: LunaSecDep)`.
LunaSecDep = Annotated[RequestLunaSec, Depends(of_connection)]


def showing(on_unavailable: Any) -> Any:
    """What a route's values come to when nobody can answer: `dependencies=[showing("mask")]`."""
    chosen = policy_of(on_unavailable, awaits=True)

    async def choose(lunasec: LunaSecDep) -> None:
        lunasec.on_unavailable = chosen

    return Depends(choose)


__all__ = ["LunaSecDep", "LunaSecError", "RequestLunaSec", "SessionOf", "of_connection", "showing"]
