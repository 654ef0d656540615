"""Protobuf's bytes: read to the letter, and written right or wrong."""

import json

from ..pattern import Mismatch
from .proto import Enum, Message

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
INTEGERS = {"int32": 32, "int64": 64, "uint32": 32, "uint64": 64}
# Of an enum, a number that none has.
NO_SUCH = 1_000
# The first of those that a field has that no message of this version has.
NEWER = 1_000


class Raw(bytes):
    """The bytes of a message, as they are: of one that is none, too."""


def encode(message, said):
    """A message's bytes. `said` has members by their names.

    What is not of a field's type is written as what it is, behind that field's number; what is no field is one of a
    later version. None is left out, and so are defaults where absence does not differ from them.
    """
    if isinstance(said, Raw):
        return bytes(said)
    if not isinstance(said, dict):
        return unreadable(said)
    fields = [(message.fields[name], value) for name, value in said.items() if name in message.fields]
    newer = [value for name, value in said.items() if name not in message.fields]
    out = b"".join(member(field, value) for field, value in sorted(fields, key=lambda each: each[0].number))
    return out + b"".join(as_it_is(NEWER + at, value) for at, value in enumerate(newer))


def unreadable(said):
    """What is no message: its text, behind a field 0, which there cannot be."""
    text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
    return b"\x07" + text.encode()


def member(field, value):
    if value is None:
        return b""
    if not field.repeated:
        return one(field, value)
    if not isinstance(value, list):
        return as_it_is(field.number, value)
    if isinstance(field.type, Enum):
        return delimited(field.number, b"".join(varint(number_of(field.type, item)) for item in value))
    return b"".join(one(field, item, always=True) for item in value)


def one(field, value, always=False):
    always = always or field.presence
    if isinstance(field.type, Message):
        return delimited(field.number, encode(field.type, value))
    if isinstance(field.type, Enum) and isinstance(value, str):
        value, kind = number_of(field.type, value), int
    else:
        kind = {"string": str, "bytes": bytes, "bool": bool}.get(field.type, int)
    if type(value) is not kind:
        return as_it_is(field.number, value)
    return as_it_is(field.number, value) if value or always else b""


def number_of(enum, name):
    return enum.numbers.get(name, NO_SUCH) if isinstance(name, str) else NO_SUCH


def as_it_is(number, value):
    if isinstance(value, (bool, int)):
        return varint(number << 3 | VARINT) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    elif not isinstance(value, bytes):
        value = unreadable(value)
    return delimited(number, value)


def delimited(number, bytes_):
    return varint(number << 3 | LENGTH) + varint(len(bytes_)) + bytes_


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def decode(message, bytes_):
    """A message's members, those that are there; Mismatch if it is not to the letter one of these."""
    said = {}
    for number, wire, value in split(bytes_):
        field = message.numbered(number)
        if field is None:
            raise Mismatch(f"its {message.name} has a field {number}, which there is not")
        read = [item(field, wire, value)] if not packed(field, wire) else packed_items(field, value)
        if field.repeated:
            said.setdefault(field.name, []).extend(read)
        else:
            said[field.name] = read[0]
    return said


def packed(field, wire):
    return field.repeated and wire == LENGTH and (isinstance(field.type, Enum) or field.type in INTEGERS)


def packed_items(field, bytes_):
    at, found = 0, []
    while at < len(bytes_):
        number, at = varint_at(bytes_, at)
        found.append(item(field, VARINT, number))
    return found


def item(field, wire, value):
    length = isinstance(field.type, Message) or field.type in ("string", "bytes")
    if wire != (LENGTH if length else VARINT):
        raise Mismatch(f"its field {field.name} is of another type")
    if isinstance(field.type, Message):
        return decode(field.type, value)
    if isinstance(field.type, Enum):
        names = {number: name for name, number in field.type.numbers.items()}
        return names.get(value, value)
    if field.type == "string":
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Mismatch(f"its field {field.name} is not UTF-8") from None
    if field.type == "bytes":
        return value
    if field.type == "bool":
        return value != 0
    bits = INTEGERS[field.type]
    value &= (1 << bits) - 1
    signed = field.type.startswith("int") and value >> (bits - 1)
    return value - (1 << bits) if signed else value


def split(bytes_):
    """Number, wire type and value of each field."""
    at, found = 0, []
    while at < len(bytes_):
        key, at = varint_at(bytes_, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint_at(bytes_, at)
        elif wire in (LENGTH, FIXED32, FIXED64):
            length, at = varint_at(bytes_, at) if wire == LENGTH else ({FIXED32: 4, FIXED64: 8}[wire], at)
            value, at = bytes_[at : at + length], at + length
        if number == 0 or wire not in (VARINT, LENGTH, FIXED32, FIXED64) or at > len(bytes_):
            raise Mismatch("its message is no protobuf")
        found.append((number, wire, value))
    return found


def varint_at(bytes_, at):
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(bytes_):
            break
        byte, at = bytes_[at], at + 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (1 << 64) - 1, at
    raise Mismatch("its message is no protobuf")
