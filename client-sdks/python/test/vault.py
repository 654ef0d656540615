"""A sidecar that is a dictionary: for what integrations ask, and for outages at a word."""

from __future__ import annotations

import json
from typing import Any

import httpx

from toy import Json, answer, problem, token


class Vault:
    def __init__(self) -> None:
        self.values: dict[str, Json] = {}
        self.granted: set[tuple[str, str]] = set()
        self.asked: list[tuple[str, Json]] = []
        self.headers: list[httpx.Headers] = []
        self.away: str | None = None
        #: What is away, by how the paths begin.
        self.away_for = "/v1"
        self.degraded: str | None = None
        self.durability = "stored"

    def sync(self) -> httpx.BaseTransport:
        return httpx.MockTransport(self)

    def aio(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self)

    def put(self, value: str) -> str:
        made = token(len(self.values) + 1)
        self.values[made] = {"value": value, "encoding": "utf8"}
        return made

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body: Json = json.loads(request.content) if request.content else {}
        self.asked.append((request.url.path, body))
        self.headers.append(request.headers)
        if self.away is not None and request.url.path.startswith(self.away_for):
            return problem(self.away, 503, True, retry_after_ms=0)
        if request.url.path == "/v1/detokenize" and body["token"] not in self.values:
            return problem("not_found", 404)
        beside = {} if self.degraded is None else {"lunasec_degraded": self.degraded, "age": "7"}
        return answer(self._answer(request.url.path, body), **beside)

    def _answer(self, path: str, body: Json) -> Any:
        if path == "/v1/tokenize":
            return self._made(body)
        if path == "/v1/tokenize:batch":
            return {"items": [self._made(each) for each in body["items"]]}
        if path == "/v1/detokenize:batch":
            return {"items": [{"token": each, **self._value(each)} for each in body["tokens"]]}
        if path == "/v1/detokenize":
            return self._value(body["token"])
        if path == "/v1/grants/revoke":
            self.granted = {each for each in self.granted if each[0] != body["session"]}
            return {"durability": self.durability}
        return {"items": [self._granted(path, body, each) for each in body["tokens"]]}

    def _made(self, item: Json) -> Json:
        made = self.put("")
        self.values[made] = {"value": item["value"], "encoding": item.get("encoding", "utf8")}
        return {"token": made, "durability": self.durability}

    def _value(self, token: str) -> Json:
        return self.values.get(token, {"error": {"code": "not_found", "detail": "no", "retryable": False}})

    def _granted(self, path: str, body: Json, token: str) -> Json:
        at = {"token": token, "expires_at": "2030-01-02T03:04:05Z"}
        if path == "/v1/grants/create":
            self.granted.add((body["session"], token))
            return {**at, "durability": self.durability}
        if token not in self.values:
            return {"token": token, "error": {"code": "not_found", "detail": "no", "retryable": False}}
        if (body["session"], token) in self.granted:
            return {**at, "valid": True}
        return {"token": token, "valid": False, "reason": "denied"}
