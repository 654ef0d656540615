"""What `client.py` says and reads: bodies in the contract's JSON, and messages as protobuf's own runtime has them."""

import base64
import json
import re
from datetime import datetime, timedelta, timezone

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import DecodeError  # noqa: F401
from google.protobuf.unknown_fields import UnknownFieldSet
from lunasec.v1 import tokenizer_pb2 as pb

TOKEN = re.compile(r"lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UNITS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# What metadata of gRPC may hold, and what no more than 1,024 bytes of need be sent.
HEADER = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")
METHODS = {
    "tokenize": "Tokenize",
    "tokenize_batch": "BatchTokenize",
    "detokenize": "Detokenize",
    "detokenize_batch": "BatchDetokenize",
    "metadata_get": "GetMetadata",
    "metadata_set": "SetMetadata",
    "grants_create": "CreateGrants",
    "grants_verify": "VerifyGrants",
    "grants_revoke": "RevokeGrants",
    "delete": "Delete",
    "status": "GetStatus",
}
CODES = {
    "invalid_request": 400, "invalid_token": 400, "invalid_namespace": 400, "unauthenticated": 401, "forbidden": 403,
    "grant_denied": 403, "grant_expired": 403, "not_found": 404, "method_not_allowed": 405, "conflict": 409,
    "expired": 410, "payload_too_large": 413, "unsupported_media_type": 415, "rate_limited": 429, "overloaded": 503,
    "storage_unavailable": 503, "keys_unavailable": 503, "journal_full": 503, "deadline_exceeded": 504,
    "corrupted": 500, "internal": 500,
}  # fmt: skip
STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400, grpc.StatusCode.FAILED_PRECONDITION: 400, grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403, grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409, grpc.StatusCode.ALREADY_EXISTS: 409, grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499, grpc.StatusCode.INTERNAL: 500, grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.DATA_LOSS: 500, grpc.StatusCode.UNIMPLEMENTED: 501, grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}  # fmt: skip


class Wrong(Exception):
    """An answer that is not the contract's."""


def check(good):
    if not good:
        raise Wrong


def class_of(code, status, retryable):
    if code == "aborted":
        return "Aborted"
    if code in CODES or code in ("protocol_error", "sidecar_unreachable"):
        return "".join(part.capitalize() for part in code.split("_"))
    return "Unavailable" if retryable and (status or 0) >= 500 else "LunaSecError"


def headers(operation, options, key):
    names = {"namespace": "lunasec-namespace", "purpose": "lunasec-purpose", "session": "lunasec-session"}
    for name, header in names.items():
        if name in options:
            yield header, options[name]
    if "jwt" in options:
        yield "authorization", f"Bearer {options['jwt']}"
    if "idempotency_key" in options or operation in ("tokenize", "tokenize_batch"):
        yield "idempotency-key", options.get("idempotency_key", key)


def request(operation, said):
    """The method's name, its request, and the type of its answer."""
    name = METHODS[operation]
    message, answer = getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
    if operation == "tokenize_batch":
        return name, message(items=[value(item) for item in said["items"]]), answer
    if operation == "tokenize":
        return name, value(said), answer
    given = dict(said)
    if "metadata" in given:
        given["metadata"] = compact(given["metadata"])
    if "expires_in" in given:
        given["expires_in"] = duration(given["expires_in"])
    if "actions" in given:
        given["actions"] = [f"ACTION_{action.upper()}" for action in given["actions"]]
    if "action" in given:
        given["action"] = f"ACTION_{given['action'].upper()}"
    if operation == "grants_revoke":
        given["all"] = "tokens" not in given
    return name, message(**given), answer


def compact(said):
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def value(said):
    if said.get("encoding") == "base64":
        out = pb.TokenizeRequest(value=base64.b64decode(said["value"]), encoding=pb.ENCODING_BASE64)
    else:
        out = pb.TokenizeRequest(value=said["value"].encode(), encoding=pb.ENCODING_UTF8)
    if "metadata" in said:
        out.metadata = compact(said["metadata"])
    if "expires_in" in said:
        out.expires_in.CopyFrom(duration(said["expires_in"]))
    return out


def duration(text):
    parts = re.fullmatch(r"(\d+)([a-z]+)", text)
    out = duration_pb2.Duration()
    out.FromMilliseconds(int(parts[1]) * UNITS[parts[2]])
    return out


def answer(operation, message, asked):
    strict(message)
    if operation in READ:
        return READ[operation](message)
    items = [ITEMS[operation](item) for item in message.items]
    if operation == "tokenize_batch":
        check(len(items) == len(asked["items"]))
    else:
        check([item["token"] for item in items] == asked["tokens"])
    return {"items": items}


def strict(message):
    """A known field of another type is what protobuf's runtime takes for one that it does not know."""
    known = {field.number for field in message.DESCRIPTOR.fields}
    check(not any(field.field_number in known for field in UnknownFieldSet(message)))
    for field, inner in message.ListFields():
        if field.message_type is not None:
            for each in inner if field.is_repeated else [inner]:
                strict(each)


def named(enum, number, newer=None):
    """`newer`: what stands for a number that a newer sidecar has given a name."""
    if newer and number not in enum.values():
        return newer
    check(number != 0 and number in enum.values())
    return enum.Name(number).rpartition("_")[2].lower()


def tokenized(message):
    check(TOKEN.fullmatch(message.token))
    return {"token": message.token, "durability": named(pb.Durability, message.durability)}


def detokenized(message):
    encoding = named(pb.Encoding, message.encoding)
    try:
        text = message.value.decode() if encoding == "utf8" else base64.b64encode(message.value).decode()
    except UnicodeDecodeError:
        raise Wrong from None
    return {"value": text, "encoding": encoding, **staleness(message)}


def staleness(message):
    if not message.HasField("staleness"):
        return {}
    return {"degraded": message.staleness.dependency, "age": message.staleness.age.seconds}


def metadata(message):
    out = {"metadata": json.loads(message.metadata), "version": message.version, "created_at": time(message.created_at)}
    expires = {"expires_at": time(message.expires_at)} if message.HasField("expires_at") else {}
    return {**out, **expires, **staleness(message)}


def time(stamp):
    check(-62_135_596_800 <= stamp.seconds <= 253_402_300_799 and 0 <= stamp.nanos < 1_000_000_000)
    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def revoked(message):
    count = {"revoked": message.revoked} if message.HasField("revoked") else {}
    return {**count, "durability": named(pb.Durability, message.durability)}


def status(message):
    dependencies = {
        name: dependency(getattr(message, name))
        for name in ("storage", "keys", "state", "audit")
        if message.HasField(name)
    }
    journal = {"pending": message.journal.pending, "oldest_seconds": message.journal.oldest_seconds}
    out = {"version": message.version, "uptime_seconds": message.uptime_seconds}
    return {**out, "dependencies": dependencies, "caches": {"data_keys": message.caches.data_keys}, "journal": journal}


def dependency(message):
    reason = {"reason": message.reason} if message.HasField("reason") else {}
    return {"state": named(pb.Dependency.State, message.state, "unknown"), "since": message.since, **reason}


def item(name, given, keyed=True):
    def read(message):
        token = {"token": message.token} if keyed else {}
        if message.WhichOneof("outcome") == "error":
            error = message.error
            check(error.code)
            return {**token, "error": {"code": error.code, "detail": error.detail, "retryable": error.retryable}}
        check(message.WhichOneof("outcome") == name)
        return {**token, **given(getattr(message, name))}

    return read


def verified(message):
    which = message.WhichOneof("outcome")
    token = {"token": message.token, **staleness(message)}
    if which == "valid_until":
        return {**token, "valid": True, "expires_at": time(message.valid_until)}
    if which == "refusal":
        return {**token, "valid": False, "reason": named(pb.Refusal, message.refusal, "refused")}
    return item("none", None)(message)


READ = {
    "tokenize": tokenized,
    "detokenize": detokenized,
    "metadata_get": metadata,
    "metadata_set": lambda said: {"durability": named(pb.Durability, said.durability), "version": said.version},
    "grants_revoke": revoked,
    "status": status,
}
ITEMS = {
    "tokenize_batch": item("tokenized", tokenized, keyed=False),
    "detokenize_batch": item("detokenized", detokenized),
    "grants_create": item(
        "granted", lambda said: {"expires_at": time(said.expires_at), "durability": named(pb.Durability, said.durability)}
    ),
    "grants_verify": verified,
    "delete": item("deleted", lambda said: {"deleted": True, "durability": named(pb.Durability, said.durability)}),
}
