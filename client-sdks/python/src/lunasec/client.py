"""The sidecar, from threads."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, Literal, TypedDict, overload

import httpx
from typing_extensions import Self, TypeVar, Unpack

from . import _plans as plans
from ._engine import Engine
from ._gathering import CallOptions, Gathering
from ._hiding import right
from ._limits import BATCH_ITEMS, CONNECTIONS, PENDING_CALLS, RESTART_GRACE, START_DEADLINE
from ._operations import Action, ItemLike
from ._plans import Ask, View
from ._redacted import PlaintextLike, TokenLike
from ._retry import Retry
from ._stop import Stop
from ._sync_flight import Call, Pilot
from .errors import InvalidRequest, LunaSecError, Stopped
from .policy import Fail, FallbackTo, Masks
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


class ViewOptions(TypedDict, total=False):
    """What a view of a client can have otherwise, beside its policy."""

    namespace: str | None
    purpose: str | None
    deadline: float | timedelta | None


class BaseClientOptions(ViewOptions, total=False):
    """How a client is made. All of it has a default."""

    #: The socket: `LUNASEC_SOCKET`, else `/run/lunasec/lunasec.sock`.
    socket: str | os.PathLike[str] | None
    #: Speaks for whom this JWT proves; see also `for_session`.
    jwt: str | None
    #: How calls are tried again.
    retry: Retry | None
    #: Seconds that the first calls wait for the socket to be there, within their deadlines.
    start_deadline: float | timedelta
    #: Seconds that calls wait for the socket to come back, within their deadlines.
    restart_grace: float | timedelta
    #: Connections to the socket.
    connections: int
    #: Calls under way in this process; more are refused as `overloaded`.
    pending_calls: int
    #: Items of the requests that gathered calls share. 1: each call is a request.
    batch_items: int
    #: None: traced where OpenTelemetry is installed. True: it must be. False: nothing is traced.
    telemetry: bool | None


class ClientOptions(BaseClientOptions, total=False):
    """How a client is made. All of it has a default."""

    #: Another way to the sidecar than its socket: for tests of an application.
    transport: httpx.BaseTransport | None


class Reader(Generic[R]):
    """What clients and sessions have in common: values, metadata, deletion."""

    _view: View
    _pilot: Pilot

    def __init__(self, view: View, pilot: Pilot) -> None:
        self._view = view
        self._pilot = pilot

    def _call(self, plan: Callable[..., Ask[T]], *arguments: Any) -> T:
        wrong: Exception
        try:
            ask = plans.asked(plan, self._view, arguments)
            return self._answer(ask, *self._made([ask], arguments[-1].get("stop")))
        except (LunaSecError, Stopped) as error:
            wrong = error
        # Without the frames that it comes from: their locals would be tokens and values in a traceback.
        try:
            raise wrong.with_traceback(None)
        finally:
            del wrong

    def _made(self, asks: Sequence[Ask[Any]], stop: Stop | None) -> list[Call[Any]]:
        """Flies the calls, each in its place."""
        if stop is not None and not isinstance(stop, Stop):
            raise InvalidRequest("stop is no Stop: make one with Stop()")
        places = self._view.engine.places
        taken: list[Ask[Any]] = []
        try:
            for ask in asks:
                places.take(ask.holder)
                taken.append(ask)
            return self._pilot.fly(asks, stop)
        finally:
            for ask in taken:
                places.leave(ask.holder)

    @staticmethod
    def _answer(ask: Ask[T], call: Call[Any]) -> T:
        if isinstance(call.said, LunaSecError):
            return ask.instead(call.said)
        return ask.finish(call.said or [])

    def tokenize(
        self,
        value: PlaintextLike,
        *,
        metadata: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
        encoding: Literal["base64"] | None = None,
        idempotency_key: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Tokenized:
        """Tokenizes one value.

        No policy stands in for it: where nobody can take the value, it raises `Unavailable`. `idempotency_key` is 1 to
        255 visible ASCII characters that name this value for 24 hours: the same key with the same value gives the same
        token, also from another process beside the same sidecar. Unless given, the client makes one for each call, so
        that its own retries give one token."""
        hidden = plans.hidden_value(value)
        del value
        return self._call(plans.tokenize, hidden, metadata, expires_in, encoding, idempotency_key, options)

    def tokenize_batch(
        self, items: Iterable[ItemLike], *, idempotency_key: str | None = None, **options: Unpack[CallOptions]
    ) -> list[Tokenized | Failed]:
        """Tokenizes 1 to 1,000 values in one request of at most 16 MiB. Items fail each by itself; the call raises only
        if there was no answer for any."""
        hidden = plans.hidden_items(items)
        del items
        return self._call(plans.tokenize_batch, hidden, idempotency_key, options)

    @overload
    def detokenize(self, token: TokenLike, **options: Unpack[CallOptions]) -> R: ...
    @overload
    def detokenize(self, token: TokenLike, *, on_unavailable: Fail, **options: Unpack[CallOptions]) -> Value: ...
    @overload
    def detokenize(
        self, token: TokenLike, *, on_unavailable: Masks, **options: Unpack[CallOptions]
    ) -> Value | Masked: ...
    @overload
    def detokenize(
        self, token: TokenLike, *, on_unavailable: FallbackTo[F], **options: Unpack[CallOptions]
    ) -> Value | Fallback[F]: ...
    def detokenize(self, token: TokenLike, *, on_unavailable: Any = None, **options: Unpack[CallOptions]) -> Any:
        """Reveals one value. Under a policy that stands in for an answer, look at `kind` before there is a value."""
        hidden = plans.hidden(token)
        del token
        return self._call(plans.detokenize, hidden, on_unavailable, options)

    @overload
    def detokenize_batch(self, tokens: Iterable[TokenLike], **options: Unpack[CallOptions]) -> list[R | Failed]: ...
    @overload
    def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Fail, **options: Unpack[CallOptions]
    ) -> list[Value | Failed]: ...
    @overload
    def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Masks, **options: Unpack[CallOptions]
    ) -> list[Value | Masked | Failed]: ...
    @overload
    def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: FallbackTo[F], **options: Unpack[CallOptions]
    ) -> list[Value | Fallback[F] | Failed]: ...
    def detokenize_batch(
        self, tokens: Iterable[TokenLike], *, on_unavailable: Any = None, **options: Unpack[CallOptions]
    ) -> Any:
        """Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an
        answer, it does so for each item that nobody can answer; otherwise the call raises if there was no answer for
        any."""
        hidden = plans.hidden_all("detokenize_batch", tokens)
        del tokens
        return self._call(plans.detokenize_batch, hidden, on_unavailable, options)

    def get_metadata(self, token: TokenLike, **options: Unpack[CallOptions]) -> Metadata:
        """Reads what is kept beside a value."""
        hidden = plans.hidden(token)
        del token
        return self._call(plans.get_metadata, hidden, options)

    def set_metadata(
        self,
        token: TokenLike,
        metadata: Mapping[str, Any],
        *,
        if_version: int | None = None,
        **options: Unpack[CallOptions],
    ) -> MetadataWritten:
        """Replaces the whole of what is kept beside a value: a JSON object of at most 16 KiB. With `if_version` only if
        this is still its version, and `Conflict` otherwise; it is then not tried again where it may have been done."""
        hidden = plans.hidden(token)
        del token
        return self._call(plans.set_metadata, hidden, metadata, if_version, options)

    def delete(self, tokens: Iterable[TokenLike], **options: Unpack[CallOptions]) -> list[Deleted | Failed]:
        """Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself."""
        hidden = plans.hidden_all("delete", tokens)
        del tokens
        return self._call(plans.delete, hidden, options)

    def gather(self, *, stop: Stop | None = None) -> Gathering[R]:
        """Calls that are made together: within `with`, they are noted, and at its end sent in as few requests as can be.

        ```python
        with lunasec.gather() as page:
            names = [page.detokenize(row.name) for row in rows]
        for name in names:
            print(name.result())
        ```
        """
        return Gathering(lambda: self._view, self._made, self._answer, stop)


class LunaSec(Reader[R]):
    """The sidecar, for threads and scripts. Make one for each process: it connects with its first call, and a process that
    was forked connects anew.

    ```python
    lunasec = LunaSec()
    token = lunasec.tokenize("4111 1111 1111 1111").token
    lunasec.detokenize(token).value.reveal()
    ```

    `R` is what its reads come to. Under another policy than `fail`, a type checker asks for a look before there is a
    value."""

    @overload
    def __init__(self: LunaSec[Value], *, on_unavailable: Fail = ..., **options: Unpack[ClientOptions]) -> None: ...
    @overload
    def __init__(self: LunaSec[Value | Masked], *, on_unavailable: Masks, **options: Unpack[ClientOptions]) -> None: ...
    @overload
    def __init__(
        self: LunaSec[Value | Fallback[F]], *, on_unavailable: FallbackTo[F], **options: Unpack[ClientOptions]
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        said = plans.said(namespace, purpose, jwt)
        del jwt
        engine: Engine[httpx.BaseTransport] = Engine(
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
        view = plans.view_of(engine, False, said, on_unavailable, deadline)
        super().__init__(view, _pilot_of(engine))

    @overload
    def with_options(self, **options: Unpack[ViewOptions]) -> LunaSec[R]: ...
    @overload
    def with_options(self, *, on_unavailable: Fail, **options: Unpack[ViewOptions]) -> LunaSec[Value]: ...
    @overload
    def with_options(self, *, on_unavailable: Masks, **options: Unpack[ViewOptions]) -> LunaSec[Value | Masked]: ...
    @overload
    def with_options(
        self, *, on_unavailable: FallbackTo[F], **options: Unpack[ViewOptions]
    ) -> LunaSec[Value | Fallback[F]]: ...
    def with_options(self, **options: Any) -> LunaSec[Any]:
        """The same client, with something otherwise: another namespace, purpose, policy or deadline."""
        return self._with(plans.otherwise(self._view, options))

    def _with(self, view: View) -> LunaSec[Any]:
        other: LunaSec[Any] = LunaSec.__new__(LunaSec)
        Reader.__init__(other, view, self._pilot)
        return other

    def for_session(self, session: str, *, jwt: str | None = None) -> LunaSecSession[R]:
        """The same client, for one session of one of your users: any text of 1 to 1,024 bytes that the application knows
        the user's session by, without control characters and without a space at either end. `jwt` proves it where the
        sidecar has issuers."""
        view = plans.in_session(self._view, session, jwt)
        del session, jwt
        return LunaSecSession(right(view), self._pilot)

    def status(self, **options: Unpack[CallOptions]) -> Status:
        """What the sidecar says of itself and of what it needs."""
        return self._call(plans.status, options)

    def ready(self, **options: Unpack[CallOptions]) -> None:
        """Waits until the sidecar answers. Raises `SidecarUnreachable` if it does not in time."""
        self.status(**options)

    def close(self) -> None:
        """Closes the connections, of all views. Calls after it raise."""
        self._pilot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LunaSecSession(Reader[R]):
    """A client that speaks for one session of one end user: what it grants, verifies and reveals is that session's, so
    that no two ids can be mixed up. Made by `LunaSec.for_session`."""

    def grant(
        self,
        tokens: Iterable[TokenLike],
        *,
        expires_in: str | timedelta | None = None,
        actions: Sequence[Action] | None = None,
        **options: Unpack[CallOptions],
    ) -> list[Granted | Failed]:
        """Lets the session do something with 1 to 1,000 tokens, for a time: 15 minutes unless said, `detokenize` and
        `metadata` unless said."""
        hidden = plans.hidden_all("grant", tokens)
        del tokens
        return self._call(plans.grant, hidden, expires_in, actions, options)

    def verify(
        self, tokens: Iterable[TokenLike], *, action: Action | None = None, **options: Unpack[CallOptions]
    ) -> list[Valid | Invalid | Failed]:
        """Asks whether the session may do something with 1 to 1,000 tokens. No policy stands in for it: where nobody
        knows, items are `Failed` or the call raises, and neither is a yes."""
        hidden = plans.hidden_all("verify", tokens)
        del tokens
        return self._call(plans.verify, hidden, action, options)

    def revoke(self, tokens: Iterable[TokenLike], **options: Unpack[CallOptions]) -> Revoked:
        """Takes back all that the session was granted for 1 to 1,000 tokens."""
        hidden = plans.hidden_all("revoke", tokens)
        del tokens
        return self._call(plans.revoke, hidden, options)

    def revoke_all(self, **options: Unpack[CallOptions]) -> Revoked:
        """Takes back all that the session was granted: for a logout."""
        return self._call(plans.revoke, None, options)


_PILOTS: weakref.WeakSet[Pilot] = weakref.WeakSet()


def _pilot_of(engine: Engine[Any]) -> Pilot:
    pilot = Pilot(engine)
    _PILOTS.add(pilot)
    return pilot


def _forked() -> None:
    for pilot in list(_PILOTS):
        pilot.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
