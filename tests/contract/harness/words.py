"""Variables and repetitions of a case."""

import random
import re
import string

VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Variables:
    """What `${…}` stands for in one replay of one case."""

    def __init__(self):
        letters = string.ascii_lowercase + string.digits
        self.known = {
            "unique": "".join(random.choices(letters, k=16)),
            "unknown_token": token(random.getrandbits(48)),
        }

    def expand(self, value):
        """The same with every variable put in."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.expand(item) for item in value]
        if isinstance(value, dict):
            return {key: self.expand(inner) for key, inner in value.items()}
        return value

    def known_in(self, value):
        """The same, as far as that is known by now."""
        try:
            return self.expand(value)
        except ValueError:
            return value

    def text(self, text):
        alone = VARIABLE.fullmatch(text)
        if alone:
            return self.lookup(alone[1])
        return VARIABLE.sub(lambda found: str(self.lookup(found[1])), text)

    def lookup(self, name):
        if name.startswith("repeat:"):
            _, times, what = name.split(":", 2)
            return int(times) * what
        if name.startswith("token:"):
            return token(int(name[6:]))
        if name not in self.known:
            raise ValueError(f"{name} was never captured")
        return self.known[name]


def substituted(value, row):
    """The same with what a row of `each` names put in, and all other variables left."""
    if isinstance(value, str):
        alone = VARIABLE.fullmatch(value)
        if alone and alone[1] in row:
            return row[alone[1]]
        return VARIABLE.sub(lambda found: str(row.get(found[1], found[0])), value)
    if isinstance(value, list):
        return [substituted(item, row) for item in value]
    if isinstance(value, dict):
        return {key: substituted(inner, row) for key, inner in value.items()}
    return value


def token(number):
    """A well-formed token."""
    return f"lunasec-00000000-0000-4000-8000-{number:012x}"


def repeated(value):
    """The same with `{"$repeat": [n, item]}` written out."""
    if isinstance(value, list):
        return [repeated(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"$repeat"}:
            times, item = value["$repeat"]
            return [repeated(item)] * times
        return {key: repeated(inner) for key, inner in value.items()}
    return value


def pointed(value, pointer):
    """RFC 6901."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
