"""The values in a message, and how to put others in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._hiding import Held
from .._limits import DEPTH
from .._redacted import Token
from .._rules import Slot
from .._words import told
from ..errors import InvalidRequest, LunaSecError, PayloadTooLarge
from ..results import Masked, Value
from .plan import Plan, PlannedField, held, is_bytes, is_map, is_repeated, is_wrapper


class Slots:
    """What was found, up to a number: one message must not take all that the sidecar can do from everybody else."""

    def __init__(self, most: int) -> None:
        self.all: list[Slot] = []
        self._most = most

    def add(self, slot: Slot) -> None:
        if len(self.all) >= self._most:
            raise told(PayloadTooLarge(f"a message has at most {self._most} values and tokens; send it in several"))
        self.all.append(slot)


def opened(plan: Plan, message: Any, most: int) -> tuple[Held[Any], list[Slot]]:
    """A copy of a message and what is in it: what the application made stays as it is."""
    copy = type(message)()
    copy.CopyFrom(message)
    slots = Slots(most)
    _walk(plan, copy, slots, 0)
    return Held(copy), slots.all


def _walk(plan: Plan, message: Any, slots: Slots, depth: int) -> None:
    if depth > DEPTH:
        raise told(InvalidRequest(f"a message is nested more than {DEPTH} times"))
    for each in plan.fields:
        descriptor = each.descriptor
        if is_map(descriptor):
            _map(each, getattr(message, descriptor.name), slots, depth)
        elif is_repeated(descriptor):
            _list(each, getattr(message, descriptor.name), slots, depth)
        elif descriptor.has_presence and not message.HasField(descriptor.name):
            continue
        else:
            _one(each, message, slots, depth)


def _one(each: PlannedField, message: Any, slots: Slots, depth: int) -> None:
    name, descriptor = each.descriptor.name, each.descriptor
    value = getattr(message, name)
    if each.plan is not None:
        _walk(each.plan, value, slots, depth + 1)
    elif is_wrapper(descriptor):
        _add(each, value.value, lambda new: setattr(value, "value", new), slots)
    elif descriptor.has_presence or value:
        # An empty one is told from an absent one only where there is presence.
        _add(each, value, lambda new: setattr(message, name, new), slots)


def _list(each: PlannedField, values: Any, slots: Slots, depth: int) -> None:
    for index, value in enumerate(values):
        if each.plan is not None:
            _walk(each.plan, value, slots, depth + 1)
        elif is_wrapper(each.descriptor):
            _add(each, value.value, _setter(value), slots)
        else:
            _add(each, value, _putter(values, index), slots)


def _map(each: PlannedField, values: Any, slots: Slots, depth: int) -> None:
    for key in list(values):
        if each.plan is not None:
            _walk(each.plan, values[key], slots, depth + 1)
        elif is_wrapper(held(each.descriptor)):
            _add(each, values[key].value, _setter(values[key]), slots)
        else:
            _add(each, values[key], _putter(values, key), slots)


def _setter(wrapper: Any) -> Callable[[Any], None]:
    return lambda new: setattr(wrapper, "value", new)


def _putter(values: Any, key: Any) -> Callable[[Any], None]:
    def put(new: Any) -> None:
        values[key] = new

    return put


def _add(each: PlannedField, content: Any, put: Callable[[Any], None], slots: Slots) -> None:
    binary = is_bytes(held(each.descriptor))
    where = each.where

    def set(new: object) -> None:
        put(_binary(new, where) if binary else _text(new, where))

    assert each.rule is not None
    if content or each.rule.tokenize:
        slots.add(Slot(where, each.rule, content, set))


def _text(new: object, where: str) -> str:
    if isinstance(new, Token):
        return new.expose()
    if isinstance(new, Value):
        if new.value.is_text:
            return new.value.reveal()
        raise LunaSecError(f"{where} is a string, and its value is bytes: make it a bytes field", code="internal")
    shown = new.text if isinstance(new, Masked) else getattr(new, "value", None)
    if isinstance(shown, str):
        return shown
    raise LunaSecError(f"{where} is a string, and what stands in for its value is none", code="internal")


def _binary(new: object, where: str) -> bytes:
    if isinstance(new, Value):
        return new.value.reveal_bytes()
    shown = getattr(new, "value", None)
    if isinstance(shown, bytes) and not isinstance(new, Token):
        return shown
    return _text(new, where).encode()
