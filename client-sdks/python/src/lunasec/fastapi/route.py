"""Routes whose bodies come in tokenized and verified, and go out granted and revealed, as the rules of their models say."""

from __future__ import annotations

import functools
import inspect
import typing
import warnings
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
)
from contextvars import ContextVar
from typing import Any, Final

from fastapi.encoders import jsonable_encoder
from fastapi.routing import APIRoute
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .._declared import annotated, let_past, refuse_misplaced, words_in
from .._hiding import Held, right
from .._limits import FIELDS
from .._rules import Rule
from .._words import told
from ..errors import PayloadTooLarge
from ..pydantic import _IN, _SHOW, Collected, collected_out, rules_in, using, validated
from .request import RequestLunaSec, of_connection

_GENERATED: Final = (AsyncIterator, AsyncIterable, AsyncGenerator, Iterator, Iterable, Generator)
_REQUEST: Final[ContextVar[Request]] = ContextVar("lunasec_request")


class LunaSecRoute(APIRoute):
    """`APIRouter(route_class=LunaSecRoute)`; `install` has it for the whole application."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._lunasec_adapter: TypeAdapter[Any] | None = None
        if _generates(endpoint):
            _refuse_tokens(endpoint)
            super().__init__(path, endpoint, **options)
            return
        super().__init__(path, self._carrying_out(endpoint), **options)
        self._look_at_what_comes_in(endpoint)
        # The endpoint's own annotation counts, as FastAPI reads it.
        if self.response_field is not None:
            self._lunasec_adapter = TypeAdapter(self.response_model)

    def _look_at_what_comes_in(self, endpoint: Callable[..., Any]) -> None:
        #: What mistakes may name, where there are tokens.
        self.lunasec_words: set[str] | None = None
        words = {"body", "query", "path", "header", "cookie"}
        rules: list[Rule] = []
        for field in _taken(self.dependant):
            words.update((field.name, field.alias))
            adapter = _adapter_of(annotated(field.field_info))
            if adapter is None:
                continue
            rules += rules_in(adapter)
            refuse_misplaced(adapter.core_schema)
            words |= words_in(adapter.core_schema)
            past = let_past(adapter.core_schema)
            if past is not None:
                name = getattr(endpoint, "__name__", type(endpoint).__name__)
                warnings.warn(
                    f"{name}: {field.name} is a union of a token that is tokenized and of {past}: what is taken for that "
                    "comes in as it is, and is tokenized by nobody",
                    stacklevel=5,
                )
        if rules:
            self.lunasec_words = words

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            of_connection(request)
            # Taken back, each of them: a dependency may call this application in its own task, as another session.
            tokens = _REQUEST.set(request), _SHOW.set(None)
            try:
                with using(_IN, Collected(type(request).json is Request.json, texts=True)):
                    return await handle(request)
            finally:
                _REQUEST.reset(tokens[0])
                _SHOW.reset(tokens[1])

        return handler

    def _carrying_out(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """The endpoint, called once what came in is tokens; what it gives, with what it may show."""

        @functools.wraps(endpoint)
        async def carrying_out(*arguments: Any, **named: Any) -> Any:
            lunasec = of_connection(_REQUEST.get())
            await _take_in(lunasec)
            if inspect.iscoroutinefunction(_called(endpoint)):
                result = Held(await endpoint(*arguments, **named))
            else:
                given = Held(await run_in_threadpool(endpoint, *arguments, **named))
                # Of a function that only gives what another one awaits.
                result = Held(await _awaited(given))
            return await self._let_out(lunasec, result)

        carrying_out.__name__ = getattr(endpoint, "__name__", type(endpoint).__name__)
        carrying_out.__signature__ = _signature(endpoint)  # type: ignore[attr-defined]
        return carrying_out

    async def _let_out(self, lunasec: RequestLunaSec, held: Held[Any]) -> Any:
        result = held.take()
        if isinstance(result, Response) or result is None:
            return result
        held = Held(result)
        del result
        adapter = self._lunasec_adapter
        if adapter is not None:
            held = Held(right(validated(adapter, held, from_attributes=True)))
        collected = collected_out(lambda: self._dumped(held))
        _bounded(collected)
        await lunasec.carry_out(collected.outgoing(lunasec.on_unavailable))
        _SHOW.set(collected)
        return held.take()

    def _dumped(self, held: Held[Any]) -> None:
        """As FastAPI will: what does not go out is neither granted nor revealed."""
        if self._lunasec_adapter is None:
            jsonable_encoder(held.seen())
            return
        self._lunasec_adapter.dump_python(
            held.seen(),
            mode="json",
            warnings=False,
            include=self.response_model_include,
            exclude=self.response_model_exclude,
            by_alias=self.response_model_by_alias,
            exclude_unset=self.response_model_exclude_unset,
            exclude_defaults=self.response_model_exclude_defaults,
            exclude_none=self.response_model_exclude_none,
        )


async def _awaited(held: Held[Any]) -> Any:
    return await held.take() if inspect.isawaitable(held.seen()) else held.take()


def _called(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is called: of an object its `__call__`."""
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    function = inspect.isroutine(endpoint) or inspect.isclass(endpoint)
    return endpoint if function else endpoint.__call__  # type: ignore[operator]


def _generates(endpoint: Callable[..., Any]) -> bool:
    called = inspect.unwrap(_called(endpoint))
    return inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called)


def _refuse_tokens(endpoint: Callable[..., Any]) -> None:
    """What is generated goes out an item at a time, after the request was worked on: rules would not be carried out."""
    signature = _signature(endpoint)
    taken = [each.annotation for each in signature.parameters.values()]
    if any(rule.comes_in() for kind in taken for rule in _rules_of(kind)) or _rules_of(signature.return_annotation):
        raise TypeError(
            "rules of tokens are not carried out in an endpoint that yields: tokenize and reveal there by LunaSecDep, "
            "and let its models hold text"
        )


def _rules_of(kind: Any) -> list[Any]:
    # Of what is generated, the items.
    generated = typing.get_origin(kind) in _GENERATED and typing.get_args(kind)
    kind = typing.get_args(kind)[0] if generated else kind
    if kind is inspect.Parameter.empty or kind is None:
        return []
    adapter = _adapter_of(kind)
    return [] if adapter is None else rules_in(adapter)


def _adapter_of(kind: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(kind)
    except (PydanticSchemaGenerationError, PydanticUserError, NameError):
        # Nothing that is a body.
        return None


def _taken(dependant: Any) -> Iterator[Any]:
    """All that an endpoint and its dependencies take from a request."""
    for part in ("body_params", "path_params", "query_params", "header_params", "cookie_params"):
        yield from getattr(dependant, part, ())
    for each in dependant.dependencies:
        yield from _taken(each)


async def _take_in(lunasec: RequestLunaSec) -> None:
    collected = _IN.get()
    if collected is not None and collected.slots:
        _bounded(collected)
        # Taken, so that a model that the endpoint itself validates is not one of these.
        await lunasec.carry_out(collected.incoming())
        collected.slots = []


def _bounded(collected: Collected) -> None:
    if len(collected.slots) > FIELDS:
        raise told(PayloadTooLarge(f"a document has at most {FIELDS} values and tokens; send it in several"))


def _signature(endpoint: Callable[..., Any]) -> inspect.Signature:
    """With annotations that mean something here, too: the endpoint may say them as text."""
    signature = inspect.signature(endpoint)
    try:
        hints = typing.get_type_hints(_called(endpoint), include_extras=True)
    except (NameError, TypeError):
        return signature
    parameters = [
        each.replace(annotation=hints.get(name, each.annotation)) for name, each in signature.parameters.items()
    ]
    returned = hints.get("return", signature.return_annotation)
    # As it is written: FastAPI knows `None`, and takes its type for a model.
    return signature.replace(parameters=parameters, return_annotation=None if returned is type(None) else returned)
