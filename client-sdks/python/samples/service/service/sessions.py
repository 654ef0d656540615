"""Who is logged in. In memory: a sample's agents log in again after a restart."""

from __future__ import annotations

import secrets

from fastapi import HTTPException
from starlette.requests import HTTPConnection

COOKIE = "session"


class Sessions:
    def __init__(self) -> None:
        self._agents: dict[str, str] = {}

    def begin(self, agent: str) -> str:
        session = secrets.token_urlsafe(32)
        self._agents[session] = agent
        return session

    def end(self, session: str | None) -> None:
        self._agents.pop(session or "", None)

    def of(self, connection: HTTPConnection) -> str | None:
        """The session of a request: only one that was begun here is one."""
        session = connection.cookies.get(COOKIE)
        return session if session in self._agents else None

    def required(self, connection: HTTPConnection) -> str:
        session = self.of(connection)
        if session is None:
            raise HTTPException(401, "log in first")
        return session
