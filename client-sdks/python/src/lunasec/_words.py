"""What whoever made a request is told of an error: other words name rules, sockets and limits of the process, which are for
whoever runs it."""

from __future__ import annotations

import re
from typing import Final

from ._limits import PRINTED_BYTES
from ._operations import is_mask
from ._redacted import printed_as
from .errors import (
    AccessDenied,
    BadRequest,
    Conflict,
    Gone,
    GrantDenied,
    GrantExpired,
    LunaSecError,
    RateLimited,
    Unauthenticated,
    Unavailable,
)
from .results import Failed, Invalid, Valid

_WORDS: Final[tuple[tuple[type[LunaSecError], str], ...]] = (
    (BadRequest, "this cannot be taken; change it"),
    (Unauthenticated, "this needs a session"),
    (GrantExpired, "this session may not use it any more"),
    (AccessDenied, "this session may not use it"),
    (Gone, "there is no value any more"),
    (RateLimited, "too many requests; try again later"),
    (Unavailable, "this cannot be answered just now; try again later"),
    (Conflict, "it was changed meanwhile; read it again"),
)
_BAD: Final = {"invalid_token": "this is no token", "payload_too_large": "this is too large"}
FAILED: Final = "this failed, and not by what was asked for"

# A token, also one that was copied carelessly: the sidecar would take it for a value.
_LIKE_A_TOKEN: Final = re.compile(r"lunasec-?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_INVISIBLE: Final = re.compile(r"[\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
TOKEN_PATTERN: Final = r"^lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
_TOKEN: Final = re.compile(TOKEN_PATTERN)


def told(error: LunaSecError) -> LunaSecError:
    """An error that only whoever made a request can mend: its detail is said to them."""
    error.__dict__["_told"] = True
    return error


def of_field(error: LunaSecError, field: str) -> LunaSecError:
    """Which field of a request or an answer it is about."""
    error.__dict__["_field"] = field
    return error


def field_of(error: LunaSecError) -> str | None:
    field: str | None = error.__dict__.get("_field")
    return field


def words_of(error: LunaSecError) -> str:
    if error.__dict__.get("_told"):
        return error.detail
    if error.code in _BAD:
        return _BAD[error.code]
    return next((words for kind, words in _WORDS if isinstance(error, kind)), FAILED)


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def non_value(value: str | bytes) -> tuple[bool, str] | None:
    """What a text or bytes from outside are instead of a value: whether a token, and what is wrong.

    What is shown or kept instead of a value must not be tokenized in its place, as of a form that was sent back: the
    value would be lost, and a token would be anybody's who found it."""
    if isinstance(value, bytes):
        value = "" if len(value) > PRINTED_BYTES else value.decode("utf-8", "replace")
    if len(value) <= 4 * PRINTED_BYTES and _LIKE_A_TOKEN.fullmatch(_INVISIBLE.sub("", value)):
        return True, "it holds a token where a value is expected"
    if is_mask(value):
        return False, "it holds the mask that is shown when a value is not available, not a value"
    printed = printed_as(value)
    return None if printed is None else (False, f"it holds what a {printed.what} prints as, not a value")


def refusal_of(answer: Valid | Invalid | Failed) -> LunaSecError | None:
    """Why a session may not use a token, by what a verify said of it. A token that never was, or is gone, is refused as
    somebody else's is: whoever tries tokens learns nothing."""
    if isinstance(answer, Valid):
        return None
    if isinstance(answer, Failed) and not isinstance(answer.error, Gone):
        return answer.error
    if isinstance(answer, Invalid) and answer.reason == "expired":
        return GrantExpired("the session was granted this token, and not any more")
    return GrantDenied("the session was not granted this token")
