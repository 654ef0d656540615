"""A request and an answer in the contract's words, whatever the wire."""

import json
from dataclasses import dataclass, field

from . import words
from .pattern import Mismatch


@dataclass
class Request:
    """`body` is JSON. Where there is no request of the contract's, whatever a script says, `unread` says why."""

    method: str
    path: str
    headers: dict
    body: bytes
    unread: str | None = None

    def said(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise Mismatch("its body is not JSON") from None


@dataclass
class Answer:
    """`text` is there instead of `body` where the bytes matter. `headers` are those that a script names, of which None
    leaves one out that is always there."""

    status: int
    headers: dict
    body: object = None
    text: str | None = None
    # In how many parts the body comes.
    parts: int = field(default=1)


def answered(variables, said):
    """What a script says, with its variables and repetitions written out."""
    status = variables.expand(said.get("status", 200))
    headers = variables.expand(said.get("headers", {}))
    if "body_text" in said:
        return Answer(status, headers, text=variables.text(said["body_text"]))
    return Answer(status, headers, body=words.repeated(variables.expand(said["body"])))
