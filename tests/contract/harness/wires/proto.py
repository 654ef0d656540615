"""What a .proto file says, as far as the contract's own goes: whatever else it may hold is refused, not guessed."""

import re
from dataclasses import dataclass, field

WORD = re.compile(r'//[^\n]*|\s+|"[^"]*"|[\w.]+|[{}=;()<>,]')
# What the contract imports, and what gRPC says errors with.
KNOWN = """
package google.protobuf;
message Duration { int64 seconds = 1; int32 nanos = 2; }
message Timestamp { int64 seconds = 1; int32 nanos = 2; }
message Any { string type_url = 1; bytes value = 2; }
"""
ERRORS = """
package google.rpc;
message Status { int32 code = 1; string message = 2; repeated google.protobuf.Any details = 3; }
message ErrorInfo {
  message Entry { string key = 1; string value = 2; }
  string reason = 1; string domain = 2; repeated Entry metadata = 3;
}
message RetryInfo { google.protobuf.Duration retry_delay = 1; }
"""


@dataclass(frozen=True)
class Field:
    """`type` is a scalar's name, a Message or an Enum. `presence`: whether its absence differs from its default."""

    name: str
    number: int
    type: object
    repeated: bool
    presence: bool


@dataclass(eq=False)
class Message:
    name: str
    fields: dict = field(default_factory=dict)

    def numbered(self, number):
        return next((each for each in self.fields.values() if each.number == number), None)


@dataclass(eq=False)
class Enum:
    """Numbers by name."""

    name: str
    numbers: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    name: str
    takes: Message
    gives: Message


class Protos:
    """All that was read, by full names."""

    def __init__(self, *texts):
        self.types, self.methods, later = {}, {}, []
        for text in (KNOWN, ERRORS, *texts):
            Reader(self, text, later).file()
        # Names are looked up when all are known.
        for resolve in later:
            resolve()

    def find(self, name, scope):
        """As protoc does it: from the innermost scope outwards."""
        while True:
            full = f"{scope}.{name}" if scope else name
            if full in self.types:
                return self.types[full]
            if not scope:
                raise ValueError(f"{name} is no type")
            scope = scope.rpartition(".")[0]


SCALARS = {"string", "bytes", "bool", "int32", "int64", "uint32", "uint64"}


class Reader:
    def __init__(self, protos, text, later):
        self.protos, self.later = protos, later
        self.words = []
        at = 0
        while at < len(text):
            word = WORD.match(text, at)
            if word is None:
                raise ValueError(f"{text[at:at + 20]!r} is not read here")
            at = word.end()
            if not word[0].isspace() and not word[0].startswith("//"):
                self.words.append(word[0])
        self.package = ""

    def next(self, *wanted):
        word = self.words.pop(0)
        if wanted and word not in wanted:
            raise ValueError(f"{word} where {wanted} must be")
        return word

    def skip(self):
        while self.next() != ";":
            pass

    def file(self):
        while self.words:
            word = self.next("syntax", "package", "import", "option", "service", "message", "enum")
            if word == "package":
                self.package = self.next()
                self.next(";")
            elif word == "service":
                self.service()
            elif word in ("message", "enum"):
                getattr(self, word)(self.package)
            else:
                self.skip()

    def service(self):
        service = f"{self.package}.{self.next()}"
        self.next("{")
        while self.next("rpc", "}") == "rpc":
            name = self.next()
            self.next("(")
            takes = self.next()
            for word in (")", "returns", "("):
                self.next(word)
            gives = self.next()
            self.next(")")
            self.next(";")
            self.later.append(self.method(f"/{service}/{name}", name, takes, gives))

    def method(self, path, name, takes, gives):
        def resolve():
            find = self.protos.find
            self.protos.methods[path] = Method(name, find(takes, self.package), find(gives, self.package))

        return resolve

    def enum(self, scope):
        enum = Enum(f"{scope}.{self.next()}")
        self.protos.types[enum.name] = enum
        self.next("{")
        while (name := self.next()) != "}":
            self.next("=")
            enum.numbers[name] = int(self.next())
            self.next(";")

    def message(self, scope):
        message = Message(f"{scope}.{self.next()}")
        self.protos.types[message.name] = message
        self.next("{")
        self.members(message, in_oneof=False)

    def members(self, message, in_oneof):
        while (word := self.next()) != "}":
            if word in ("message", "enum"):
                getattr(self, word)(message.name)
            elif word == "oneof":
                self.next()
                self.next("{")
                self.members(message, in_oneof=True)
            else:
                self.field(message, word, in_oneof)

    def field(self, message, word, in_oneof):
        label = word if word in ("repeated", "optional") else ""
        kind = self.next() if label else word
        name = self.next()
        self.next("=")
        number = int(self.next())
        self.next(";")

        def resolve():
            type_ = kind if kind in SCALARS else self.protos.find(kind, message.name)
            presence = in_oneof or label == "optional" or isinstance(type_, Message)
            message.fields[name] = Field(name, number, type_, label == "repeated", presence)

        self.later.append(resolve)
