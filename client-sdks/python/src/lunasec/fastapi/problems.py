"""The client's errors as `application/problem+json`, by class."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .._declared import clean
from .._words import FAILED, field_of, words_of
from ..errors import (
    Conflict,
    Expired,
    Forbidden,
    Gone,
    GrantDenied,
    GrantExpired,
    InvalidRequest,
    InvalidToken,
    LunaSecError,
    PayloadTooLarge,
    RateLimited,
    Unauthenticated,
    Unavailable,
)

_STATUS: Final[tuple[tuple[type[LunaSecError], int], ...]] = (
    (InvalidRequest, 400),
    (InvalidToken, 400),
    (PayloadTooLarge, 413),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (GrantDenied, 403),
    (GrantExpired, 403),
    (Expired, 410),
    (Gone, 404),
    (Conflict, 409),
    (RateLimited, 429),
    (Unavailable, 503),
)
# For who was told nothing better.
_RETRY_AFTER: Final = 1


def problem_of(error: LunaSecError) -> dict[str, Any]:
    """What whoever made the request is told: never a token, a value, or what the sidecar says of the cause."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    code = "internal" if status == 500 else error.code
    return {
        "type": f"urn:lunasec:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": FAILED if status == 500 else words_of(error),
        "code": code,
        "retryable": status != 500 and error.retryable,
        **_beside(error, status),
    }


def _beside(error: LunaSecError, status: int) -> dict[str, Any]:
    field = field_of(error)
    return {
        **({"field": field} if field and status < 500 else {}),
        **({} if error.request_id is None else {"request_id": error.request_id}),
    }


def problem_response(error: LunaSecError) -> Response:
    problem = problem_of(error)
    headers = {"cache-control": "no-store"}
    if problem["status"] in (429, 503):
        headers["retry-after"] = str(math.ceil(error.retry_after or _RETRY_AFTER))
    return JSONResponse(problem, problem["status"], headers, "application/problem+json")


def answer_problem(request: Request, error: Exception) -> Response:
    """An exception handler of Starlette's."""
    assert isinstance(error, LunaSecError)
    return problem_response(error)


def answer_invalid(request: Request, error: Exception) -> Response:
    """What is wrong with a request, as FastAPI says it, without what was put in: that is values."""
    assert isinstance(error, RequestValidationError)
    words = getattr(request.scope.get("route"), "lunasec_words", None)
    said = [clean(each, words) for each in error.errors()]
    return JSONResponse({"detail": said}, 422)
