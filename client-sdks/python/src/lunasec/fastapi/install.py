"""An application's share: a middleware, a class of routes, two answers to errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..aio import AsyncLunaSec
from ..errors import LunaSecError
from .problems import answer_invalid, answer_problem
from .request import RequestLunaSec, SessionOf
from .route import LunaSecRoute


class LunaSecMiddleware:
    """Gives each request its `request.state.lunasec`. For Starlette, and for FastAPI without typed fields; put it behind
    what finds the session, which is: added before that.

    `session` gives the text that the application knows a user's session by, also async, or that and a JWT, or None. Do
    not take it from what a user can simply write."""

    def __init__(self, app: ASGIApp, client: AsyncLunaSec[Any], session: SessionOf | None = None) -> None:
        self._app = app
        self._client = client
        self._session = session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if isinstance(state.get("lunasec"), RequestLunaSec):
            raise RuntimeError("two LunaSecMiddlewares for one request: its session would be that of either")
        lunasec = state["lunasec"] = RequestLunaSec(self._client, self._session, HTTPConnection(scope))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                _say(lunasec, MutableHeaders(scope=message))
            await send(message)

        await self._app(scope, receive, sending)


def _say(lunasec: RequestLunaSec, headers: MutableHeaders) -> None:
    notes = lunasec.notes
    if notes.degraded:
        headers["lunasec-degraded"] = ",".join(sorted(notes.reasons))
    if notes.revealed:
        headers.setdefault("cache-control", "no-store")


def install(app: FastAPI, client: AsyncLunaSec[Any], session: SessionOf | None = None) -> None:
    """All of it: before the application's routes are declared."""
    # Not those of the documentation, which FastAPI declares itself.
    if any(getattr(route, "include_in_schema", False) for route in app.router.routes):
        raise RuntimeError("install() comes before the routes: those that were declared already would go without")
    app.add_middleware(LunaSecMiddleware, client=client, session=session)
    app.router.route_class = LunaSecRoute
    app.add_exception_handler(LunaSecError, answer_problem)
    app.add_exception_handler(RequestValidationError, answer_invalid)
