"""Each operation of the contract: what is sent, and how its answers are read."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, Union

from ._hiding import caught, right
from ._limits import BATCH_BYTES, MASK, PRINTED_BYTES, TOKEN_LIST_BYTES
from ._operation import Operation, Unit
from ._options import duration, text_list
from ._redacted import Plaintext, PlaintextLike, Token, TokenLike, printed_as
from ._wire import Misread, Said, Staleness, count, durability, object_, staleness, text, time
from .errors import InvalidRequest, InvalidToken
from .results import (
    Deleted,
    Granted,
    Invalid,
    Metadata,
    MetadataWritten,
    Revoked,
    Status,
    Tokenized,
    Valid,
    Value,
)

#: What a grant can allow.
Action = Literal["detokenize", "metadata", "update", "delete"]


@dataclass(frozen=True, init=False)
class Item:
    """A value to tokenize in a batch, and what goes with it."""

    value: PlaintextLike
    #: `base64`: the value is bytes, and is given as their base64 text.
    encoding: Literal["base64"] | None = None
    #: A JSON object of at most 16 KiB, kept in the clear beside the value, encrypted at rest.
    metadata: Mapping[str, Any] | None = None
    #: For how long, such as `720h` or a timedelta; for ever unless given.
    expires_in: str | timedelta | None = None

    def __init__(
        self,
        value: PlaintextLike,
        encoding: Literal["base64"] | None = None,
        metadata: Mapping[str, Any] | None = None,
        expires_in: str | timedelta | None = None,
    ) -> None:
        hidden = caught(Plaintext.of, value)
        del value
        object.__setattr__(self, "value", right(hidden))
        object.__setattr__(self, "encoding", encoding)
        object.__setattr__(self, "metadata", metadata)
        object.__setattr__(self, "expires_in", expires_in)

    def __repr__(self) -> str:
        # Also of one that is not made yet.
        return f"Item(value={getattr(self, 'value', None)!r})"


ItemLike = Union[Item, PlaintextLike]


def tokenize_unit(item: ItemLike) -> Unit:
    if not isinstance(item, Item):
        item = Item(item)
    members: dict[str, object] = {}
    plain = Plaintext.of(item.value)
    if plain.is_text:
        members["value"] = plain.reveal()
        _refuse_mask(plain.reveal())
    else:
        content = plain.reveal_bytes()
        short = "" if len(content) > PRINTED_BYTES else content.decode("utf-8", "replace")
        _refuse_mask(short)
        _refuse_prints(short)
        members["value"] = base64.b64encode(content).decode()
        members["encoding"] = "base64"
    if item.encoding is not None:
        if item.encoding != "base64" or not plain.is_text:
            raise InvalidRequest("encoding is 'base64' of a text that is the base64 of bytes, or left out")
        members["encoding"] = item.encoding
    if item.metadata is not None:
        members["metadata"] = _metadata(item.metadata)
    if item.expires_in is not None:
        members["expires_in"] = duration("expires_in", item.expires_in)
    return Unit(_json(members))


def _metadata(metadata: object) -> object:
    """Whether it is an object is the sidecar's to say; other mappings than `dict` are objects, too."""
    return dict(metadata) if isinstance(metadata, Mapping) else metadata


def is_mask(text: str) -> bool:
    return len(text) <= PRINTED_BYTES and text.strip() == MASK


def _refuse_mask(text: str) -> None:
    if is_mask(text):
        # It would be kept in the place of the value that was not available.
        raise InvalidRequest(
            "this is the mask that is shown when a value is not available, not a value: tokenize the value"
        )


def _refuse_prints(text: str) -> None:
    printed = printed_as(text)
    if printed is not None:
        # It would be kept in the place of what it was printed for.
        raise InvalidRequest(f"this is how a {printed.what} prints, not what it holds: {printed.instead}")


def _json(members: Mapping[str, object]) -> bytes:
    wrong = "the metadata is no JSON: it has a cycle, a number that is none, or what is neither text, number, list nor mapping"
    said, encoded = "", None
    try:
        said = json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        encoded = said.encode("utf-8")
    except UnicodeEncodeError:
        wrong = "the text has half of a surrogate pair, which UTF-8 cannot say; tokenize its bytes instead"
    except (TypeError, ValueError, RecursionError):
        pass
    if encoded is None:
        # Not raised where the encoder's own error is at hand: that one has the text.
        raise InvalidRequest(wrong)
    _refuse_prints(said)
    return encoded


def token_unit(token: TokenLike) -> Unit:
    exposed = Token.of(token).expose()
    try:
        return Unit(json.dumps(exposed, ensure_ascii=False).encode("utf-8"), exposed)
    except UnicodeEncodeError:
        pass
    # The whole request would be refused for it, of whoever shares it.
    raise InvalidToken("a token is `lunasec-` and a UUID; this one is no text that can be sent")


def _token_of(unit: Unit) -> Token:
    return Token(unit.token or "")


def _age(said: Said) -> Staleness:
    """Beside an item, else in the head."""
    return said.staleness if said.body.get("degraded") is None else staleness(said.body)


def _plaintext(said: Said) -> Plaintext:
    value = text(said.body, "value")
    encoding = said.body.get("encoding")
    if encoding == "utf8":
        return Plaintext(value)
    if encoding != "base64":
        raise Misread("an encoding is neither utf8 nor base64")
    content: bytes | None = None
    try:
        content = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    if content is None:
        raise Misread("a value is not base64")
    return Plaintext(content)


TOKENIZE: Final = Operation[Tokenized](
    name="tokenize",
    path="/v1/tokenize:batch",
    before=b'{"items":[',
    most_bytes=BATCH_BYTES,
    alone_path="/v1/tokenize",
    keyed=True,
    read=lambda said, _: Tokenized(Token(text(said.body, "token")), durability(said.body)),
)

DETOKENIZE: Final = Operation[Value](
    name="detokenize",
    path="/v1/detokenize:batch",
    before=b'{"tokens":[',
    most_bytes=TOKEN_LIST_BYTES,
    alone_path="/v1/detokenize",
    alone_before=b'{"token":',
    alone_after=b"}",
    read=lambda said, unit: Value(_token_of(unit), _plaintext(said), *_age(said)),
)

DELETE: Final = Operation[Deleted](
    name="delete",
    path="/v1/delete",
    before=b'{"tokens":[',
    most_bytes=TOKEN_LIST_BYTES,
    read=lambda said, unit: Deleted(_token_of(unit), durability(said.body)),
)


def _before(members: Mapping[str, object]) -> bytes:
    """The bytes of a body before its list of tokens."""
    said = {name: value for name, value in members.items() if value is not None}
    return _json(said)[:-1] + b',"tokens":['


def grants_create(
    session: str, expires_in: str | timedelta | None, actions: Sequence[Action] | None
) -> Operation[Granted]:
    members = {
        "session": session,
        "expires_in": None if expires_in is None else duration("expires_in", expires_in),
        "actions": None if actions is None else text_list("actions", actions),
    }
    return Operation(
        name="grants/create",
        path="/v1/grants/create",
        before=_before(members),
        most_bytes=TOKEN_LIST_BYTES,
        read=lambda said, unit: Granted(_token_of(unit), time(said.body, "expires_at"), durability(said.body)),
    )


def grants_verify(session: str, action: Action | None) -> Operation[Valid | Invalid]:
    return Operation(
        name="grants/verify",
        path="/v1/grants/verify",
        before=_before({"session": session, "action": action}),
        most_bytes=TOKEN_LIST_BYTES,
        read=_verified,
    )


def _verified(said: Said, unit: Unit) -> Valid | Invalid:
    valid = said.body.get("valid")
    if valid is True:
        return Valid(_token_of(unit), time(said.body, "expires_at"), *_age(said))
    if valid is False:
        return Invalid(_token_of(unit), text(said.body, "reason"), *_age(said))
    raise Misread("valid is neither true nor false")


GRANTS_REVOKE: Final = Operation[Revoked](
    name="grants/revoke",
    alone_path="/v1/grants/revoke",
    read=lambda said, _: Revoked(
        durability(said.body), None if said.body.get("revoked") is None else count(said.body, "revoked")
    ),
)


def revoke_unit(session: str, tokens: Sequence[Token] | None) -> Unit:
    members: dict[str, object] = {"session": session}
    if tokens is not None:
        members["tokens"] = [token.expose() for token in tokens]
    return Unit(_json(members))


METADATA_GET: Final = Operation[Metadata](
    name="metadata/get",
    alone_path="/v1/metadata/get",
    alone_before=b'{"token":',
    alone_after=b"}",
    read=lambda said, _: Metadata(
        dict(object_(said.body.get("metadata"), "metadata")),
        count(said.body, "version"),
        time(said.body, "created_at"),
        None if said.body.get("expires_at") is None else time(said.body, "expires_at"),
        *_age(said),
    ),
)


def _written(said: Said, _: Unit) -> MetadataWritten:
    return MetadataWritten(durability(said.body), count(said.body, "version"))


METADATA_SET: Final = Operation[MetadataWritten](name="metadata/set", alone_path="/v1/metadata/set", read=_written)
# A second attempt would meet the version that the first one wrote.
METADATA_SET_IF: Final = Operation[MetadataWritten](
    name="metadata/set", alone_path="/v1/metadata/set", read=_written, repeatable=False
)


def metadata_unit(token: Token, metadata: object, if_version: int | None) -> Unit:
    members: dict[str, object] = {"token": token.expose(), "metadata": _metadata(metadata)}
    if if_version is not None:
        members["if_version"] = if_version
    return Unit(_json(members))


def _status(said: Said, _: Unit) -> Status:
    return Status(text(said.body, "version"), object_(said.body.get("dependencies"), "dependencies"), said.body)


STATUS: Final = Operation[Status](name="status", alone_path="/v1/status", read=_status)
