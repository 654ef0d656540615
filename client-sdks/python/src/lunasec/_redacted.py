"""Tokens and values that print redacted wherever something prints by itself."""

from __future__ import annotations

import hmac
import secrets
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, Union

from ._hiding import caught, right
from .errors import InvalidRequest, InvalidToken

TOKEN_PRINT: Final = "[lunasec token: .expose() gives its text]"
PLAINTEXT_PRINT: Final = "[lunasec plaintext: .reveal() gives its text]"

# Of this process alone, so that nothing can be learned from a hash that gets out.
_KEY: Final = secrets.token_bytes(32)

_R = TypeVar("_R", bound="_Redacted")


class Print(NamedTuple):
    """What prints, and what to give instead."""

    text: str
    what: str
    instead: str


_PRINTS: Final = (
    Print(TOKEN_PRINT, "Token", "store what token.expose() gives"),
    Print(PLAINTEXT_PRINT, "Plaintext", "give the Plaintext itself, or what reveal() gives"),
)


def printed_as(text: str) -> Print | None:
    """Whether a text has in it what a token or a plaintext prints as."""
    return next((each for each in _PRINTS if each.text in text), None)


class _Redacted:
    """Its content is behind a function: a debugger that opens the object shows no more than one that prints it."""

    __slots__ = ("__weakref__", "_ask")

    _PRINT = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if _Redacted not in cls.__bases__:
            raise TypeError("tokens and plaintexts have no subclasses: one could print what is inside")
        super().__init_subclass__(**kwargs)

    def __repr__(self) -> str:
        return self._PRINT

    def __str__(self) -> str:
        return self._PRINT

    def __format__(self, spec: str) -> str:
        return format(self._PRINT, spec)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} does not change")

    def __copy__(self: _R) -> _R:
        return self

    def __deepcopy__(self: _R, memo: object) -> _R:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled: that would write down what it hides")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def __bool__(self) -> bool:
        # Also an empty value is a value: `if value` asks whether there is one.
        return True


def _hash(kind: bytes, inside: bytes) -> int:
    return int.from_bytes(hmac.digest(_KEY, kind + inside, "sha256")[:8], "big", signed=True)


class Token(_Redacted):
    """What to keep instead of a value.

    It prints redacted wherever something prints by itself: log lines, f-strings, debuggers, tracebacks with locals. **To
    store it or to hand it to a browser, ask for its text: `token.expose()`.** Text that comes back from a database goes
    into any method as it is, or through `Token.of`.
    """

    __slots__ = ()

    _PRINT = TOKEN_PRINT

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            del text
            raise InvalidToken("a token is made of text; of what may be either, by Token.of()")
        printed = printed_as(text)
        if printed is not None:
            del text
            raise InvalidToken(
                f"this is how a {printed.what} prints, not a token: {printed.instead}; what was stored here is lost"
            )
        object.__setattr__(self, "_ask", lambda: text)

    @staticmethod
    def of(token: TokenLike) -> Token:
        """A token from its text, or as it is. Whether it is one is the sidecar's to say; only what was redacted is refused."""
        if isinstance(token, Token):
            return token
        if isinstance(token, str):
            made = caught(Token, token)
            del token
            return right(made)
        del token
        raise InvalidToken("a token is text or a Token; this is neither")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """A field of this type takes a token and nothing else; see `lunasec.pydantic`."""
        from .pydantic import schema_of

        return schema_of(None)

    def expose(self) -> str:
        """The text, `lunasec-` and a UUID: for a database, a request, a body, and not for a log."""
        text: str = self._ask()  # type: ignore[attr-defined]
        return text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Token):
            return NotImplemented
        return hmac.compare_digest(
            self.expose().encode("utf-8", "surrogatepass"), other.expose().encode("utf-8", "surrogatepass")
        )

    def __hash__(self) -> int:
        return _hash(b"token", self.expose().encode("utf-8", "surrogatepass"))


class Plaintext(_Redacted):
    """A value in the clear, that prints redacted until it is asked: `reveal()` for text, `reveal_bytes()` for bytes."""

    __slots__ = ()

    _PRINT = PLAINTEXT_PRINT

    def __init__(self, value: str | bytes | bytearray | memoryview) -> None:
        if isinstance(value, (bytearray, memoryview)):
            value = bytes(value)
        if not isinstance(value, (str, bytes)):
            del value
            raise InvalidRequest("a value is text or bytes; convert it, or serialize it first")
        object.__setattr__(self, "_ask", lambda: value)

    @staticmethod
    def of(value: PlaintextLike) -> Plaintext:
        """Wraps a value, so that it prints redacted from here on."""
        if isinstance(value, Plaintext):
            return value
        made = caught(Plaintext, value)
        del value
        return right(made)

    @property
    def is_text(self) -> bool:
        """Whether it was tokenized as text, or as bytes."""
        return isinstance(self._ask(), str)  # type: ignore[attr-defined]

    def reveal(self) -> str:
        """The text. TypeError where the value was tokenized as bytes: they may be no text."""
        value = self._ask()  # type: ignore[attr-defined]
        if isinstance(value, str):
            return value
        del value
        raise TypeError("this value was tokenized as bytes, not as text: ask for them with reveal_bytes()")

    def reveal_bytes(self) -> bytes:
        """The bytes; of a text, those of its UTF-8."""
        value = self._ask()  # type: ignore[attr-defined]
        return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Plaintext):
            return NotImplemented
        same_kind = self.is_text == other.is_text
        return hmac.compare_digest(self.reveal_bytes(), other.reveal_bytes()) and same_kind

    def __hash__(self) -> int:
        return _hash(b"text" if self.is_text else b"bytes", self.reveal_bytes())


#: What stands for a token in a call: a `Token`, or its text as a database gives it back.
TokenLike = Union[Token, str]
#: What can be tokenized: text, bytes, or a `Plaintext`.
PlaintextLike = Union[str, bytes, bytearray, memoryview, Plaintext]
