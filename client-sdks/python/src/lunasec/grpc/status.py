"""Errors as gRPC says them: a status, and a `google.rpc.Status` with an ErrorInfo, as the sidecar's own interface has."""

from __future__ import annotations

from typing import Any, Final

import grpc

from .._words import field_of, words_of
from ..errors import BadRequest, LunaSecError

_BY_CODE: Final = {
    "invalid_request": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_token": grpc.StatusCode.INVALID_ARGUMENT,
    "invalid_namespace": grpc.StatusCode.INVALID_ARGUMENT,
    "unauthenticated": grpc.StatusCode.UNAUTHENTICATED,
    "grant_denied": grpc.StatusCode.PERMISSION_DENIED,
    "grant_expired": grpc.StatusCode.PERMISSION_DENIED,
    "forbidden": grpc.StatusCode.PERMISSION_DENIED,
    "not_found": grpc.StatusCode.NOT_FOUND,
    "expired": grpc.StatusCode.NOT_FOUND,
    "rate_limited": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "payload_too_large": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "conflict": grpc.StatusCode.ABORTED,
    "deadline_exceeded": grpc.StatusCode.DEADLINE_EXCEEDED,
    "corrupted": grpc.StatusCode.DATA_LOSS,
}
_DETAILS: Final = "grpc-status-details-bin"

Said = tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]


def status_of(error: LunaSecError, of_answer: bool) -> Said:
    """The status, its words and the trailing metadata. A response that cannot be made is nobody's bad request."""
    code = _BY_CODE.get(error.code)
    if code is None:
        code = grpc.StatusCode.UNAVAILABLE if error.retryable else grpc.StatusCode.INTERNAL
    if of_answer and isinstance(error, BadRequest):
        code = grpc.StatusCode.INTERNAL
    field = field_of(error)
    words = f"{'' if field is None else field + ': '}{error.code}: {words_of(error)}"
    return code, words, ((_DETAILS, _rich(code, words, error)),)


def _rich(code: grpc.StatusCode, words: str, error: LunaSecError) -> bytes:
    number: Any = code.value[0]
    entry = _text(1, "retryable") + _text(2, str(error.retryable).lower())
    info = _text(1, error.code) + _text(2, "lunasec") + _bytes(3, entry)
    said = _number(1, number) + _text(2, words) + _bytes(3, _any("ErrorInfo", info))
    if error.retry_after is not None:
        seconds = int(error.retry_after)
        wait = _number(1, seconds) + _number(2, int((error.retry_after - seconds) * 1_000_000_000))
        said += _bytes(3, _any("RetryInfo", _bytes(1, wait)))
    return said


def _any(kind: str, content: bytes) -> bytes:
    return _text(1, f"type.googleapis.com/google.rpc.{kind}") + _bytes(2, content)


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value)


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _bytes(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    said = bytearray()
    while value >= 0x80:
        said.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*said, value])
