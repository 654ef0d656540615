"""What `import "lunasec/options.proto"` becomes in generated code: the option's descriptors, for any version of protobuf.

Written here rather than generated, since generated code asks for the version of protobuf that it was generated with, or a
newer one. `lunasec/grpc/proto` has the file; a test compares both."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.internal import builder

_FIELD = descriptor_pb2.FieldDescriptorProto
_BOOL, _TEXT, _ONE = _FIELD.TYPE_BOOL, _FIELD.TYPE_STRING, _FIELD.LABEL_OPTIONAL


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="lunasec/options.proto",
        package="lunasec",
        syntax="proto3",
        dependency=["google/protobuf/descriptor.proto"],
    )
    rules = file.message_type.add(name="FieldRules")
    kinds: tuple[tuple[str, Any], ...] = (
        ("tokenize", _BOOL),
        ("detokenize", _BOOL),
        ("verify", _BOOL),
        ("grant", _TEXT),
    )
    for number, (name, kind) in enumerate(kinds, 1):
        rules.field.add(name=name, number=number, type=kind, label=_ONE, json_name=name)
    file.extension.add(
        name="field",
        number=58279,
        label=_ONE,
        type=_FIELD.TYPE_MESSAGE,
        type_name=".lunasec.FieldRules",
        extendee=".google.protobuf.FieldOptions",
        json_name="field",
    )
    return file


DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(_file().SerializeToString())
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "lunasec.options_pb2", globals())
