"""What a schema of Pydantic's says of tokens, before there is anything to validate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from ._rules import Rule

Mapped = dict[str, Any]
# What JSON has outside of objects and lists, and what takes whatever there is.
_SCALARS: Final = frozenset(
    {"any", "bool", "bytes", "complex", "date", "datetime", "decimal", "enum", "float", "int", "literal", "str"}
    | {"time", "timedelta", "url", "uuid"}
)


def annotated(field: Any) -> Any:
    """The type of a field, as it was written."""
    made: Any = Annotated
    parts = (field.annotation, *field.metadata)
    return made[parts] if field.metadata else field.annotation


def nodes_in(schema: object) -> Iterator[Mapped]:
    """All that a schema is made of, each once."""
    seen: set[int] = set()
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, (dict, list, tuple)) or id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            yield each
        waiting.extend(each.values() if isinstance(each, dict) else each)


def rules_within(schema: object) -> list[Rule]:
    """Of all fields of type `Token`; one without a rule has an empty one."""
    return [rule for node in nodes_in(schema) if isinstance(rule := node.get("lunasec"), Rule)]


def refuse_misplaced(schema: object) -> None:
    """A value has no hash before it is a token: where one is needed, each request would fail."""
    defined = {ref: node for node in nodes_in(schema) if isinstance(ref := node.get("ref"), str)}
    for node in nodes_in(schema):
        for kind, part in (("set", "items_schema"), ("frozenset", "items_schema"), ("dict", "keys_schema")):
            if node.get("type") == kind and _comes_in(node.get(part), defined):
                where = "the keys of a map" if kind == "dict" else f"a {kind}"
                raise TypeError(f"tokens with a rule of tokenize or verify cannot be in {where}: take a list")


def _comes_in(schema: object, defined: Mapped, seen: frozenset[str] = frozenset()) -> bool:
    if any(rule.comes_in() for rule in rules_within(schema)):
        return True
    refs = {ref for node in nodes_in(schema) if isinstance(ref := node.get("schema_ref"), str)} - seen
    return any(_comes_in(defined.get(ref), defined, seen | refs) for ref in refs)


def let_past(schema: object) -> str | None:
    """What a union takes beside a token that is tokenized: it reaches the endpoint as it came."""
    for node in nodes_in(schema):
        if node.get("type") == "union":
            choices = [_bare(each) for each in node.get("choices", ())]
            tokenizes = any(_rule_of(each).tokenize for each in choices)
            beside = next((each["type"] for each in choices if each.get("type") in _SCALARS), None)
            if tokenizes and beside is not None:
                return str(beside)
    return None


def _bare(schema: Any) -> Mapped:
    """Without what is wrapped around it."""
    schema = schema[0] if isinstance(schema, tuple) else schema
    while _rule_of(schema) == Rule() and isinstance(schema.get("schema"), dict):
        schema = schema["schema"]
    return dict(schema)


def _rule_of(schema: Mapped) -> Rule:
    rule = (schema.get("metadata") or {}).get("lunasec")
    return rule if isinstance(rule, Rule) else Rule()


def words_in(schema: object) -> set[str]:
    """What its author called things by: whatever else is in a mistake's place is of who made it."""
    words: set[str] = set()
    for node in nodes_in(schema):
        words.update(key for key in node if isinstance(key, str))
        for each in node.values():
            inside = each if isinstance(each, (list, tuple)) else [each]
            words.update(text for one in inside if (text := _word(one)) is not None)
    return words


def _word(thing: object) -> str | None:
    return thing.__name__ if isinstance(thing, type) else thing if isinstance(thing, str) else None


# These quote what was put in.
_QUOTING: Final = {
    "union_tag_invalid": "the tag is none of those that there are",
    "uuid_parsing": "this is no UUID",
}


def clean(mistake: Mapped, words: set[str] | None) -> dict[Literal["type", "loc", "msg"], Any]:
    """What is wrong, and where, without what was put in: also a key of a map is."""
    place = tuple(
        each if words is None or not isinstance(each, str) or each in words else HIDDEN for each in mistake["loc"]
    )
    return {
        "type": mistake["type"],
        "loc": place,
        "msg": _QUOTING.get(mistake["type"], mistake["msg"]),
    }


HIDDEN: Final = "[key]"
