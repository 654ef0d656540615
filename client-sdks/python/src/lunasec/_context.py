"""What a request says beside its body: where, for whom, and what for."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ._limits import HEAD_BYTES
from .errors import InvalidRequest

Header = tuple[bytes, bytes]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class Says(NamedTuple):
    namespace: str | None = None
    session: str | None = None
    jwt: str | None = None
    purpose: str | None = None
    traceparent: str | None = None

    def __repr__(self) -> str:
        # It knows a session and a JWT.
        return "Says(...)"


# The headers that say it. Two contexts are the same if these are.
Context = tuple[Header, ...]


def header_value(what: str, text: object) -> bytes:
    """The bytes of its UTF-8, which is how the sidecar reads it. Spaces at the ends would be lost on the way."""
    if isinstance(text, str) and text != "" and text.strip() == text and _CONTROL.search(text) is None:
        encoded = text.encode("utf-8", "surrogatepass")
        if encoded.decode("utf-8", "ignore") == text:
            return encoded
    raise InvalidRequest(
        f"the {what} cannot be sent: it is text without control characters, at least one character, and with no space "
        "at either end"
    )


def idempotency_key(key: object) -> bytes:
    if not isinstance(key, str) or _KEY.fullmatch(key) is None:
        raise InvalidRequest("the idempotency key cannot be sent: it is 1 to 255 visible ASCII characters")
    return key.encode()


def context_of(says: Says) -> Context:
    rows = (
        (b"lunasec-namespace", "namespace", b"", says.namespace),
        (b"lunasec-session", "session", b"", says.session),
        (b"authorization", "JWT", b"Bearer ", says.jwt),
        (b"lunasec-purpose", "purpose", b"", says.purpose),
        (b"traceparent", "traceparent", b"", says.traceparent),
    )
    headers = tuple((name, scheme + header_value(what, text)) for name, what, scheme, text in rows if text is not None)
    if sum(len(value) for _, value in headers) > HEAD_BYTES:
        raise InvalidRequest(
            "namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a request can say "
            "beside its body; shorten them"
        )
    return headers
