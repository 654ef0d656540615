"""Interceptors of grpc.aio."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal

import grpc
import grpc.aio

from .._hiding import Held
from .._rules import Asks, Role, carry_out_async
from ..aio import AsyncLunaSec
from ..errors import LunaSecError
from .caller import UNKNOWN, Caller, Rules, Sent, ServerCall, SessionOf, said_of
from .plan import Described, MethodPlans
from .status import status_of
from .sync import OnError, _Ended, _ServerInterceptor, _wrapped

_EOF: Any = getattr(grpc.aio, "EOF")  # noqa: B009


def aio_server_interceptor(
    lunasec: AsyncLunaSec[Any],
    protos: Iterable[Described],
    *,
    session: SessionOf = None,
    on_unavailable: Any = None,
    edge: Literal["server", "client"] = "server",
    on_error: OnError | None = None,
    other_methods: Literal["refuse", "pass"] = "refuse",
) -> grpc.aio.ServerInterceptor:
    """As `server_interceptor`, for `grpc.aio.server`. `session` may be awaited."""
    role: Role = "server" if edge == "server" else "behind"
    rules = Rules(protos, role, on_unavailable, True, lunasec._view.policy, session is not None)
    return _AioServerInterceptor(lunasec, rules, session, on_error, other_methods == "pass")


class _AioServerInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    def __init__(
        self, lunasec: AsyncLunaSec[Any], rules: Rules, session: SessionOf, on_error: OnError | None, passes: bool
    ) -> None:
        self._lunasec = lunasec
        self._rules = rules
        self._session = session
        self._on_error = on_error
        self._passes = passes

    told = _ServerInterceptor.told

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        details = handler_call_details
        handler = await continuation(details)
        plans = self._rules.of(details.method)
        if handler is None or details.method.startswith("/grpc."):
            return handler
        if plans is None:
            return handler if self._passes else _refusing(handler)
        if plans == (None, None):
            return handler
        return _wrapped(handler, lambda inner: self._behavior(handler, inner, plans, details))

    def _behavior(self, handler: Any, inner: Any, plans: MethodPlans, details: Any) -> Any:
        async def one(request: Any, context: Any) -> Any:
            work = _Work(self, plans, context, details)
            held = Held(request)
            del request

            async def handled() -> Any:
                given = inner(await work.requests(held, handler.request_streaming), _Context(context, work))
                return await work.let_out(await _awaited(given))

            return await work.guarded(handled)

        async def many(request: Any, context: Any) -> AsyncIterator[Any]:
            work = _Work(self, plans, context, details)
            held = Held(request)
            del request

            async def begun() -> Any:
                return inner(await work.requests(held, handler.request_streaming), _Context(context, work))

            answers = await work.guarded(begun)
            if not hasattr(answers, "__anext__"):
                # It writes by itself.
                await work.guarded(lambda: _awaited(answers))
                return

            async def following() -> Any:
                return await work.let_out(await answers.__anext__())

            try:
                while True:
                    try:
                        answer = await work.guarded(following)
                    except StopAsyncIteration:
                        return
                    yield answer
            finally:
                await answers.aclose()

        return many if handler.response_streaming else one


async def _awaited(given: Any) -> Any:
    if not inspect.isawaitable(given):
        raise TypeError("handlers of grpc.aio behind LunaSec's interceptor are coroutines, or asynchronous generators")
    return await given


class _Context:
    """The handler's context, whose reads and writes are messages like any other."""

    def __init__(self, context: Any, work: _Work) -> None:
        self._context = context
        self._work = work

    async def read(self) -> Any:
        held = Held(await self._context.read())
        return _EOF if held.seen() is _EOF else await self._work.take_in(held)

    async def write(self, message: Any) -> None:
        await self._context.write(await self._work.let_out(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


class _Work:
    """The messages of one call. One that is cancelled gives up what it asked: it is its task."""

    def __init__(self, interceptor: _AioServerInterceptor, plans: MethodPlans, context: Any, details: Any) -> None:
        self._interceptor = interceptor
        self._rules = interceptor._rules
        self._plans = plans
        self._context = context
        self._method: str = details.method
        metadata = tuple(details.invocation_metadata or ())
        call = ServerCall(self._method, metadata, context.peer())
        self._caller = Caller(interceptor._lunasec, lambda: said_of(interceptor._session, call), far=True)
        self._wrong: tuple[LunaSecError, bool] | None = None

    async def guarded(self, handler: Callable[[], Any]) -> Any:
        """What the handler gives; ends the call where its messages came to an error."""
        try:
            given = await handler()
        except _Ended:
            given = None
        except LunaSecError as error:
            self._wrong = self._wrong or (error, False)
            given = None
        if self._wrong is not None:
            wrong, of_answer = self._wrong
            self._interceptor.told(wrong, self._method)
            code, words, trailing = status_of(wrong, of_answer)
            await self._context.abort(code, words, trailing)
        return given

    async def requests(self, held: Held[Any], streaming: bool) -> Any:
        if self._plans.request is None:
            return held.take()
        return self._stream(held.take()) if streaming else await self.take_in(held)

    async def _stream(self, requests: Any) -> AsyncIterator[Any]:
        async for held in _each_held(requests):
            yield await self.take_in(held)

    async def take_in(self, held: Held[Any]) -> Any:
        plan = self._plans.request
        if plan is None:
            return held.take()
        return await self._carried(lambda: self._rules.take_in(plan, held), False)

    async def let_out(self, message: Any) -> Any:
        plan = self._plans.response
        if plan is None or message is None or self._wrong is not None:
            return message
        held = Held(message)
        del message
        return await self._carried(lambda: self._rules.let_out(plan, held), True)

    async def _carried(self, open_: Callable[[], tuple[Held[Any], Asks]], of_answer: bool) -> Any:
        try:
            copy, asks = open_()
            await carry_out_async(asks, self._caller.atarget, self._options)
            return copy.take()
        except LunaSecError as error:
            self._wrong = error.with_traceback(None), of_answer
        raise _Ended

    def _options(self, ask: Any) -> dict[str, Any]:
        return self._rules.deadline(ask, self._interceptor._lunasec, self._context.time_remaining())


def _refusing(handler: Any) -> Any:
    async def one(request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.INTERNAL, UNKNOWN)

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        await context.abort(grpc.StatusCode.INTERNAL, UNKNOWN)
        yield

    return _wrapped(handler, lambda _: many if handler.response_streaming else one)


def aio_client_interceptors(
    lunasec: AsyncLunaSec[Any],
    protos: Iterable[Described],
    *,
    session: str | tuple[str, str | None] | Callable[[], Any] | None = None,
    on_unavailable: Any = None,
    other_methods: Literal["refuse", "pass"] = "refuse",
) -> list[Any]:
    """As `client_interceptors`, for `grpc.aio.insecure_channel(..., interceptors=aio_client_interceptors(...))`: grpc.aio
    wants one for each kind of call."""
    rules = Rules(protos, "client", on_unavailable, True, lunasec._view.policy, session is not None)
    kinds = (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    return [kind(lunasec, rules, session, other_methods == "pass") for kind in kinds]


class _Client:
    def __init__(self, lunasec: AsyncLunaSec[Any], rules: Rules, session: Any, passes: bool) -> None:
        self._lunasec = lunasec
        self._rules = rules
        self._session = session
        self._passes = passes

    def _sent(self, details: Any) -> tuple[Sent, Caller]:
        session = self._session
        caller = Caller(self._lunasec, session if callable(session) else lambda: session)
        return Sent(self._rules, details, self._passes), caller

    async def _in(self, sent: Sent, caller: Caller, held: Held[Any]) -> Any:
        plan = sent.plans.request
        if plan is None:
            return held.take()
        return await self._carried(lambda: self._rules.take_in(plan, held), sent, caller)

    async def _out(self, sent: Sent, caller: Caller, held: Held[Any]) -> Any:
        plan = sent.plans.response
        if plan is None:
            return held.take()
        return await self._carried(lambda: self._rules.let_out(plan, held), sent, caller)

    async def _carried(self, open_: Callable[[], tuple[Held[Any], Asks]], sent: Sent, caller: Caller) -> Any:
        copy, asks = open_()
        await carry_out_async(asks, caller.atarget, lambda ask: self._rules.deadline(ask, self._lunasec, sent.left()))
        return copy.take()

    async def _sending(self, sent: Sent, caller: Caller, requests: Any) -> AsyncIterator[Any]:
        if hasattr(requests, "__aiter__"):
            async for held in _each_held(requests):
                yield await self._in(sent, caller, held)
        else:
            for held in map(Held, requests):
                yield await self._in(sent, caller, held)

    async def _receiving(self, sent: Sent, caller: Caller, call: Any) -> AsyncIterator[Any]:
        async for held in _each_held(call):
            yield await self._out(sent, caller, held)


async def _each_held(messages: Any) -> AsyncIterator[Held[Any]]:
    async for each in messages:
        held = Held(each)
        del each
        yield held


class _UnaryUnary(_Client, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        held = Held(request)
        del request
        sent, caller = self._sent(details)
        message = Held(await self._in(sent, caller, held))
        call = await continuation(sent.details(), message.take())
        return await self._out(sent, caller, Held(await call))


class _UnaryStream(_Client, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        details = client_call_details
        held = Held(request)
        del request
        sent, caller = self._sent(details)
        message = Held(await self._in(sent, caller, held))
        call = await continuation(sent.details(), message.take())
        return self._receiving(sent, caller, call)


class _StreamUnary(_Client, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        details = client_call_details
        sent, caller = self._sent(details)
        call = await continuation(details, self._sending(sent, caller, request_iterator))
        return _Answer(call, lambda held: self._out(sent, caller, held))


class _Answer:
    """A call whose result is worked on when it is awaited: of this kind, grpc.aio wants the call itself."""

    def __init__(self, call: Any, work: Callable[[Any], Any]) -> None:
        self._call = call
        self._work = work

    def __await__(self) -> Any:
        return self._answered().__await__()

    async def _answered(self) -> Any:
        return await self._work(Held(await self._call))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _StreamStream(_Client, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[misc]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        details = client_call_details
        sent, caller = self._sent(details)
        call = await continuation(details, self._sending(sent, caller, request_iterator))
        return self._receiving(sent, caller, call)
