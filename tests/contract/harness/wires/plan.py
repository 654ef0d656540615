"""What the sidecar sends in gRPC where it would give an answer in HTTP: a head, data, and what comes after."""

import json
from dataclasses import dataclass

from ..cases import METHODS
from ..exchange import Answer
from . import failures, messages

GRPC = "application/grpc"
# What an answer of the contract says of itself in HTTP.
CONTRACT = ("application/json", "application/problem+json")
# Of an answer's head: in gRPC there is none, since details say it.
ONLY_HTTP = ("content-type", "retry-after", "content-length")
PREFIX_BYTES = 5


@dataclass
class Plan:
    """Headers are name and value. Without data and without trailers, the head is all."""

    head: list
    data: list
    trailers: list | None


def plan(path, answer):
    """By what the answer is:

    - a success: a message and its trailers. Its bytes are no message where they are no JSON, and no message comes where
      there are no bytes
    - an error of the contract: trailers only, with what the problem says
    - one whose problem cannot be read: the same, with details that cannot be read
    - another content type, or a status that means nothing here: HTTP itself, as something in between would send it
    """
    named = answer.headers.get("content-type", CONTRACT[0])
    kind = GRPC if kind_of(named) in CONTRACT else named
    ours = kind == GRPC and (answer.status == 200 or answer.status >= 400)
    head = [(":status", "200" if ours else str(answer.status)), *head_of(path, answer, kind)]
    if not ours:
        return Plan(head, [data] if (data := text_of(answer)) else [], None)
    if answer.status >= 400:
        return Plan([*head, *trailers(answer)], [], None)
    return Plan(head, message(path, answer), failures.head(0, ""))


def kind_of(content_type):
    return content_type.split(";")[0].strip() if content_type else content_type


def head_of(path, answer, kind):
    dropped = list(ONLY_HTTP)
    if METHODS.get(messages.ROUTES.get(path)) in messages.SAY_AGE:
        dropped += ["lunasec-degraded", "age"]
    headers = {"lunasec-request-id": "0123456789abcdef", **answer.headers}
    kept = [(name, value) for name, value in headers.items() if name not in dropped and value is not None]
    return [*([("content-type", kind)] if kind is not None else []), *kept]


def text_of(answer):
    text = answer.text if answer.text is not None else json.dumps(answer.body, ensure_ascii=False)
    return text.encode()


def trailers(answer):
    if isinstance(answer.body, dict):
        return failures.trailers(answer.status, answer.body)
    return failures.unreadable_trailers(answer.status, text_of(answer).decode())


def message(path, answer):
    if answer.text == "":
        return []
    said = answer.text if answer.text is not None else answer.body
    bytes_ = messages.answer_message(path, said, answer.headers)
    framed = len(bytes_).to_bytes(PREFIX_BYTES, "big") + bytes_
    size = -(-len(framed) // answer.parts)
    return [framed[at : at + size] for at in range(0, len(framed), size)]


def spelled_out(bytes_):
    """An answer that a case spells in HTTP/1.1, or None: its head is cut short, so that there is none yet."""
    head, whole, rest = bytes_.decode().partition("\r\n\r\n")
    if not whole:
        return None
    status, *lines = head.split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    parts = 1
    if headers.pop("transfer-encoding", None) == "chunked":
        chunks = rest.split("\r\n")[1::2]
        rest, parts = "".join(chunks), len([chunk for chunk in chunks if chunk])
    try:
        said = {"body": json.loads(rest)}
    except ValueError:
        said = {"text": rest}
    return Answer(int(status.split()[1]), {"content-type": None, **headers}, **said, parts=parts)
