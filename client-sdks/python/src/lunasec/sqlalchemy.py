"""SQLAlchemy 2: columns that hold tokens, and result sets that are revealed in one request.

```python
class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[Token] = mapped_column(TokenType)


customers = session.scalars(select(Customer)).all()
shown = reveal(customers, lunasec)
for customer in customers:
    print(shown.text(customer.name))
```"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import CheckConstraint, ColumnElement, Dialect, Row, String
from sqlalchemy import column as sql_column
from sqlalchemy import inspect as inspect_
from sqlalchemy.exc import DontWrapMixin, NoInspectionAvailable
from sqlalchemy.orm import InstanceState
from sqlalchemy.types import TypeDecorator

from ._limits import BATCH_ITEMS
from ._redacted import Token, TokenLike
from ._words import is_token
from .aio import AsyncLunaSec, AsyncLunaSecSession
from .client import LunaSec, LunaSecSession
from .errors import InvalidToken
from .results import Failed, Fallback, Masked, Value, text_of

__all__ = ["NotAToken", "Shown", "TokenType", "areveal", "only_tokens", "reveal", "tokens_in"]

R = TypeVar("R")
# `lunasec-` and a UUID.
_LENGTH = 44
_PATTERN = "lunasec-" + "-".join("_" * length for length in (8, 4, 4, 4, 12))


class NotAToken(InvalidToken, DontWrapMixin):
    """A column of tokens was given something else: a value, most likely. It names neither, and nor does SQLAlchemy, which
    would have quoted the statement's parameters."""


def _text_of(token: Any) -> str:
    return token.expose() if isinstance(token, Token) else str(token)


def only_tokens(column: str, name: str | None = None) -> CheckConstraint:
    """A constraint for `__table_args__`: the database itself refuses what is no token in that column, also of statements
    whose values no type sees."""
    said: ColumnElement[str] = sql_column(column, String)
    return CheckConstraint(said.like(_PATTERN), name=name)


class TokenType(TypeDecorator[Token]):
    """A column of tokens: text in the database, a `Token` in the application. It takes a `Token` or a token's text, and
    refuses whatever else. It does not see what SQL itself computes or what is said to be of another type: `only_tokens`
    does."""

    impl = String(_LENGTH)
    cache_ok = True

    @property
    def sort_key_function(self) -> Callable[[Any], Any]:  # type: ignore[override]
        """Rows are written in the order of their primary keys."""
        return _text_of

    @property
    def python_type(self) -> type[Token]:
        return Token

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text = value.expose() if isinstance(value, Token) else value
        if isinstance(text, str) and is_token(text):
            return text
        # Not in the locals of this frame either.
        del value, text
        raise NotAToken("a column of tokens was given what is no token: tokenize the value first, and store its token")

    def process_result_value(self, value: Any, dialect: Dialect) -> Token | None:
        if value is None:
            return None
        if isinstance(value, str) and is_token(value):
            return Token(value)
        del value
        raise NotAToken(
            "a column of tokens holds what is no token: what is in it was not stored by this type; look there"
        )


class Shown(Mapping[Token, R], Generic[R]):
    """What each token of a result set came to. Of one that failed by itself, `[]` raises the error."""

    def __init__(self, found: Mapping[Token, R | Failed]) -> None:
        self._found = found

    def __getitem__(self, token: TokenLike) -> R:
        hidden = Token.of(token)
        del token
        found = self._found[hidden]
        if isinstance(found, Failed):
            raise found.error
        return found

    def text(self, token: TokenLike | None, absent: str = "") -> str:
        """To be shown: the value's text, of bytes their base64, or what stands in for it; `absent` where the column is
        null."""
        if token is None:
            return absent
        hidden = Token.of(token)
        del token
        found: Any = self[hidden]
        if isinstance(found, Value):
            return text_of(found)
        return found.text if isinstance(found, Masked) else str(found.value)

    def failed(self) -> dict[Token, Failed]:
        return {token: each for token, each in self._found.items() if isinstance(each, Failed)}

    def __iter__(self) -> Iterator[Token]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Shown({len(self)} tokens)"


def tokens_in(rows: object) -> list[Token]:
    """The tokens of rows, objects and lists of these, each once. Nothing is loaded that was not loaded already."""
    found: dict[Token, None] = {}
    seen: set[int] = set()
    waiting: list[object] = [rows]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Token):
            found.setdefault(each)
        elif id(each) not in seen:
            seen.add(id(each))
            waiting.extend(reversed(_within(each)))
    return list(found)


def _within(thing: object) -> Sequence[object]:
    if isinstance(thing, (str, bytes)) or thing is None:
        return ()
    if isinstance(thing, (Row, list, tuple, set, frozenset)):
        return list(thing)
    if isinstance(thing, Mapping):
        return list(thing.values())
    try:
        state = inspect_(thing)
    except NoInspectionAvailable:
        return list(thing) if isinstance(thing, Iterable) else ()
    return list(state.dict.values()) if isinstance(state, InstanceState) else ()


def _chunks(tokens: Sequence[Token]) -> list[Sequence[Token]]:
    return [tokens[at : at + BATCH_ITEMS] for at in range(0, len(tokens), BATCH_ITEMS)]


def _options(on_unavailable: Any) -> dict[str, Any]:
    return {} if on_unavailable is None else {"on_unavailable": on_unavailable}


def reveal(
    rows: object, lunasec: LunaSec[R] | LunaSecSession[R], *, on_unavailable: Any = None
) -> Shown[R | Value | Masked | Fallback[Any]]:
    """Reveals all tokens of a result set in one request for each thousand of them: rows, objects, also those that are
    loaded below these."""
    found: dict[Token, Any] = {}
    call: Callable[..., Any] = lunasec.detokenize_batch
    for chunk in _chunks(tokens_in(rows)):
        found.update(zip(chunk, call(chunk, **_options(on_unavailable))))
    return Shown(found)


async def areveal(
    rows: object, lunasec: AsyncLunaSec[R] | AsyncLunaSecSession[R], *, on_unavailable: Any = None
) -> Shown[R | Value | Masked | Fallback[Any]]:
    """As `reveal`, awaited."""
    found: dict[Token, Any] = {}
    call: Callable[..., Any] = lunasec.detokenize_batch
    for chunk in _chunks(tokens_in(rows)):
        found.update(zip(chunk, await call(chunk, **_options(on_unavailable))))
    return Shown(found)
