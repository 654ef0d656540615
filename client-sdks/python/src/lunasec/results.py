"""What calls come to. `kind` tells them apart, for `match` and for type checkers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Literal, Union

from typing_extensions import TypeVar

from ._redacted import Plaintext, Token
from .errors import LunaSecError, Unavailable

#: Where a write is safe: `stored` in central storage; `journaled` on this sidecar's volume until storage is back. What is
#: journaled is effective here at once, and may be `not_found` at other sidecars until then.
Durability = Literal["stored", "journaled"]

F = TypeVar("F", default=Any)


@dataclass(frozen=True)
class Tokenized:
    """What a tokenize gave."""

    #: What to keep instead of the value: store `token.expose()`.
    token: Token
    durability: Durability
    kind: Literal["tokenized"] = field(default="tokenized", repr=False)


@dataclass(frozen=True)
class Value:
    """A value, revealed."""

    token: Token
    #: `value.reveal()` gives its text.
    value: Plaintext
    #: Which dependency is away or slow, where the answer is older than it should be: `storage`, `keys`, `storage,keys`.
    degraded: str | None = None
    #: How old the answer is, in seconds, where it is degraded.
    age: int | None = None
    kind: Literal["value"] = field(default="value", repr=False)


def text_of(answer: Value) -> str:
    """As text that can be shown: bytes as their base64."""
    value = answer.value
    return value.reveal() if value.is_text else base64.b64encode(value.reveal_bytes()).decode()


@dataclass(frozen=True)
class Masked:
    """Nobody could answer: what the policy `mask` shows instead of a value."""

    token: Token
    #: What to show.
    text: str
    #: All that is known about it.
    error: Unavailable
    kind: Literal["masked"] = field(default="masked", repr=False)

    @property
    def reason(self) -> str:
        """The code of the error: `storage_unavailable`, `sidecar_unreachable`, ..."""
        return self.error.code


@dataclass(frozen=True)
class Fallback(Generic[F]):
    """Nobody could answer: what the policy `FallbackTo` gives instead of a value."""

    token: Token
    #: What the policy's function gave. It does not print: it may be what it stands in for.
    value: F = field(repr=False)
    error: Unavailable
    kind: Literal["fallback"] = field(default="fallback", repr=False)

    @property
    def reason(self) -> str:
        """The code of the error: `storage_unavailable`, `sidecar_unreachable`, ..."""
        return self.error.code


@dataclass(frozen=True)
class Failed:
    """An item of a list that failed by itself; the others did not."""

    error: LunaSecError
    #: The token that it is about, where the call named one.
    token: Token | None = None
    kind: Literal["failed"] = field(default="failed", repr=False)


@dataclass(frozen=True)
class Metadata:
    """A token's metadata."""

    # Kept in the clear beside the value, and not printed: what an application puts there is its own.
    metadata: Mapping[str, Any] = field(repr=False)
    #: 0 until some is set, then one more with every set.
    version: int
    created_at: datetime
    expires_at: datetime | None = None
    degraded: str | None = None
    age: int | None = None


@dataclass(frozen=True)
class MetadataWritten:
    """Metadata was set."""

    durability: Durability
    version: int


@dataclass(frozen=True)
class Granted:
    """A session may now do something with a token."""

    token: Token
    #: Later than asked for where an earlier grant lasts longer.
    expires_at: datetime
    durability: Durability
    kind: Literal["granted"] = field(default="granted", repr=False)


@dataclass(frozen=True)
class Valid:
    """A session may do something with a token."""

    token: Token
    expires_at: datetime
    degraded: str | None = None
    age: int | None = None
    kind: Literal["valid"] = field(default="valid", repr=False)


@dataclass(frozen=True)
class Invalid:
    """A session may not do something with a token."""

    token: Token
    #: `denied` or `expired`.
    reason: str
    degraded: str | None = None
    age: int | None = None
    kind: Literal["invalid"] = field(default="invalid", repr=False)


@dataclass(frozen=True)
class Revoked:
    """Grants were taken back."""

    durability: Durability
    #: Of how many tokens; None for a whole session. May be too low where the client had to ask twice.
    revoked: int | None = None


@dataclass(frozen=True)
class Deleted:
    """A token has no value any more, whether it had one or not."""

    token: Token
    durability: Durability
    kind: Literal["deleted"] = field(default="deleted", repr=False)


@dataclass(frozen=True)
class Status:
    """What the sidecar says of itself and of what it needs."""

    version: str
    #: For each, `state` (`up`, `degraded`, `down`), `since`, and where it is not up a `reason`.
    dependencies: Mapping[str, Any]
    #: All that the answer says, also what this version has no name for.
    raw: Mapping[str, Any] = field(repr=False)


#: What a read comes to where nothing may stand in for the value, and where something may.
MaskedValue = Union[Value, Masked]
