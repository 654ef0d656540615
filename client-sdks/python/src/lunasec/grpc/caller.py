"""Whose call it is, and what its messages ask of the sidecar."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, NamedTuple, Union

from .._hiding import Held, caught, right
from .._limits import DEADLINE, DISPLAY_DEADLINE, GRPC_ITEMS_IN, GRPC_ITEMS_OUT
from .._plans import session_of
from .._rules import Ask, Asks, Role, incoming, outgoing
from .._words import told
from ..errors import LunaSecError, Unauthenticated
from ..policy import policy_of
from .plan import Described, MethodPlans, Plan, plans_of
from .walk import opened


class ServerCall(NamedTuple):
    """What a function that finds the session is told of a call."""

    #: Such as `/shop.Orders/Place`.
    method: str
    metadata: tuple[tuple[str, Union[str, bytes]], ...]
    peer: str

    def __repr__(self) -> str:
        # Its metadata has sessions and JWTs.
        return f"ServerCall({self.method})"

    def first(self, key: str) -> str | None:
        """The first text of that key in the metadata."""
        return next(iter(self.all(key)), None)

    def all(self, key: str) -> list[str]:
        """All texts of that key in the metadata, where keys are in lower case."""
        found = [value for name, value in self.metadata if name == key.lower()]
        return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in found]


Said = Union[str, tuple[str, Union[str, None]], None]
#: The key of the metadata that has it, or a function that gives it, or it and a JWT, or None. **Metadata is the caller's
#: word**: take it where the caller is trusted or was checked before.
SessionOf = Union[str, Callable[[ServerCall], Union[Said, Awaitable[Said]]], None]


class Rules:
    """What all calls of an interceptor have in common."""

    def __init__(
        self,
        protos: Iterable[Described],
        role: Role,
        on_unavailable: Any,
        awaits: bool,
        policy: Any,
        has_session: bool,
    ) -> None:
        self.plans = plans_of(protos, role, has_session)
        self.role: Role = role
        self.on_unavailable = None if on_unavailable is None else policy_of(on_unavailable, awaits)
        self._policy = policy

    def of(self, method: str) -> MethodPlans | None:
        return self.plans.get(method)

    def take_in(self, plan: Plan, held: Held[Any]) -> tuple[Held[Any], Asks]:
        copy, slots = right(caught(opened, plan, held.take(), GRPC_ITEMS_IN))
        return copy, incoming(slots, self.role)

    def let_out(self, plan: Plan, held: Held[Any]) -> tuple[Held[Any], Asks]:
        copy, slots = right(caught(opened, plan, held.take(), GRPC_ITEMS_OUT))
        return copy, outgoing([slot for slot in slots if slot.content], self.role, self.on_unavailable)

    def deadline(self, ask: Ask, client: Any, left: float | None) -> dict[str, Any]:
        """No call of the sidecar outlives the call that it is for."""
        if left is None:
            return {}
        policy = self._policy if self.on_unavailable is None else self.on_unavailable
        stands = ask.call == "detokenize_batch" and policy != "fail"
        usual = client._view.deadline or (DISPLAY_DEADLINE if stands else DEADLINE)
        return {"deadline": max(0.0, min(usual, left))}


def said_of(session: SessionOf, call: ServerCall) -> Any:
    """What the application says; it may still be to be awaited."""
    if not isinstance(session, str):
        return None if session is None else session(call)
    if len(call.all(session)) > 1:
        # Whoever checked it before may have looked at the other one.
        raise Unauthenticated("the call's metadata says its session more than once")
    return call.first(session)


UNKNOWN: Final = "this method is in none of the .proto files that LunaSec's interceptor was given"


class Sent:
    """One call of a client: its method, and the time that it has, for all that is done for it."""

    def __init__(self, rules: Rules, details: Any, passes: bool) -> None:
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        plans = rules.of(method)
        if plans is None and not passes and not method.startswith("/grpc."):
            raise told(LunaSecError(f'{UNKNOWN}; give it that, or say other_methods="pass"', code="internal"))
        self.plans = plans or MethodPlans(None, None)
        self._details = details
        self._until = None if details.timeout is None else time.monotonic() + details.timeout

    def left(self) -> float | None:
        return None if self._until is None else self._until - time.monotonic()

    def details(self) -> Any:
        """As they are now, that some of its time is over."""
        left = self.left()
        if left is None or not hasattr(self._details, "_replace"):
            return self._details
        return self._details._replace(timeout=max(0.0, left))


class Caller:
    """The clients of one call: its session is asked for once, and is the same for all that is granted, verified, revealed.
    `far`: what finding it raises is told to nobody far away."""

    def __init__(self, client: Any, find: Callable[[], Any], far: bool = False) -> None:
        self._client = client
        self._find = find
        self._far = far
        # What it is, once it was asked: messages of both directions may ask at once, and the first that is said counts.
        self._session: dict[str, Any] = {}

    def target(self, needs_session: bool) -> Any:
        thrown: Exception
        try:
            if not self._session:
                self._bind(Held(_not_awaited(self._find())))
            return self._chosen(needs_session)
        except Exception as error:
            thrown = error
        raise self._told(thrown)

    async def atarget(self, needs_session: bool) -> Any:
        thrown: Exception
        try:
            if not self._session:
                said = Held(self._find())
                self._bind(Held(await said.take()) if inspect.isawaitable(said.seen()) else said)
            return self._chosen(needs_session)
        except Exception as error:
            thrown = error
        raise self._told(thrown)

    def _told(self, thrown: Exception) -> Exception:
        if isinstance(thrown, LunaSecError) or not self._far:
            return thrown
        wrong = LunaSecError("what finds the session of a call raised: see __cause__, and mend it", code="internal")
        wrong.__cause__ = thrown
        return wrong

    def _bind(self, said: Held[Any]) -> None:
        self._session.setdefault("", right(caught(session_of, self._client, said.take)))

    def _chosen(self, needs_session: bool) -> Any:
        session = self._session[""]
        if needs_session and session is None:
            raise Unauthenticated("this needs a session, and the call has none")
        return session or self._client


def _not_awaited(said: Any) -> Any:
    if inspect.isawaitable(said):
        raise TypeError("this server is no grpc.aio one: its session cannot be awaited")
    return said
