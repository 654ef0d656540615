"""Errors of the contract as gRPC says them: what `sidecar/server/src/status.rs` has, for what it has."""

import base64
import urllib.parse

from . import protobuf
from .messages import PROTOS

DOMAIN = "lunasec"
# The statuses of gRPC, of which those have an HTTP status that google.rpc.Code names one for.
GRPC = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
# The status of each code of the contract.
CODES = {
    "invalid_request": "INVALID_ARGUMENT",
    "invalid_token": "INVALID_ARGUMENT",
    "invalid_namespace": "INVALID_ARGUMENT",
    "unauthenticated": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "grant_denied": "PERMISSION_DENIED",
    "grant_expired": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "method_not_allowed": "UNIMPLEMENTED",
    "conflict": "ABORTED",
    "expired": "NOT_FOUND",
    "payload_too_large": "RESOURCE_EXHAUSTED",
    "unsupported_media_type": "UNIMPLEMENTED",
    "rate_limited": "RESOURCE_EXHAUSTED",
    "overloaded": "UNAVAILABLE",
    "storage_unavailable": "UNAVAILABLE",
    "keys_unavailable": "UNAVAILABLE",
    "journal_full": "UNAVAILABLE",
    "deadline_exceeded": "DEADLINE_EXCEEDED",
    "corrupted": "DATA_LOSS",
    "internal": "INTERNAL",
}
# Of those that share an HTTP status, the one that a newer code would most likely have.
LIKELY = ("INVALID_ARGUMENT", "ABORTED", "INTERNAL", *GRPC)
# What is no status of HTTP here, by its hundred.
OTHERS = {4: "FAILED_PRECONDITION", 5: "UNKNOWN"}


def status_of(code, http):
    """The status in gRPC of a problem: by its code, or, where that is newer, by its status in HTTP."""
    if code in CODES:
        return CODES[code]
    return next((name for name in LIKELY if GRPC[name][1] == http), OTHERS.get(http // 100, "UNKNOWN"))


def told(error):
    """An error as a client of gRPC can tell it: no answer holds a status of HTTP, so that it is known by the code or,
    where that is newer, by the status of gRPC."""
    if "status" not in error or error.get("code") in CODES or not isinstance(error["status"], int):
        return error
    return {**error, "status": GRPC[status_of(error.get("code"), error["status"])][1]}


def trailers(http, problem):
    """Of a call that failed: a status, and a google.rpc.Status. What the problem lacks is lacking in it."""
    number = GRPC[status_of(problem.get("code"), http)][0]
    detail = problem.get("detail", "")
    details = protobuf.encode(
        PROTOS.types["google.rpc.Status"],
        {"code": number, "message": detail, "details": list(infos(problem))},
    )
    return [*head(number, detail), details_bin(details)]


def unreadable_trailers(http, text):
    """The same, where the status is none that can be read."""
    return [*head(GRPC[status_of(None, http)][0], ""), details_bin(protobuf.unreadable(text))]


def head(number, detail):
    message = [("grpc-message", percent(detail))] if detail else []
    return [("grpc-status", str(number)), *message]


def percent(text):
    """gRPC's: all of printable ASCII but the percent sign stays."""
    kept = "".join(chr(byte) for byte in range(0x20, 0x7F) if byte != 0x25)
    return urllib.parse.quote(text, safe=kept)


def details_bin(bytes_):
    return ("grpc-status-details-bin", base64.b64encode(bytes_).decode().rstrip("="))


def infos(problem):
    """In the sidecar's order."""
    if "retry_after_ms" in problem:
        seconds, millis = divmod(problem["retry_after_ms"], 1_000)
        yield any_of("google.rpc.RetryInfo", {"retry_delay": {"seconds": seconds, "nanos": millis * 1_000_000}})
    if "code" in problem or "retryable" in problem:
        metadata = [{"key": "retryable", "value": str(problem["retryable"]).lower()}] if "retryable" in problem else []
        info = {"reason": problem.get("code"), "domain": DOMAIN, "metadata": metadata}
        yield any_of("google.rpc.ErrorInfo", info)


def any_of(name, said):
    value = protobuf.encode(PROTOS.types[name], said)
    return {"type_url": f"type.googleapis.com/{name}", "value": value}
