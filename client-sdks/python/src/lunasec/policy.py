"""What a read does when nobody can answer it: the sidecar, its storage or its keys are away.

- `"fail"`: it raises `Unavailable`. The default.
- `"mask"`, `MaskWith("n/a")`: it gives `Masked`, with a text to show.
- `FallbackTo(function)`: it gives `Fallback`, with what the function gives for the token and the error.
  `AsyncFallbackTo` is the same for a function that is awaited.

Never when the answer is no: `grant_denied`, `forbidden`, `not_found`, `rate_limited` and all other codes raise whatever
is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Union

from ._limits import MASK
from ._redacted import Token
from .errors import InvalidRequest, SidecarUnreachable, Unavailable

F = TypeVar("F", covariant=True)


@dataclass(frozen=True)
class MaskWith:
    """Shows this text instead of the value."""

    text: str


@dataclass(frozen=True)
class FallbackTo(Generic[F]):
    """Shows what a function gives instead of the value."""

    function: Callable[[Token, Unavailable], F]


@dataclass(frozen=True)
class AsyncFallbackTo(Generic[F]):
    """Shows what a function gives, once it is awaited, instead of the value. It may take as long as the call's deadline."""

    function: Callable[[Token, Unavailable], Awaitable[F]]


Fail = Literal["fail"]
Masks = Union[Literal["mask"], MaskWith]
Policy = Union[Fail, Masks, FallbackTo[Any], AsyncFallbackTo[Any]]


def policy_of(policy: Any, awaits: bool) -> Policy:
    """A policy that is one: a mistake in it must not wait for an outage to be found."""
    if isinstance(policy, AsyncFallbackTo) and callable(policy.function):
        if awaits:
            return policy
        raise InvalidRequest("on_unavailable awaits, and this client does not: use FallbackTo, or AsyncLunaSec")
    masks = isinstance(policy, MaskWith) and isinstance(policy.text, str)
    falls = isinstance(policy, FallbackTo) and callable(policy.function)
    if masks or falls or (isinstance(policy, str) and policy in ("fail", "mask")):
        chosen: Policy = policy
        return chosen
    raise InvalidRequest(
        "on_unavailable is no policy: it is 'fail', 'mask', MaskWith(text), FallbackTo(function) or "
        "AsyncFallbackTo(function)"
    )


def mask_of(policy: Policy) -> str | None:
    """The text of a policy that masks."""
    return policy.text if isinstance(policy, MaskWith) else MASK if policy == "mask" else None


def stands_in_for(policy: Policy, error: Exception) -> bool:
    """Not where the client was closed: that is no outage, but a mistake to be seen."""
    closed = isinstance(error, SidecarUnreachable) and error.closed
    return policy != "fail" and isinstance(error, Unavailable) and not closed
