"""The sidecar, from coroutines."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypedDict, Union, cast, overload

import anyio
import httpx
from typing_extensions import Self, TypeVar, Unpack

from . import _plans as plans
from ._async_flight import Lanes, lanes_of
from ._engine import Engine
from ._hiding import right
from ._limits import BATCH_ITEMS, CONNECTIONS, PENDING_CALLS, RESTART_GRACE, START_DEADLINE
from ._operations import Action, ItemLike
from ._plans import Ask, Awaiting, View
from ._redacted import PlaintextLike, TokenLike
from ._retry import Retry
from .client import BaseClientOptions, ViewOptions
from .errors import DeadlineExceeded, LunaSecError
from .policy import AsyncFallbackTo, Fail, FallbackTo, Masks
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
F = TypeVar("F")
#: What reads come to under the policy of a client.
R = TypeVar("R", default=Value)
Falls = Union[FallbackTo[F], AsyncFallbackTo[F]]


class AsyncCallOptions(TypedDict, total=False):
    """What any call may say of itself."""

    #: Seconds for the whole call, its retries included: 15, and 2 where a policy stands in for an answer.
    deadline: float | timedelta
    #: Instead of the client's: another namespace.
    namespace: str
    #: Instead of the client's: what it is for, for the audit record.
    purpose: str


class AsyncClientOptions(BaseClientOptions, total=False):
    """How a client is made. All of it has a default."""

    #: Another way to the sidecar than its socket: for tests of an application.
    transport: httpx.AsyncBaseTransport | None


class AsyncReader(Generic[R]):
    """What clients and sessions have in common: values, metadata, deletion."""

    _view: View
    _lanes: Lanes

    def __init__(self, view: View, lanes: Lanes) -> None:
        self._view = view
        self._lanes = lanes

    async def _call(self, plan: Callable[..., Ask[T]], *arguments: Any) -> T:
        wrong: LunaSecError
        try:
            ask = plans.asked(plan, self._view, arguments)
            said = await self._said(ask)
            answer = ask.instead(said) if isinstance(said, LunaSecError) else ask.finish(said)
            return cast(T, await self._stood(answer, ask.deadline))
        except LunaSecError as error:
            wrong = error
        # Without the frames that it comes from: their locals would be tokens and values in a traceback.
        try:
            raise wrong.with_traceback(None)
        finally:
            del wrong

    async def _said(self, ask: Ask[Any]) -> list[Any] | LunaSecError:
        """A call in its place."""
        places = self._view.engine.places
        places.take(ask.holder)
        try:
            return await self._lanes.make(ask)
        finally:
            places.leave(ask.holder)

    async def _stood(self, answer: Any, deadline: float) -> Any:
        """With what its fallbacks give, which are awaited together."""
        if isinstance(answer, Awaiting):
            return await _awaited(answer, deadline)
        if not isinstance(answer, list) or not any(isinstance(each, Awaiting) for each in answer):
            return answer
        stood = list(answer)

        async def stand(index: int, awaiting: Awaiting) -> None:
            stood[index] = await _awaited(awaiting, deadline)

        async with anyio.create_task_group() as group:
            for index, each in enumerate(answer):
                if isinstance(each, Awaiting):
                    group.start_soon(stand, index, each)
        return stood

    async def tokenize(
        self,
        value: PlaintextLike,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
        encoding: Literal["base64"] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[AsyncCallOptions],
    ) -> Tokenized:
        """Tokenizes one value.

        No policy stands in for it: where nobody can take the value, it raises `Unavailable`. `idempotency_key` is 1 to
        255 visible ASCII characters that name this value for 24 hours: the same key with the same value gives the same
        token, also from another process beside the same sidecar. Unless given, the client makes one for each call, so
        that its own retries give one token."""
        hidden = plans.hidden_value(value)
        del value
        return await self._call(plans.tokenize, hidden, metadata, expires_in, encoding, idempotency_key, options)

    async def tokenize_batch(
        self, items: Iterable[ItemLike], *, idempotency_key: str | None = None, **options: Unpack[AsyncCallOptions]
    ) -> list[Tokenized | Failed]:
        """Tokenizes 1 to 1,000 values in one request of at most 16 MiB. Items fail each by itself; the call raises only
        if there was no answer for any."""
        hidden = plans.hidden_items(items)
        del items
        return await self._call(plans.tokenize_batch, hidden, idempotency_key, options)

    @overload
    async def detokenize(self, token: TokenLike, **options: Unpack[AsyncCallOptions]) -> R: ...
    @overload
    async def detokenize(
        self, token: TokenLike, *, on_unavailable: Fail, **options: Unpack[AsyncCallOptions]
    ) -> Value: ...
    @overload
    async def detokenize(
        self, token: TokenLike, *, on_unavailable: Masks, **options: Unpack[AsyncCallOptions]
    ) -> Value | Masked: ...
    @overload
    async def detokenize(
        self, token: TokenLike, *, on_unavailable: Falls[F], **options: Unpack[AsyncCallOptions]
    ) -> Value | Fallback[F]: ...
    async def detokenize(
        self, token: TokenLike, *, on_unavailable: Any = None, **options: Unpack[AsyncCallOptions]
    ) -> Any:
        """Reveals one value. Under a policy that stands in for an answer, look at `kind` before there is a value."""
        hidden = plans.hidden(token)
        del token
        return await self._call(plans.detokenize, hidden, on_unavailable, options)

    @overload
    async def detokenize_batch(
        self, tokens: Iterable[TokenLike], **options: Unpack[AsyncCallOptions]
    ) -> list[R | Failed]: ...
    @overload
    async def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Fail, **options: Unpack[AsyncCallOptions]
    ) -> list[Value | Failed]: ...
    @overload
    async def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Masks, **options: Unpack[AsyncCallOptions]
    ) -> list[Value | Masked | Failed]: ...
    @overload
    async def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Falls[F], **options: Unpack[AsyncCallOptions]
    ) -> list[Value | Fallback[F] | Failed]: ...
    async def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Any = None, **options: Unpack[AsyncCallOptions]
    ) -> Any:
        """Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an
        answer, it does so for each item that nobody can answer; otherwise the call raises if there was no answer for
        any."""
        hidden = plans.hidden_all("detokenize_batch", tokens)
        del tokens
        return await self._call(plans.detokenize_batch, hidden, on_unavailable, options)

    async def get_metadata(self, token: TokenLike, **options: Unpack[AsyncCallOptions]) -> Metadata:
        """Reads what is kept beside a value."""
        hidden = plans.hidden(token)
        del token
        return await self._call(plans.get_metadata, hidden, options)

    async def set_metadata(
        self,
        token: TokenLike,
        metadata: Mapping[str, Any],
        *,
        if_version: int | None = None,
        **options: Unpack[AsyncCallOptions],
    ) -> MetadataWritten:
        """Replaces the whole of what is kept beside a value: a JSON object of at most 16 KiB. With `if_version` only if
        this is still its version, and `Conflict` otherwise; it is then not tried again where it may have been done."""
        hidden = plans.hidden(token)
        del token
        return await self._call(plans.set_metadata, hidden, metadata, if_version, options)

    async def delete(self, tokens: Iterable[TokenLike], **options: Unpack[AsyncCallOptions]) -> list[Deleted | Failed]:
        """Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself."""
        hidden = plans.hidden_all("delete", tokens)
        del tokens
        return await self._call(plans.delete, hidden, options)


class AsyncLunaSec(AsyncReader[R]):
    """The sidecar, for asyncio and trio. Make one for each process: it connects with its first call, and serves every event
    loop that there is.

    ```python
    lunasec = AsyncLunaSec()
    token = (await lunasec.tokenize("4111 1111 1111 1111")).token
    (await lunasec.detokenize(token)).value.reveal()
    ```

    Calls that are made in one turn of asyncio's loop, and say the same of themselves, share one request.

    `R` is what its reads come to. Under another policy than `fail`, a type checker asks for a look before there is a
    value."""

    @overload
    def __init__(
        self: AsyncLunaSec[Value], *, on_unavailable: Fail = ..., **options: Unpack[AsyncClientOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncLunaSec[Value | Masked], *, on_unavailable: Masks, **options: Unpack[AsyncClientOptions]
    ) -> None: ...
    @overload
    def __init__(
        self: AsyncLunaSec[Value | Fallback[F]], *, on_unavailable: Falls[F], **options: Unpack[AsyncClientOptions]
    ) -> None: ...
    def __init__(
        self,
        *,
        on_unavailable: Any = "fail",
        namespace: str | None = None,
        purpose: str | None = None,
        jwt: str | None = None,
        deadline: float | timedelta | None = None,
        socket: str | os.PathLike[str] | None = None,
        retry: Retry | None = None,
        start_deadline: float | timedelta = START_DEADLINE,
        restart_grace: float | timedelta = RESTART_GRACE,
        connections: int = CONNECTIONS,
        pending_calls: int = PENDING_CALLS,
        batch_items: int = BATCH_ITEMS,
        telemetry: bool | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        said = plans.said(namespace, purpose, jwt)
        del jwt
        engine: Engine[httpx.AsyncBaseTransport] = Engine(
            socket=socket,
            retry=retry,
            start_deadline=start_deadline,
            restart_grace=restart_grace,
            connections=connections,
            pending_calls=pending_calls,
            batch_items=batch_items,
            telemetry=telemetry,
            transport=transport,
        )
        view = plans.view_of(engine, True, said, on_unavailable, deadline)
        super().__init__(view, lanes_of(engine))

    @overload
    def with_options(self, **options: Unpack[ViewOptions]) -> AsyncLunaSec[R]: ...
    @overload
    def with_options(self, *, on_unavailable: Fail, **options: Unpack[ViewOptions]) -> AsyncLunaSec[Value]: ...
    @overload
    def with_options(
        self, *, on_unavailable: Masks, **options: Unpack[ViewOptions]
    ) -> AsyncLunaSec[Value | Masked]: ...
    @overload
    def with_options(
        self, *, on_unavailable: Falls[F], **options: Unpack[ViewOptions]
    ) -> AsyncLunaSec[Value | Fallback[F]]: ...
    def with_options(self, **options: Any) -> AsyncLunaSec[Any]:
        """The same client, with something otherwise: another namespace, purpose, policy or deadline."""
        return self._with(plans.otherwise(self._view, options))

    def _with(self, view: View) -> AsyncLunaSec[Any]:
        other: AsyncLunaSec[Any] = AsyncLunaSec.__new__(AsyncLunaSec)
        AsyncReader.__init__(other, view, self._lanes)
        return other

    def for_session(self, session: str, *, jwt: str | None = None) -> AsyncLunaSecSession[R]:
        """The same client, for one session of one of your users: any text of 1 to 1,024 bytes that the application knows
        the user's session by, without control characters and without a space at either end. `jwt` proves it where the
        sidecar has issuers."""
        view = plans.in_session(self._view, session, jwt)
        del session, jwt
        return AsyncLunaSecSession(right(view), self._lanes)

    async def status(self, **options: Unpack[AsyncCallOptions]) -> Status:
        """What the sidecar says of itself and of what it needs."""
        return await self._call(plans.status, options)

    async def ready(self, **options: Unpack[AsyncCallOptions]) -> None:
        """Waits until the sidecar answers. Raises `SidecarUnreachable` if it does not in time."""
        await self.status(**options)

    async def aclose(self) -> None:
        """Closes the connections, of all views. Calls after it raise."""
        await self._lanes.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class AsyncLunaSecSession(AsyncReader[R]):
    """A client that speaks for one session of one end user: what it grants, verifies and reveals is that session's, so
    that no two ids can be mixed up. Made by `LunaSec.for_session`."""

    async def grant(
        self,
        tokens: Iterable[TokenLike],
        *,
        expires_in: str | timedelta | None = None,
        actions: Sequence[Action] | None = None,
        **options: Unpack[AsyncCallOptions],
    ) -> list[Granted | Failed]:
        """Lets the session do something with 1 to 1,000 tokens, for a time: 15 minutes unless said, `detokenize` and
        `metadata` unless said."""
        hidden = plans.hidden_all("grant", tokens)
        del tokens
        return await self._call(plans.grant, hidden, expires_in, actions, options)

    async def verify(
        self, tokens: Iterable[TokenLike], *, action: Action | None = None, **options: Unpack[AsyncCallOptions]
    ) -> list[Valid | Invalid | Failed]:
        """Asks whether the session may do something with 1 to 1,000 tokens. No policy stands in for it: where nobody
        knows, items are `Failed` or the call raises, and neither is a yes."""
        hidden = plans.hidden_all("verify", tokens)
        del tokens
        return await self._call(plans.verify, hidden, action, options)

    async def revoke(self, tokens: Iterable[TokenLike], **options: Unpack[AsyncCallOptions]) -> Revoked:
        """Takes back all that the session was granted for 1 to 1,000 tokens."""
        hidden = plans.hidden_all("revoke", tokens)
        del tokens
        return await self._call(plans.revoke, hidden, options)

    async def revoke_all(self, **options: Unpack[AsyncCallOptions]) -> Revoked:
        """Takes back all that the session was granted: for a logout."""
        return await self._call(plans.revoke, None, options)


async def _awaited(awaiting: Awaiting, deadline: float) -> Fallback[Any] | Failed:
    """What the fallback gives in time: its time begins anew, for what the call had may have gone by waiting."""
    token, error = awaiting.token, awaiting.error
    late = DeadlineExceeded(
        f"the fallback of on_unavailable gave nothing within {deadline * 1000:.0f} ms: let it give up sooner, or raise "
        f"the deadline; it was asked because of {error.code}",
        retryable=True,
    )
    try:
        with anyio.move_on_after(deadline):
            return Fallback(token, await awaiting.function(token, error), error)
    except Exception as thrown:
        if not awaiting.in_batch:
            raise
        return plans.failed_fallback(token, error, thrown)
    if awaiting.in_batch:
        return Failed(late, token)
    raise late
