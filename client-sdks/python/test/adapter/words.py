"""From the wire's words to this SDK's, and back."""

from __future__ import annotations

import base64
import binascii
import json
import pprint
import traceback
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from lunasec import (
    Deleted,
    Failed,
    Fallback,
    FallbackTo,
    Granted,
    Invalid,
    Item,
    LunaSecError,
    Masked,
    MaskWith,
    Metadata,
    MetadataWritten,
    Retry,
    Revoked,
    Status,
    Tokenized,
    Valid,
    Value,
)

Json = dict[str, Any]


def defined(**members: Any) -> Json:
    return {name: value for name, value in members.items() if value is not None}


def millis(options: Json, name: str) -> float | None:
    return None if options.get(name) is None else options[name] / 1000


def policy_of(policy: Any) -> Any:
    if isinstance(policy, dict) and "fallback" in policy:
        return FallbackTo(lambda token, error: policy["fallback"])
    return MaskWith(policy["mask"]) if isinstance(policy, dict) else policy


def client_options(options: Json) -> Json:
    retry = defined(
        attempts=options.get("attempts"),
        pause=millis(options, "pause_ms"),
        pause_most=millis(options, "pause_most_ms"),
        budget=options.get("retry_budget"),
    )
    return defined(
        namespace=options.get("namespace"),
        purpose=options.get("purpose"),
        jwt=options.get("jwt"),
        deadline=millis(options, "deadline_ms"),
        on_unavailable=policy_of(options.get("on_unavailable")),
        start_deadline=millis(options, "start_deadline_ms"),
        restart_grace=millis(options, "restart_grace_ms"),
        retry=Retry(**retry),
    )


def common(options: Json) -> Json:
    return defined(
        namespace=options.get("namespace"),
        purpose=options.get("purpose"),
        deadline=millis(options, "deadline_ms"),
        stop=options.get("stop"),
    )


def reading(options: Json) -> Json:
    return {**common(options), **defined(on_unavailable=policy_of(options.get("on_unavailable")))}


def keyed(options: Json) -> Json:
    return {**common(options), **defined(idempotency_key=options.get("idempotency_key"))}


def speaker(client: Any, options: Json) -> Any:
    session = options.get("session")
    return client if session is None else client.for_session(session, jwt=options.get("jwt"))


def item(given: Json) -> Item:
    """Bytes as bytes, where the text is the base64 of some."""
    value, encoding = given["value"], given.get("encoding")
    rest = defined(metadata=given.get("metadata"), expires_in=given.get("expires_in"))
    if encoding == "base64":
        try:
            content = base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            return Item(value, encoding="base64", **rest)
        if base64.b64encode(content).decode() == value:
            return Item(content, **rest)
        return Item(value, encoding="base64", **rest)
    return Item(value, **rest)


def wire(result: object) -> Any:
    """What came back, as the body of the contract's answer."""
    if isinstance(result, list):
        return {"items": [_item(each) for each in result]}
    if isinstance(result, (Tokenized, Value, Masked, Fallback)):
        return {name: value for name, value in _item(result).items() if _alone(result, name)}
    if isinstance(result, Metadata):
        times = defined(created_at=_time(result.created_at), expires_at=_time(result.expires_at))
        return {"metadata": dict(result.metadata), "version": result.version, **times, **_aged(result)}
    if isinstance(result, MetadataWritten):
        return {"durability": result.durability, "version": result.version}
    if isinstance(result, Revoked):
        return defined(durability=result.durability, revoked=result.revoked)
    assert isinstance(result, Status)
    return dict(result.raw)


def _alone(result: object, name: str) -> bool:
    return isinstance(result, Tokenized) or name != "token"


def _item(result: object) -> Json:
    about = {} if getattr(result, "token", None) is None else {"token": result.token.expose()}  # type: ignore[attr-defined]
    return {**about, **_said(result)}


def _said(result: object) -> Json:
    match result:
        case Failed(error=error):
            return {"error": {"code": error.code, "detail": error.detail, "retryable": error.retryable}}
        case Tokenized(durability=durability):
            return {"durability": durability}
        case Value(value=value):
            text = value.reveal() if value.is_text else base64.b64encode(value.reveal_bytes()).decode()
            return {"value": text, "encoding": "utf8" if value.is_text else "base64", **_aged(result)}
        case Masked(text=text):
            return {"masked": text, "reason": result.reason}
        case Fallback(value=value):
            return {"fallback": value, "reason": result.reason}
        case Granted(expires_at=at, durability=durability):
            return {"expires_at": _time(at), "durability": durability}
        case Valid(expires_at=at):
            return {"valid": True, "expires_at": _time(at), **_aged(result)}
        case Invalid(reason=reason):
            return {"valid": False, "reason": reason, **_aged(result)}
        case Deleted(durability=durability):
            return {"deleted": True, "durability": durability}
    raise TypeError(type(result).__name__)


def _aged(result: Any) -> Json:
    return defined(degraded=result.degraded, age=result.age)


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_of(error: LunaSecError) -> Json:
    after = error.retry_after
    return defined(
        **{"class": type(error).__name__},
        code=error.code,
        status=error.status,
        retryable=error.retryable,
        detail=error.detail,
        retry_after_ms=None if after is None else after * 1000,
    )


def printed(result: object) -> str:
    """How something prints wherever something prints by itself."""
    parts: list[Iterable[str]] = [[repr(result), str(result), f"{result}", pprint.pformat(result)]]
    parts.append(
        [
            json.dumps(result, default=repr),
            json.dumps(vars(result) if hasattr(result, "__dict__") else {}, default=repr),
        ]
    )
    if isinstance(result, BaseException):
        parts.append(traceback.format_exception(result))
        # As error trackers do it: with the locals of every frame of this package.
        told = traceback.TracebackException.from_exception(result, capture_locals=True)
        told.stack = traceback.StackSummary.from_list([frame for frame in told.stack if "/lunasec/" in frame.filename])
        parts.append(told.format())
    return "\n".join(line for part in parts for line in part)
