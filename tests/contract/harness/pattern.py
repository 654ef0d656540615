"""What a pattern of a case matches: the README's table, as `end_to_end/contract.rs` has it too."""

import re

TOKEN = re.compile(r"lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

KINDS = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "text": lambda value: isinstance(value, str) and value != "",
    "token": lambda value: isinstance(value, str) and TOKEN.fullmatch(value) is not None,
    "time": lambda value: isinstance(value, str) and TIME.fullmatch(value) is not None,
}

ABSENT = object()


class Mismatch(Exception):
    """What does not match, in words."""


def match(pattern, value, exact=False, captured=None):
    """Raises Mismatch unless it matches; `$capture` puts what it finds into `captured`."""
    question = question_of(pattern)
    if question is not None:
        ask(question, pattern[question], value, exact, captured)
    elif value is ABSENT:
        raise Mismatch("a member is missing")
    elif isinstance(pattern, dict) and isinstance(value, dict):
        match_objects(pattern, value, exact, captured)
    elif isinstance(pattern, list) and isinstance(value, list):
        if len(pattern) != len(value):
            raise Mismatch(f"{len(value)} items instead of {len(pattern)}")
        for inner, found in zip(pattern, value):
            match(inner, found, exact, captured)
    elif type(pattern) is not type(value) and isinstance(pattern, bool) != isinstance(value, bool):
        raise Mismatch(f"{shortened(value)} instead of {shortened(pattern)}")
    elif pattern != value:
        raise Mismatch(f"{shortened(value)} instead of {shortened(pattern)}")


def match_objects(pattern, value, exact, captured):
    for key, inner in pattern.items():
        try:
            match(inner, value.get(key, ABSENT), exact, captured)
        except Mismatch as words:
            raise Mismatch(f"{key}: {words}") from None
    more = sorted(set(value) - set(pattern))
    if exact and more:
        raise Mismatch(f"{more[0]} is one member too many")


def question_of(pattern):
    if isinstance(pattern, dict) and len(pattern) == 1:
        (key,) = pattern
        return key if key.startswith("$") else None
    return None


def ask(question, parameter, value, exact, captured):
    if question == "$absent":
        if value is not ABSENT:
            raise Mismatch("is there")
        return
    if value is ABSENT:
        raise Mismatch("a member is missing")
    if question == "$is":
        if not KINDS[parameter](value):
            raise Mismatch(f"{shortened(value)} is no {parameter}")
    elif question == "$not":
        try:
            match(parameter, value, exact, captured)
        except Mismatch:
            return
        raise Mismatch(f"is {shortened(value)}, which it must not be")
    elif question == "$repeat":
        match([parameter[1]] * parameter[0], value, exact, captured)
    elif question == "$capture":
        match({"$is": "text"}, value)
        captured[parameter] = value
    else:
        raise ValueError(f"{question} is no question")


def shortened(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
