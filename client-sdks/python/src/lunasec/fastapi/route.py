"""Routes whose bodies come in tokenized and verified, and go out granted and revealed, as the rules of their models say."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, Final

from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from .._limits import FIELDS
from .._words import told
from ..errors import PayloadTooLarge
from ..pydantic import _IN, _SHOW, Collected, collected_out, using
from .request import RequestLunaSec, of_connection

_REQUEST: Final[ContextVar[Request]] = ContextVar("lunasec_request")


class LunaSecRoute(APIRoute):
    """`APIRouter(route_class=LunaSecRoute)`; `install` has it for the whole application."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self._lunasec_adapter: TypeAdapter[Any] | None = None
        super().__init__(path, self._carrying_out(endpoint), **options)
        # The endpoint's own annotation counts, as FastAPI reads it.
        if self.response_field is not None:
            self._lunasec_adapter = TypeAdapter(self.response_model)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            of_connection(request)
            token = _SHOW.set(None)
            try:
                with using(_IN, Collected()):
                    _REQUEST.set(request)
                    return await handle(request)
            finally:
                _SHOW.reset(token)

        return handler

    def _carrying_out(self, endpoint: Callable[..., Any]) -> Callable[..., Any]:
        """The endpoint, called once what came in is tokens; what it gives, with what it may show."""

        @functools.wraps(endpoint)
        async def carrying_out(*arguments: Any, **named: Any) -> Any:
            lunasec = of_connection(_REQUEST.get())
            await _take_in(lunasec)
            if inspect.iscoroutinefunction(endpoint):
                result = await endpoint(*arguments, **named)
            else:
                result = await run_in_threadpool(endpoint, *arguments, **named)
            return await self._let_out(lunasec, result)

        carrying_out.__signature__ = _signature(endpoint)  # type: ignore[attr-defined]
        return carrying_out

    async def _let_out(self, lunasec: RequestLunaSec, result: Any) -> Any:
        if isinstance(result, Response) or result is None:
            return result
        adapter = self._lunasec_adapter
        if adapter is not None:
            result = adapter.validate_python(result, from_attributes=True)
        collected = collected_out(result, adapter)
        _bounded(collected)
        await lunasec.carry_out(collected.outgoing(lunasec.on_unavailable))
        _SHOW.set(collected)
        return result


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
        hints = typing.get_type_hints(endpoint, include_extras=True)
    except (NameError, TypeError):
        return signature
    parameters = [
        each.replace(annotation=hints.get(name, each.annotation)) for name, each in signature.parameters.items()
    ]
    returned = hints.get("return", signature.return_annotation)
    # As it is written: FastAPI knows `None`, and takes its type for a model.
    return signature.replace(parameters=parameters, return_annotation=None if returned is type(None) else returned)
