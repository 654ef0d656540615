"""What is to be done with the messages of each method, by path. All that cannot be done is said here, at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, NamedTuple, Union

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, ServiceDescriptor
from google.protobuf.unknown_fields import UnknownFieldSet

from .._rules import Role, Rule

#: A generated module (`shop_pb2`), or the descriptor of a file or a service.
Described = Union[ModuleType, FileDescriptor, ServiceDescriptor]

_KNOWN: Final = {"tokenize", "detokenize", "verify", "grant"}
_WRAPPERS: Final = {"google.protobuf.StringValue", "google.protobuf.BytesValue"}
_DURATION: Final = re.compile(r"([0-9]+(ms|s|m|h|d))+")


class FieldRuleError(Exception):
    """Rules of .proto files that cannot be carried out: all of them, and where they are."""

    def __init__(self, mistakes: Iterable[str]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("; ".join(self.mistakes))


@dataclass(eq=False)
class Plan:
    """A message that rules apply to, itself or further down."""

    name: str
    fields: list[PlannedField] = field(default_factory=list)


class PlannedField(NamedTuple):
    descriptor: FieldDescriptor
    where: str
    #: What is done with it, or where it is a message, with that.
    rule: Rule | None
    plan: Plan | None


class MethodPlans(NamedTuple):
    request: Plan | None
    response: Plan | None


def is_repeated(descriptor: FieldDescriptor) -> bool:
    # Asked for in two ways: the older one warns in newer versions, and the newer one is not in older ones.
    asked: Any = descriptor
    newer = getattr(asked, "is_repeated", None)
    return bool(asked.label == FieldDescriptor.LABEL_REPEATED if newer is None else newer)


def is_map(descriptor: FieldDescriptor) -> bool:
    message = descriptor.message_type
    return message is not None and bool(message.GetOptions().map_entry)


def held(descriptor: FieldDescriptor) -> FieldDescriptor:
    """Of a map its values."""
    message: Any = descriptor.message_type
    values: FieldDescriptor = message.fields_by_name["value"] if is_map(descriptor) else descriptor
    return values


def is_wrapper(descriptor: FieldDescriptor) -> bool:
    return descriptor.message_type is not None and descriptor.message_type.full_name in _WRAPPERS


def is_bytes(descriptor: FieldDescriptor) -> bool:
    message = descriptor.message_type
    if message is not None and message.full_name in _WRAPPERS:
        return bool(message.full_name == "google.protobuf.BytesValue")
    return bool(descriptor.type == FieldDescriptor.TYPE_BYTES)


def services_of(protos: Iterable[Described]) -> Iterator[ServiceDescriptor]:
    for each in protos:
        if isinstance(each, ServiceDescriptor):
            yield each
            continue
        yield from _file(each).services_by_name.values()


def _file(described: Any) -> FileDescriptor:
    file = described.file if isinstance(described, ServiceDescriptor) else getattr(described, "DESCRIPTOR", described)
    if not isinstance(file, FileDescriptor):
        raise TypeError("protos are generated modules such as shop_pb2, or descriptors of files or services")
    return file


def _with_imports(files: Iterable[FileDescriptor]) -> list[FileDescriptor]:
    found: dict[str, FileDescriptor] = {}
    waiting = list(files)
    while waiting:
        file = waiting.pop(0)
        if file.name not in found and not file.name.startswith(("google/", "lunasec/")):
            found[file.name] = file
            waiting.extend(file.dependencies)
    return list(found.values())


def plans_of(protos: Iterable[Described], role: Role, has_session: bool = True) -> dict[str, MethodPlans]:
    protos = list(protos)
    services = list(services_of(protos))
    files = _with_imports(_file(each) for each in protos)
    planner = _Planner(role)
    for file in files:
        planner.look_at(file)
    plans = {
        f"/{service.full_name}/{method.name}": MethodPlans(
            planner.plan(method.input_type, True), planner.plan(method.output_type, False)
        )
        for service in services
        for method in service.methods
    }
    if not has_session:
        planner.without_session()
    # Also of services that were not asked for: what they share may have rules for those.
    for service in (service for file in files for service in file.services_by_name.values()):
        for method in service.methods:
            planner.plan(method.input_type, True)
            planner.plan(method.output_type, False)
    planner.unused()
    if planner.mistakes:
        raise FieldRuleError(planner.mistakes)
    return plans


class _Planner:
    def __init__(self, role: Role) -> None:
        self._role = role
        self._plans: dict[tuple[str, bool], Plan] = {}
        #: In the order in which they were found, each once.
        self.mistakes: dict[str, None] = {}
        self._rules: dict[str, Rule] = {}
        #: What is part of requests (True) and of responses.
        self._used: dict[bool, set[str]] = {True: set(), False: set()}

    def look_at(self, file: FileDescriptor) -> None:
        """Also at what no method reaches: a rule that is never carried out is a mistake."""
        for extension in file.extensions_by_name.values():
            self._extension(extension)
        for message in file.message_types_by_name.values():
            self._look_at(message)

    def _look_at(self, message: Descriptor) -> None:
        for extension in message.extensions:
            self._extension(extension)
        for each in message.fields:
            self._rule(each)
        for inner in message.nested_types:
            self._look_at(inner)

    def _extension(self, extension: FieldDescriptor) -> None:
        if self._rule(extension) is not None:
            del self._rules[extension.full_name]
            where = extension.full_name
            self.mistakes[f"{where}: a rule on an extension has no effect; move the field into its message"] = None

    def unused(self) -> None:
        for where, rule in self._rules.items():
            asked, answered = where in self._used[True], where in self._used[False]
            if asked and not answered and not rule.comes_in():
                self.mistakes[
                    f"{where}: it is only part of requests, where detokenize and grant do nothing; use verify or "
                    "tokenize, or move the rule to the response"
                ] = None
            if answered and not asked and not rule.goes_out():
                self.mistakes[
                    f"{where}: it is only part of responses, where tokenize and verify do nothing; use detokenize or "
                    "grant, or move the rule to the request"
                ] = None

    def without_session(self) -> None:
        for where, rule in self._rules.items():
            if any(where in used and self._needs_session(rule, incoming) for incoming, used in self._used.items()):
                self.mistakes[f"{where}: grant and verify are for a session; give the interceptor its session"] = None

    def _needs_session(self, rule: Rule, incoming: bool) -> bool:
        grants = rule.grant is not None
        if not incoming:
            return self._role != "client" and grants
        return (self._role != "client" and rule.verify) or (self._role != "behind" and rule.tokenize and grants)

    def plan(self, message: Descriptor, incoming: bool) -> Plan | None:
        plan = self._planned(message, incoming)
        return plan if _acts(plan, set()) else None

    def _planned(self, message: Descriptor, incoming: bool) -> Plan:
        key = message.full_name, incoming
        known = self._plans.get(key)
        if known is not None:
            return known
        plan = self._plans[key] = Plan(message.full_name)
        for each in message.fields:
            planned = self._field(each, incoming)
            if planned is not None:
                plan.fields.append(planned)
        return plan

    def _field(self, descriptor: FieldDescriptor, incoming: bool) -> PlannedField | None:
        where = descriptor.full_name
        self._used[incoming].add(where)
        rule = self._rule(descriptor)
        if rule is not None:
            acts = self._acts(rule, incoming)
            return PlannedField(descriptor, where, rule, None) if acts else None
        inner = held(descriptor)
        if inner.message_type is None or inner.message_type.full_name.startswith("google.protobuf."):
            return None
        return PlannedField(descriptor, where, None, self._planned(inner.message_type, incoming))

    def _acts(self, rule: Rule, incoming: bool) -> bool:
        if self._role == "client":
            return rule.tokenize if incoming else rule.detokenize
        if incoming:
            return rule.comes_in()
        return rule.goes_out() if self._role == "server" else rule.grant is not None

    def _rule(self, descriptor: FieldDescriptor) -> Rule | None:
        where = descriptor.full_name
        if where in self._rules:
            return self._rules[where]
        said = _option(descriptor)
        if said is None:
            return None
        if len(UnknownFieldSet(said)) > 0 or any(each.name not in _KNOWN for each, _ in said.ListFields()):
            self.mistakes[f"{where}: it has a rule that is newer than this package; update it"] = None
            return None
        inner = held(descriptor)
        texts = inner.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        if not texts and not is_wrapper(inner):
            self.mistakes[f"{where}: only string and bytes fields have rules; it cannot hold a token"] = None
            return None
        if said.grant and _DURATION.fullmatch(said.grant) is None:
            self.mistakes[f'{where}: (lunasec.field).grant is a duration such as "15m"'] = None
            return None
        rule = Rule(said.tokenize, said.verify, said.detokenize, said.grant or None)
        if not rule.comes_in() and not rule.goes_out():
            return None
        self._rules[where] = rule
        return rule


def _option(descriptor: FieldDescriptor) -> Any:
    """By its name: the number may be another one in a copy of the file."""
    options: descriptor_pb2.FieldOptions = descriptor.GetOptions()
    found = (value for field, value in options.ListFields() if field.full_name == "lunasec.field")
    return next(found, None)


def _acts(plan: Plan, seen: set[int]) -> bool:
    """Whether there is a rule, itself or further down."""
    seen.add(id(plan))
    return any(
        each.rule is not None or (each.plan is not None and id(each.plan) not in seen and _acts(each.plan, seen))
        for each in plan.fields
    )
