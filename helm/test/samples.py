"""Another value for each field of a schema."""

from __future__ import annotations

import re
from collections.abc import Iterator

# One of these fits each pattern of the schemas.
TEXTS = [
    "probe", "probe/", "7m", "3 MiB", "7d", "0600", "77Mi", "77m", "10.9.0.0/16", "@weekly", "sha256:" + "b" * 64, "https://probe.example.com",
    "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n", "alias/probe", "/probe", "a" * 64,
    "arn:aws:iam::111122223333:role/probe",
]  # fmt: skip


def resolve(schema: dict, field: dict) -> dict:
    reference = field.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else field


def another(schema: dict, field: dict, now: object = None) -> object:
    """A value that the field takes and that is not the one there is."""
    field = resolve(schema, field)
    if "enum" in field:
        return next(each for each in field["enum"] if each != now)
    kind = field["type"]
    if kind == "boolean":
        return not now
    if kind == "integer":
        low, high = field.get("minimum", 0), field.get("maximum", 2**31)
        return next(each for each in (now or 0, low, low + 1, (low + high) // 2) if low <= each <= high and each != now)
    if kind == "number":
        return 0.5
    if kind == "array":
        return [another(schema, field["items"])]
    if kind == "object":
        if "properties" in field:
            wanted = [*field.get("required", []), *(each["required"][0] for each in field.get("anyOf", [])[:1])]
            return {name: another(schema, field["properties"][name]) for name in wanted}
        if field["additionalProperties"] is True:
            return {"probe": "Kubernetes'"}
        return {"probe": another(schema, field["additionalProperties"])}
    fit = [text for text in TEXTS if re.search(field.get("pattern", ""), text) and len(text) <= field.get("maxLength", 10**6)]
    return next(text for text in fit if text != now)


def leaves(schema: dict, field: dict, path: tuple = (), given: object = None) -> Iterator[tuple[tuple, dict, object]]:
    """Each value that can be given: its path, its schema, and what it is now. In lists and maps, that of the one that is there."""
    field = resolve(schema, field)
    if field.get("type") == "object" and "properties" in field:
        for name, below in field["properties"].items():
            yield from leaves(schema, below, (*path, name), given.get(name) if isinstance(given, dict) else None)
        return
    yield path, field, given
    of_what = field.get("items") or field.get("additionalProperties") or {}
    if given and resolve(schema, of_what).get("properties"):
        at = 0 if isinstance(given, list) else sorted(given)[-1]
        yield from leaves(schema, of_what, (*path, at), given[at])


def put(values: dict, path: tuple, value: object) -> None:
    at: object = values
    for step, after in zip(path[:-1], path[1:], strict=True):
        if isinstance(at, dict) and step not in at:
            at[step] = [] if isinstance(after, int) else {}
        at = at[step]
    at[path[-1]] = value
