"""Whose call it is, and what its messages ask of the sidecar."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Union

from .._limits import DEADLINE, DISPLAY_DEADLINE, GRPC_ITEMS_IN, GRPC_ITEMS_OUT
from .._rules import Ask, Asks, Role, incoming, outgoing
from ..errors import Unauthenticated
from ..policy import policy_of
from .plan import Described, MethodPlans, Plan, plans_of
from .walk import opened


class ServerCall(NamedTuple):
    """What a function that finds the session is told of a call."""

    #: Such as `/shop.Orders/Place`.
    method: str
    metadata: tuple[tuple[str, Union[str, bytes]], ...]
    peer: str

    def first(self, key: str) -> str | None:
        """The first text of that key in the metadata."""
        found = next((value for name, value in self.metadata if name == key), None)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


Said = Union[str, tuple[str, Union[str, None]], None]
#: The key of the metadata that has it, or a function that gives it, or it and a JWT, or None. **Metadata is the caller's
#: word**: take it where the caller is trusted or was checked before.
SessionOf = Union[str, Callable[[ServerCall], Union[Said, Awaitable[Said]]], None]


class Rules:
    """What all calls of an interceptor have in common."""

    def __init__(self, protos: Iterable[Described], role: Role, on_unavailable: Any, awaits: bool, policy: Any) -> None:
        self.plans = plans_of(protos, role)
        self.role: Role = role
        self.on_unavailable = None if on_unavailable is None else policy_of(on_unavailable, awaits)
        self._policy = policy

    def of(self, method: str) -> MethodPlans | None:
        return self.plans.get(method)

    def take_in(self, plan: Plan, message: Any) -> tuple[Any, Asks]:
        copy, slots = opened(plan, message, GRPC_ITEMS_IN)
        return copy, incoming(slots, self.role)

    def let_out(self, plan: Plan, message: Any) -> tuple[Any, Asks]:
        copy, slots = opened(plan, message, GRPC_ITEMS_OUT)
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
    return call.first(session) if isinstance(session, str) else None if session is None else session(call)


class Caller:
    """The clients of one call: its session is asked for once, and is the same for all that is granted, verified, revealed."""

    def __init__(self, client: Any, find: Callable[[], Any]) -> None:
        self._client = client
        self._find = find
        self._asked = False
        self._session: Any = None

    def target(self, needs_session: bool) -> Any:
        if not self._asked:
            said = self._find()
            if inspect.isawaitable(said):
                raise TypeError("this server is no grpc.aio one: its session cannot be awaited")
            self._bind(said)
        return self._chosen(needs_session)

    async def atarget(self, needs_session: bool) -> Any:
        if not self._asked:
            said = self._find()
            self._bind(await said if inspect.isawaitable(said) else said)
        return self._chosen(needs_session)

    def _bind(self, said: Any) -> None:
        self._asked = True
        session, jwt = said if isinstance(said, tuple) else (said, None)
        if session:
            self._session = self._client.for_session(session, jwt=jwt)

    def _chosen(self, needs_session: bool) -> Any:
        if needs_session and self._session is None:
            raise Unauthenticated("this needs a session, and the call has none")
        return self._session or self._client
