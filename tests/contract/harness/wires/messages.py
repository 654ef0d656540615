"""The contract's bodies in JSON, and the messages of lunasec.v1 that say the same, as the sidecar has both."""

import base64
import json
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ..cases import METHODS
from ..pattern import Mismatch
from . import protobuf
from .proto import Protos

PROTO = Path(__file__).resolve().parents[4] / "sidecar/api/proto/lunasec/v1/tokenizer.proto"
PROTOS = Protos(PROTO.read_text())
SERVICE = "/lunasec.v1.Tokenizer/"
# By the operations that adapters know.
NAMES = {
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
ROUTES = {SERVICE + NAMES[operation]: route for route, operation in METHODS.items()}
UNITS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
SPELLED = re.compile(r"(\d+)(d|h|m|s|ms)")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# No Timestamp goes beyond the year 9999.
NEVER = {"seconds": 4_111_111_111_111_111}
# Whose messages say themselves how old they are; those of writes leave it to the head.
SAY_AGE = {"detokenize", "metadata_get"}


def request_body(path, message):
    """What the sidecar takes a request for, as JSON; None where it is no more than a GET."""
    said = protobuf.decode(PROTOS.methods[path].takes, message)
    if METHODS[ROUTES[path]] == "status":
        return None
    return TAKEN.get(METHODS[ROUTES[path]], lambda said: said)(said)


def taken_value(said):
    value, encoding = said.get("value", b""), said.get("encoding", "ENCODING_UNSPECIFIED")
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = None
    if encoding == "ENCODING_BASE64" or (encoding == "ENCODING_UNSPECIFIED" and text is None):
        body = {"value": base64.b64encode(value).decode(), "encoding": "base64"}
    elif encoding in ("ENCODING_UTF8", "ENCODING_UNSPECIFIED") and text is not None:
        body = {"value": text}
    else:
        raise Mismatch("its value is not what its encoding says")
    return {**body, **taken_metadata(said), **taken_time(said)}


def taken_metadata(said):
    if "metadata" not in said:
        return {}
    try:
        return {"metadata": json.loads(said["metadata"])}
    except ValueError:
        raise Mismatch("its metadata is not JSON") from None


def taken_time(said):
    if "expires_in" not in said:
        return {}
    parts = said["expires_in"]
    return {"expires_in": spelled(parts.get("seconds", 0) * 1_000_000_000 + parts.get("nanos", 0))}


def spelled(nanos):
    """A time in the largest unit of which it is a multiple."""
    for unit, size in UNITS.items():
        if nanos % size == 0:
            return f"{nanos // size}{unit}"
    return f"{nanos}ns"


def respelled(said):
    """A request's body with its time as `spelled` has it: a message holds no spelling."""
    if isinstance(said, list):
        return [respelled(item) for item in said]
    if not isinstance(said, dict):
        return said
    said = {name: respelled(value) for name, value in said.items()}
    time = said.get("expires_in")
    if isinstance(time, str) and (parts := SPELLED.fullmatch(time)):
        size = {**UNITS, "d": 24 * UNITS["h"]}[parts[2]]
        said["expires_in"] = spelled(int(parts[1]) * size)
    return said


def taken_set(said):
    version = {"if_version": said["if_version"]} if "if_version" in said else {}
    return {"token": said.get("token", ""), **taken_metadata({"metadata": "", **said}), **version}


def taken_grants(said):
    body = {"session": said.get("session", ""), "tokens": said.get("tokens", []), **taken_time(said)}
    if said.get("actions"):
        body["actions"] = [action(name) for name in said["actions"]]
    if said.get("action", "ACTION_UNSPECIFIED") != "ACTION_UNSPECIFIED":
        body["action"] = action(said["action"])
    return body


def action(name):
    if not isinstance(name, str) or name == "ACTION_UNSPECIFIED":
        raise Mismatch(f"{name} is no action")
    return name.removeprefix("ACTION_").lower()


def taken_revoke(said):
    body = taken_grants({name: value for name, value in said.items() if name != "all"})
    if not said.get("all"):
        return body
    # Tokens beside `all` are refused, and no body of the contract says so.
    return {**body, "all": True} if body["tokens"] else {"session": body["session"]}


TAKEN = {
    "tokenize": taken_value,
    "tokenize_batch": lambda said: {"items": [taken_value(item) for item in said.get("items", [])]},
    "detokenize": lambda said: {"token": said.get("token", "")},
    "detokenize_batch": lambda said: {"tokens": said.get("tokens", [])},
    "metadata_get": lambda said: {"token": said.get("token", "")},
    "metadata_set": taken_set,
    "grants_create": taken_grants,
    "grants_verify": taken_grants,
    "grants_revoke": taken_revoke,
    "delete": lambda said: {"tokens": said.get("tokens", [])},
}


def answer_message(path, body, headers):
    """The message of an answer. What is wrong with the body is wrong with it in the same place."""
    operation = METHODS[ROUTES[path]]
    gives = PROTOS.methods[path].gives
    if not isinstance(body, dict):
        return protobuf.encode(gives, body)
    if operation in SAY_AGE and "lunasec-degraded" in headers:
        body = {**body, "degraded": headers["lunasec-degraded"], "age": int(headers["age"])}
    return protobuf.encode(gives, GIVEN.get(operation, with_durability)(body))


def with_durability(said):
    return {**said, **named(said, durability="DURABILITY")}


def named(said, **prefixes):
    """Members that are an enum's, by its names."""
    return {
        name: f"{prefix}_{said[name]}".upper()
        for name, prefix in prefixes.items()
        if isinstance(said.get(name), str)
    }


def given_value(said):
    """A value that is not what its encoding says is, as bytes, no text that says it is one."""
    out = {**without(said, "degraded", "age"), **named(said, encoding="ENCODING"), **staleness(said)}
    value = said.get("value")
    if isinstance(value, str):
        out["value"] = value.encode()
        if said.get("encoding") == "base64":
            try:
                out["value"] = base64.b64decode(value, validate=True)
            except ValueError:
                out |= {"value": value.encode() + b"\xff", "encoding": "ENCODING_UTF8"}
    return out


def staleness(said):
    if "degraded" not in said:
        return {}
    return {"staleness": {"dependency": said["degraded"], "age": {"seconds": said["age"]}}}


def given_metadata(said):
    out = {**without(said, "degraded", "age"), **times(said), **staleness(said)}
    if "metadata" in said:
        out["metadata"] = json.dumps(said["metadata"], ensure_ascii=False, separators=(",", ":"))
    return out


def times(said):
    names = ("created_at", "expires_at", "valid_until")
    return {name: timestamp(said[name]) for name in names if isinstance(said.get(name), str)}


def timestamp(text):
    """What is no time is one that no Timestamp may be."""
    try:
        since = datetime.fromisoformat(text.replace("Z", "+00:00")) - EPOCH
    except (ValueError, TypeError):
        return NEVER
    return {"seconds": since // timedelta(seconds=1), "nanos": since.microseconds * 1_000}


def without(said, *names):
    return {name: value for name, value in said.items() if name not in names}


def items(given):
    """Of a batch: each item that is an object, as `given` has it; what is none stays what it is."""

    def all_of(said):
        list_ = said.get("items")
        if isinstance(list_, list):
            list_ = [given(item) if isinstance(item, dict) else item for item in list_]
        return {**said, "items": list_}

    return all_of


def outcome(name, given=with_durability, keyed=True):
    """An item that failed, or has what `given` makes of it in a member of its own; without anything, neither. Its token
    is beside that where it is `keyed` by it."""

    def item(said):
        token = {"token": said["token"]} if keyed and "token" in said else {}
        if "error" in said:
            return {**token, "error": said["error"]}
        rest = without(said, "token") if keyed else said
        return {**token, name: given(rest)} if rest else token

    return item


def verified(said):
    out = {**without(said, "valid", "expires_at", "reason", "degraded", "age"), **staleness(said)}
    if said.get("valid") is True:
        return {**out, **times({"valid_until": said.get("expires_at")})}
    if said.get("valid") is False:
        return {**out, **named({"refusal": said.get("reason")}, refusal="REFUSAL")}
    # A yes of another type is of another type here, too.
    return {**out, "valid_until": said["valid"]} if "valid" in said else out


def given_status(said):
    dependencies = said.get("dependencies", {})
    out = without(said, "dependencies")
    if isinstance(dependencies, dict):
        out |= {name: {**each, **named(each, state="STATE")} for name, each in dependencies.items()}
    if isinstance(said.get("issuers"), list):
        out["issuers"] = [issuer(each) for each in said["issuers"]]
    return out


def issuer(said):
    health = {name: said[name] for name in ("state", "since", "reason") if name in said}
    return {**without(said, *health), "health": {**health, **named(health, state="STATE")}}


GIVEN = {
    "tokenize_batch": items(outcome("tokenized", keyed=False)),
    "detokenize": given_value,
    "detokenize_batch": items(outcome("detokenized", given_value)),
    "metadata_get": given_metadata,
    "grants_create": items(outcome("granted", lambda said: {**with_durability(said), **times(said)})),
    "grants_verify": items(verified),
    "delete": items(outcome("deleted", lambda said: without(with_durability(said), "deleted"))),
    "status": given_status,
}
