"""What can go wrong. A class for each code of the contract, under what an application does about it:

```text
LunaSecError                        code, detail, retryable, status, retry_after, request_id
├── BadRequest                      mend the call; trying again changes nothing
│   ├── InvalidRequest              invalid_request
│   ├── InvalidToken                invalid_token
│   ├── InvalidNamespace            invalid_namespace
│   ├── PayloadTooLarge             payload_too_large
│   ├── MethodNotAllowed            method_not_allowed
│   └── UnsupportedMediaType        unsupported_media_type
├── AccessDenied                    the caller, or its user, may not
│   ├── Unauthenticated             unauthenticated
│   ├── Forbidden                   forbidden
│   ├── GrantDenied                 grant_denied
│   └── GrantExpired                grant_expired
├── Gone                            there is no value, and there will be none
│   ├── NotFound                    not_found
│   └── Expired                     expired
├── Conflict                        conflict: read again, then decide
├── RateLimited                     rate_limited: the same again, after retry_after
├── Unavailable                     the same again, later; what masks and fallbacks stand in for
│   ├── SidecarUnreachable          sidecar_unreachable: nobody at the socket, or the connection broke
│   ├── Overloaded                  overloaded
│   ├── StorageUnavailable          storage_unavailable
│   ├── KeysUnavailable             keys_unavailable
│   ├── JournalFull                 journal_full
│   └── DeadlineExceeded            deadline_exceeded, also of the call's own deadline
├── SidecarFailed                   the operator finds the cause in the log, under request_id
│   ├── Corrupted                   corrupted
│   └── Internal                    internal
└── ProtocolError                   protocol_error: the answer is not this contract's
```

A code that this version does not know is a plain `LunaSecError`: it may be a refusal, which no policy may hide. It is
`Unavailable` only where the answer's status says so (5xx) and the sidecar that it is retryable.

A call that was given up is no error of these: a task is cancelled as any other, and a `Stop` raises `Stopped`.

No message holds a token, a value or a session, nor do the frames of this package in a traceback.
"""

from __future__ import annotations

from typing import Any, Final


class LunaSecError(Exception):
    """The root of the tree; see the module."""

    #: The code of a class that has one; errors have their own, see `code`.
    CODE: str = ""

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        #: For programs: the contract's code, or `sidecar_unreachable`, or `protocol_error`.
        self.code: str = self.CODE if code is None else code
        #: For people: what happened and what to do.
        self.detail: str = detail
        #: Whether the same call may succeed later. The client has tried already, as far as its policy goes.
        self.retryable: bool = retryable
        #: The HTTP status of the answer; None where there was no answer, and for an item of a batch.
        self.status: int | None = status
        #: Seconds until it is worth another try, where the sidecar said so.
        self.retry_after: float | None = retry_after
        #: Names the request in the sidecar's log, where there was an answer.
        self.request_id: str | None = request_id
        super().__init__(f"{self.code}: {detail}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, detail={self.detail!r}, retryable={self.retryable!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers hand errors to each other pickled; there is nothing secret in one.
        return (_unpickled, (type(self), self.detail, dict(self.__dict__)))


class BadRequest(LunaSecError):
    """Mend the call; trying again changes nothing."""


class AccessDenied(LunaSecError):
    """The caller, or its user, may not."""


class Gone(LunaSecError):
    """There is no value under this token, and there will be none."""


class Unavailable(LunaSecError):
    """Nobody can answer just now."""


class SidecarFailed(LunaSecError):
    """The sidecar failed; its log says why, under `request_id`."""


class InvalidRequest(BadRequest):
    """`invalid_request`"""

    CODE = "invalid_request"


class InvalidToken(BadRequest):
    """`invalid_token`"""

    CODE = "invalid_token"


class InvalidNamespace(BadRequest):
    """`invalid_namespace`"""

    CODE = "invalid_namespace"


class PayloadTooLarge(BadRequest):
    """`payload_too_large`"""

    CODE = "payload_too_large"


class MethodNotAllowed(BadRequest):
    """`method_not_allowed`: client and sidecar are of different versions."""

    CODE = "method_not_allowed"


class UnsupportedMediaType(BadRequest):
    """`unsupported_media_type`: client and sidecar are of different versions."""

    CODE = "unsupported_media_type"


class Unauthenticated(AccessDenied):
    """`unauthenticated`: the policy asks for a session, or its JWT proves none."""

    CODE = "unauthenticated"


class Forbidden(AccessDenied):
    """`forbidden`: the policy does not allow it; the detail names the rule."""

    CODE = "forbidden"


class GrantDenied(AccessDenied):
    """`grant_denied`: the session was not granted this."""

    CODE = "grant_denied"


class GrantExpired(AccessDenied):
    """`grant_expired`: the session was granted this, and not any more."""

    CODE = "grant_expired"


class NotFound(Gone):
    """`not_found`: no such token in this namespace, or it was deleted."""

    CODE = "not_found"


class Expired(Gone):
    """`expired`: the value's `expires_in` is over."""

    CODE = "expired"


class Conflict(LunaSecError):
    """`conflict`: the metadata has another version, or an idempotency key came with another value."""

    CODE = "conflict"


class RateLimited(LunaSecError):
    """`rate_limited`: this application asks too often; see `retry_after`."""

    CODE = "rate_limited"


class SidecarUnreachable(Unavailable):
    """`sidecar_unreachable`: nobody at the socket, or the connection broke."""

    CODE = "sidecar_unreachable"

    def __init__(
        self, detail: str, *, retryable: bool = True, sent: bool = False, closed: bool = False, **facts: Any
    ) -> None:
        super().__init__(detail, retryable=retryable, **facts)
        #: Whether the request had left: a write may have been done.
        self.sent: bool = sent
        #: Whether this client was closed. That is the application's own doing, and no policy stands in for it.
        self.closed: bool = closed


class Overloaded(Unavailable):
    """`overloaded`: the sidecar has too much to do, or this process has too many calls under way."""

    CODE = "overloaded"


class StorageUnavailable(Unavailable):
    """`storage_unavailable`"""

    CODE = "storage_unavailable"


class KeysUnavailable(Unavailable):
    """`keys_unavailable`"""

    CODE = "keys_unavailable"


class JournalFull(Unavailable):
    """`journal_full`: storage is away, and no more writes can wait for it."""

    CODE = "journal_full"


class DeadlineExceeded(Unavailable):
    """`deadline_exceeded`: the sidecar's deadline, or the call's own. A write may have been done."""

    CODE = "deadline_exceeded"


class Corrupted(SidecarFailed):
    """`corrupted`: the stored record fails its integrity check."""

    CODE = "corrupted"


class Internal(SidecarFailed):
    """`internal`: a defect of the sidecar."""

    CODE = "internal"


class ProtocolError(LunaSecError):
    """`protocol_error`: what came back is not this contract; something else listens there, or another version."""

    CODE = "protocol_error"


class Stopped(Exception):
    """A call that its `Stop` gave up. What a write of it did is not known."""


# Codes that a sidecar gives. The other two are what this client says of one that gives none.
_OF_ANSWERS: Final = (
    InvalidRequest,
    InvalidToken,
    InvalidNamespace,
    PayloadTooLarge,
    MethodNotAllowed,
    UnsupportedMediaType,
    Unauthenticated,
    Forbidden,
    GrantDenied,
    GrantExpired,
    NotFound,
    Expired,
    Conflict,
    RateLimited,
    Overloaded,
    StorageUnavailable,
    KeysUnavailable,
    JournalFull,
    DeadlineExceeded,
    Corrupted,
    Internal,
)
_BY_CODE: Final[dict[str, type[LunaSecError]]] = {each.CODE: each for each in _OF_ANSWERS}


def error_of(
    code: str,
    detail: str,
    *,
    retryable: bool,
    status: int | None = None,
    retry_after: float | None = None,
    request_id: str | None = None,
) -> LunaSecError:
    """The error of a code that the sidecar gave. Internal."""
    kind = _BY_CODE.get(code)
    if kind is None:
        away = retryable and status is not None and status >= 500
        kind = Unavailable if away else LunaSecError
    return kind(detail, code=code, retryable=retryable, status=status, retry_after=retry_after, request_id=request_id)


def _unpickled(kind: type[LunaSecError], detail: str, state: dict[str, Any]) -> LunaSecError:
    error = kind.__new__(kind)
    LunaSecError.__init__(error, detail, code=state["code"])
    error.__dict__.update(state)
    return error
