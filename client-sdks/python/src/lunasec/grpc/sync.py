"""Interceptors of grpcio's threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import grpc

from .._hiding import Held
from .._rules import Asks, Role, carry_out
from .._stop import Stop
from ..client import LunaSec
from ..errors import LunaSecError
from .caller import UNKNOWN, Caller, Rules, Sent, ServerCall, SessionOf, said_of
from .plan import Described, MethodPlans, Plan
from .status import status_of

OnError = Callable[[LunaSecError, str], None]


class _Ended(Exception):
    """Ends a handler whose requests came to an error; the call's status is that error's."""


def server_interceptor(
    lunasec: LunaSec[Any],
    protos: Iterable[Described],
    *,
    session: SessionOf = None,
    on_unavailable: Any = None,
    edge: Literal["server", "client"] = "server",
    on_error: OnError | None = None,
    other_methods: Literal["refuse", "pass"] = "refuse",
) -> grpc.ServerInterceptor:
    """Carries out what the .proto files of `protos` say of fields; raises `FieldRuleError` where that cannot be done.
    `edge="client"`: clients tokenize and reveal, and this server refuses what is not tokenized."""
    role: Role = "server" if edge == "server" else "behind"
    rules = Rules(protos, role, on_unavailable, False, lunasec._view.policy, session is not None)
    return _ServerInterceptor(lunasec, rules, session, on_error, other_methods == "pass")


class _ServerInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    def __init__(
        self, lunasec: LunaSec[Any], rules: Rules, session: SessionOf, on_error: OnError | None, passes: bool
    ) -> None:
        self._lunasec = lunasec
        self._rules = rules
        self._session = session
        self._on_error = on_error
        self._passes = passes

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        details = handler_call_details
        handler = continuation(details)
        plans = self._rules.of(details.method)
        if handler is None or details.method.startswith("/grpc."):
            return handler
        if plans is None:
            return handler if self._passes else _refusing(handler)
        if plans == (None, None):
            return handler
        return _wrapped(handler, lambda inner: self._behavior(handler, inner, plans, details))

    def _behavior(self, handler: Any, inner: Any, plans: MethodPlans, details: Any) -> Any:
        def one(request: Any, context: Any) -> Any:
            work = _Work(self, plans, context, details)
            held = Held(request)
            del request
            return work.guarded(lambda: work.let_out(inner(work.requests(held, handler.request_streaming), context)))

        def many(request: Any, context: Any) -> Iterator[Any]:
            work = _Work(self, plans, context, details)
            held = Held(request)
            del request
            answers = iter(())
            answers = work.guarded(lambda: inner(work.requests(held, handler.request_streaming), context))
            try:
                while True:
                    try:
                        answer = work.guarded(lambda: work.let_out(next(answers)))
                    except StopIteration:
                        return
                    yield answer
            finally:
                close = getattr(answers, "close", None)
                if close is not None:
                    close()

        return many if handler.response_streaming else one

    def told(self, error: LunaSecError, method: str) -> None:
        if self._on_error is not None:
            try:
                self._on_error(error, method)
            except Exception as thrown:
                import warnings

                warnings.warn(f"on_error of LunaSec's interceptor raised {type(thrown).__name__}", stacklevel=2)


class _Work:
    """The messages of one call."""

    def __init__(self, interceptor: _ServerInterceptor, plans: MethodPlans, context: Any, details: Any) -> None:
        self._interceptor = interceptor
        self._rules = interceptor._rules
        self._plans = plans
        self._context = context
        self._method: str = details.method
        metadata = tuple(details.invocation_metadata or ())
        call = ServerCall(self._method, metadata, context.peer())
        self._caller = Caller(interceptor._lunasec, lambda: said_of(interceptor._session, call), far=True)
        self._stop = Stop()
        self._wrong: tuple[LunaSecError, bool] | None = None
        # Whoever called may be gone before there is an answer.
        if not context.add_callback(self._stop.set):
            self._stop.set()

    def guarded(self, handler: Callable[[], Any]) -> Any:
        """What the handler gives; ends the call where its messages came to an error."""
        try:
            given = handler()
        except _Ended:
            given = None
        except LunaSecError as error:
            # A handler's own calls may fail, too, and are answered alike.
            self._wrong = self._wrong or (error, False)
            given = None
        # A handler may have let it pass.
        if self._wrong is not None:
            wrong, of_answer = self._wrong
            self._interceptor.told(wrong, self._method)
            code, words, trailing = status_of(wrong, of_answer)
            self._context.set_trailing_metadata(trailing)
            self._context.abort(code, words)
        return given

    def requests(self, held: Held[Any], streaming: bool) -> Any:
        plan = self._plans.request
        if plan is None:
            return held.take()
        return self._stream(plan, held.take()) if streaming else self._take_in(plan, held)

    def _stream(self, plan: Plan, requests: Any) -> Iterator[Any]:
        for held in map(Held, requests):
            yield self._take_in(plan, held)

    def _take_in(self, plan: Plan, held: Held[Any]) -> Any:
        return self._carried(lambda: self._rules.take_in(plan, held), False)

    def let_out(self, message: Any) -> Any:
        plan = self._plans.response
        if plan is None or message is None or self._wrong is not None:
            return message
        held = Held(message)
        del message
        return self._carried(lambda: self._rules.let_out(plan, held), True)

    def _carried(self, open_: Callable[[], tuple[Held[Any], Asks]], of_answer: bool) -> Any:
        try:
            copy, asks = open_()
            carry_out(asks, self._caller.target, self._options)
            return copy.take()
        except LunaSecError as error:
            self._wrong = error.with_traceback(None), of_answer
        raise _Ended

    def _options(self, ask: Any) -> dict[str, Any]:
        left = self._context.time_remaining()
        return {"stop": self._stop, **self._rules.deadline(ask, self._interceptor._lunasec, left)}


def _wrapped(handler: Any, around: Callable[[Any], Any]) -> Any:
    """The same handler, with another behaviour."""
    kinds = {
        (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
        (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
        (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
        (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
    }
    name, make = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(around(getattr(handler, name)), handler.request_deserializer, handler.response_serializer)


def _refusing(handler: Any) -> Any:
    def refuse(request: Any, context: Any) -> Any:
        context.abort(grpc.StatusCode.INTERNAL, UNKNOWN)

    return _wrapped(handler, lambda _: refuse)


def client_interceptors(
    lunasec: LunaSec[Any],
    protos: Iterable[Described],
    *,
    session: str | tuple[str, str | None] | Callable[[], Any] | None = None,
    on_unavailable: Any = None,
    other_methods: Literal["refuse", "pass"] = "refuse",
) -> list[Any]:
    """For `grpc.intercept_channel(channel, *client_interceptors(...))`, where the server says `edge="client"`: requests are
    tokenized before they leave, and responses revealed when they are here. Methods that are in none of `protos` are refused:
    their values would leave as they are."""
    rules = Rules(protos, "client", on_unavailable, False, lunasec._view.policy, session is not None)
    return [_ClientInterceptor(lunasec, rules, session, other_methods == "pass")]


class _ClientInterceptor(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    def __init__(self, lunasec: LunaSec[Any], rules: Rules, session: Any, passes: bool) -> None:
        self._lunasec = lunasec
        self._rules = rules
        self._session = session
        self._passes = passes

    def _caller(self) -> Caller:
        session = self._session
        return Caller(self._lunasec, session if callable(session) else lambda: session)

    def _sent(self, details: Any) -> tuple[Sent, Caller]:
        return Sent(self._rules, details, self._passes), self._caller()

    def _in(self, sent: Sent, caller: Caller, held: Held[Any]) -> Any:
        plan = sent.plans.request
        return held.take() if plan is None else self._carried(lambda: self._rules.take_in(plan, held), sent, caller)

    def _out(self, sent: Sent, caller: Caller, held: Held[Any]) -> Any:
        plan = sent.plans.response
        return held.take() if plan is None else self._carried(lambda: self._rules.let_out(plan, held), sent, caller)

    def _carried(self, open_: Callable[[], tuple[Held[Any], Asks]], sent: Sent, caller: Caller) -> Any:
        copy, asks = open_()
        carry_out(asks, caller.target, lambda ask: self._rules.deadline(ask, self._lunasec, sent.left()))
        return copy.take()

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        held = Held(request)
        del request
        sent, caller = self._sent(details)
        message = Held(self._in(sent, caller, held))
        call = continuation(sent.details(), message.take())
        return _Answer(call, lambda held: self._out(sent, caller, held))

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        held = Held(request)
        del request
        sent, caller = self._sent(details)
        message = Held(self._in(sent, caller, held))
        call = continuation(sent.details(), message.take())
        return _Answers(call, lambda held: self._out(sent, caller, held))

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        details = client_call_details
        sent, caller = self._sent(details)
        requests = _Requests(request_iterator, lambda held: self._in(sent, caller, held))
        call = continuation(sent.details(), requests)
        return _Answer(call, lambda held: self._out(sent, caller, held), requests)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        details = client_call_details
        sent, caller = self._sent(details)
        requests = _Requests(request_iterator, lambda held: self._in(sent, caller, held))
        call = continuation(sent.details(), requests)
        return _Answers(call, lambda held: self._out(sent, caller, held), requests)


class _Requests:
    """What a stream sends. What went wrong with one is told to who made the call: grpcio would only cancel it."""

    def __init__(self, requests: Iterable[Any], work: Callable[[Any], Any]) -> None:
        self._requests = iter(requests)
        self._work = work
        self.wrong: LunaSecError | None = None

    def __iter__(self) -> _Requests:
        return self

    def __next__(self) -> Any:
        try:
            return self._work(Held(next(self._requests)))
        except LunaSecError as error:
            self.wrong = error
            raise


class _Answer:
    """A call whose result is worked on when it is asked for, once."""

    def __init__(self, call: Any, work: Callable[[Any], Any], sent: _Requests | None = None) -> None:
        self._call = call
        self._work = work
        self._sent = sent
        self._done: list[Any] = []

    def result(self, timeout: float | None = None) -> Any:
        if not self._done:
            self._done.append(self._work(Held(_or_wrong(lambda: self._call.result(timeout), self._sent))))
        return self._done[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _Answers:
    """A stream of which each answer is worked on when it comes."""

    def __init__(self, call: Any, work: Callable[[Any], Any], sent: _Requests | None = None) -> None:
        self._call = call
        self._work = work
        self._sent = sent

    def __iter__(self) -> _Answers:
        return self

    def __next__(self) -> Any:
        answer = Held(_or_wrong(lambda: next(self._call), self._sent))
        try:
            return self._work(answer)
        except LunaSecError:
            # Nobody reads what comes after it.
            self._call.cancel()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def _or_wrong(given: Callable[[], Any], sent: _Requests | None) -> Any:
    wrong: LunaSecError
    try:
        return given()
    except grpc.RpcError:
        if sent is None or sent.wrong is None:
            raise
        wrong = sent.wrong
    raise wrong
