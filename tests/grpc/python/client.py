"""grpc-core, through grpcio, as a client of the sidecar. Arguments: the socket's path, and that of
a sidecar which asks for grants.

Ends with 0 if everything was as it should be, and with a traceback that says what was not.
"""

import os
import re
import sys

import grpc
from google.protobuf import descriptor_pool, duration_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status
from lunasec.v1 import tokenizer_pb2 as pb
from lunasec.v1 import tokenizer_pb2_grpc as stubs

SERVICE = "lunasec.v1.Tokenizer"
TOKEN = re.compile(r"lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UNKNOWN = "lunasec-00112233-4455-4677-8899-aabbccddeeff"
BINARY = bytes(range(256))
PATIENCE = 30

# Without it, grpc-core may send the socket's path as the authority, which HTTP/2 does not allow.
AUTHORITY = [("grpc.default_authority", "localhost")]


def open_channel(socket, options=AUTHORITY):
    return grpc.insecure_channel(f"unix:{socket}", options=options)


def same(found, wanted):
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def refused(status, reason, call, *arguments, **options):
    """Calls, and checks how it is refused: by status, ErrorInfo, and what RetryInfo there must be."""
    try:
        call(*arguments, timeout=PATIENCE, **options)
    except grpc.RpcError as error:
        same(error.code(), status)
        info, retry = error_details_pb2.ErrorInfo(), None
        details = rpc_status.from_call(error).details
        assert details[0].Unpack(info)
        same((info.reason, info.domain), (reason, "lunasec"))
        retryable = status == grpc.StatusCode.UNAVAILABLE
        same(info.metadata["retryable"], str(retryable).lower())
        same(len(details), 2 if retryable else 1)
        assert error.details(), "an error says what happened"
        return error
    raise AssertionError(f"answered instead of {reason}")


def values(stub):
    for value, encoding in [
        (b"4111 1111 1111 1111", pb.ENCODING_UTF8),
        ("Zoë".encode(), pb.ENCODING_UTF8),
        (BINARY, pb.ENCODING_BASE64),
        (b"", pb.ENCODING_UTF8),
        (os.urandom(1 << 20), pb.ENCODING_BASE64),
    ]:
        given = stub.Tokenize(pb.TokenizeRequest(value=value), timeout=PATIENCE)
        assert TOKEN.fullmatch(given.token)
        same(given.durability, pb.DURABILITY_STORED)
        revealed = stub.Detokenize(pb.DetokenizeRequest(token=given.token), timeout=PATIENCE)
        assert revealed.value == value, "another value came back"
        same(revealed.encoding, encoding)
    explicit = pb.TokenizeRequest(value=b"text", encoding=pb.ENCODING_BASE64)
    given = stub.Tokenize(explicit, timeout=PATIENCE)
    revealed = stub.Detokenize(pb.DetokenizeRequest(token=given.token), timeout=PATIENCE)
    same((revealed.value, revealed.encoding), (b"text", pb.ENCODING_BASE64))


def batches(stub):
    wanted = [f"value {n}".encode() for n in range(1_000)]
    items = [pb.TokenizeRequest(value=value) for value in wanted]
    items[7] = pb.TokenizeRequest(value=b"7", metadata="no object")
    given = stub.BatchTokenize(pb.BatchTokenizeRequest(items=items), timeout=PATIENCE).items
    same([n for n, item in enumerate(given) if item.WhichOneof("outcome") == "error"], [7])
    same((given[7].error.code, given[7].error.retryable), ("invalid_request", False))
    tokens = [item.tokenized.token for item in given]
    tokens[7], tokens[8] = UNKNOWN, "no token"
    request = pb.BatchDetokenizeRequest(tokens=tokens)
    found = stub.BatchDetokenize(request, timeout=PATIENCE).items
    same([item.token for item in found], tokens)
    same([found[7].error.code, found[8].error.code], ["not_found", "invalid_token"])
    for n, item in enumerate(found):
        if n not in (7, 8):
            same(item.detokenized.value, wanted[n])


def metadata(stub):
    text = '{"kind": "card", "n": 1.0}'
    request = pb.TokenizeRequest(
        value=b"v", metadata=text, expires_in=duration_pb2.Duration(seconds=3600)
    )
    token = stub.Tokenize(request, timeout=PATIENCE).token
    got = stub.GetMetadata(pb.GetMetadataRequest(token=token), timeout=PATIENCE)
    same((got.metadata, got.version), (text, 1))
    same(got.expires_at.ToMilliseconds() - got.created_at.ToMilliseconds(), 3_600_000)
    update = pb.SetMetadataRequest(token=token, metadata='{"n": 2}', if_version=1)
    same(stub.SetMetadata(update, timeout=PATIENCE).version, 2)
    refused(grpc.StatusCode.ABORTED, "conflict", stub.SetMetadata, update)
    got = stub.GetMetadata(pb.GetMetadataRequest(token=token), timeout=PATIENCE)
    same((got.metadata, got.version), ('{"n": 2}', 2))


def grants(stub):
    token = stub.Tokenize(pb.TokenizeRequest(value=b"v"), timeout=PATIENCE).token
    session, tokens = os.urandom(8).hex(), [token, UNKNOWN, "no token"]

    def outcomes(action=pb.ACTION_UNSPECIFIED):
        request = pb.VerifyGrantsRequest(tokens=tokens, session=session, action=action)
        items = stub.VerifyGrants(request, timeout=PATIENCE).items
        same([item.token for item in items], tokens)
        same([item.error.code for item in items[1:]], ["not_found", "invalid_token"])
        return items[0].WhichOneof("outcome"), items[0]

    def denied(action=pb.ACTION_UNSPECIFIED):
        outcome, item = outcomes(action)
        same((outcome, item.refusal), ("refusal", pb.REFUSAL_DENIED))

    denied()
    request = pb.CreateGrantsRequest(
        tokens=tokens, session=session, expires_in=duration_pb2.Duration(seconds=3600)
    )
    items = stub.CreateGrants(request, timeout=PATIENCE).items
    same([item.WhichOneof("outcome") for item in items], ["granted", "error", "error"])
    same([item.error.code for item in items[1:]], ["not_found", "invalid_token"])
    same(items[0].granted.durability, pb.DURABILITY_STORED)
    for action in (pb.ACTION_UNSPECIFIED, pb.ACTION_DETOKENIZE, pb.ACTION_METADATA):
        outcome, item = outcomes(action)
        same((outcome, item.valid_until), ("valid_until", items[0].granted.expires_at))
    denied(pb.ACTION_UPDATE)
    denied(pb.ACTION_DELETE)
    some = pb.RevokeGrantsRequest(tokens=[token, UNKNOWN], session=session)
    same(stub.RevokeGrants(some, timeout=PATIENCE).revoked, 1)
    denied()
    request.actions.append(pb.ACTION_DELETE)
    stub.CreateGrants(request, timeout=PATIENCE)
    same(outcomes(pb.ACTION_DELETE)[0], "valid_until")
    all_of_it = pb.RevokeGrantsRequest(session=session, all=True)
    revoked = stub.RevokeGrants(all_of_it, timeout=PATIENCE)
    assert not revoked.HasField("revoked"), "a whole session has no count"
    denied(pb.ACTION_DELETE)
    request.actions.append(pb.ACTION_DELETE)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refused(invalid, "invalid_request", stub.CreateGrants, request)
    some.tokens.append("no token")
    refused(invalid, "invalid_token", stub.RevokeGrants, some)


def sessions(stub):
    """Where the policy asks for a grant: what a session may do, it may until that is taken back."""
    token = stub.Tokenize(pb.TokenizeRequest(value=b"alice's"), timeout=PATIENCE).token
    alice, bob = os.urandom(8).hex(), os.urandom(8).hex()
    asked, denied = pb.DetokenizeRequest(token=token), grpc.StatusCode.PERMISSION_DENIED

    def refusal(session):
        request = pb.VerifyGrantsRequest(tokens=[token], session=session)
        item = stub.VerifyGrants(request, timeout=PATIENCE).items[0]
        return None if item.WhichOneof("outcome") == "valid_until" else item.refusal

    def of(session):
        return (("lunasec-session", session),)

    def is_denied(session):
        same(refusal(session), pb.REFUSAL_DENIED)
        refused(denied, "grant_denied", stub.Detokenize, asked, metadata=of(session))

    is_denied(alice)
    granted = stub.CreateGrants(
        pb.CreateGrantsRequest(tokens=[token], session=alice), timeout=PATIENCE
    )
    same(granted.items[0].WhichOneof("outcome"), "granted")
    same(refusal(alice), None)
    revealed = stub.Detokenize(asked, timeout=PATIENCE, metadata=of(alice))
    same(revealed.value, b"alice's")
    is_denied(bob)
    refused(grpc.StatusCode.UNAUTHENTICATED, "unauthenticated", stub.Detokenize, asked)
    revoke = pb.RevokeGrantsRequest(tokens=[token], session=alice)
    same(stub.RevokeGrants(revoke, timeout=PATIENCE).revoked, 1)
    is_denied(alice)


def deletes(stub):
    token = stub.Tokenize(pb.TokenizeRequest(value=b"v"), timeout=PATIENCE).token
    request = pb.DeleteRequest(tokens=[token, UNKNOWN, "no token"])
    items = stub.Delete(request, timeout=PATIENCE).items
    same([item.WhichOneof("outcome") for item in items], ["deleted", "deleted", "error"])
    same(items[0].deleted.durability, pb.DURABILITY_STORED)
    error = refused(
        grpc.StatusCode.NOT_FOUND, "not_found", stub.Detokenize, pb.DetokenizeRequest(token=token)
    )
    assert token not in error.details()


def request_metadata(stub):
    key = (("idempotency-key", os.urandom(8).hex()),)
    first = stub.Tokenize(pb.TokenizeRequest(value=b"v"), timeout=PATIENCE, metadata=key)
    again, call = stub.Tokenize.with_call(
        pb.TokenizeRequest(value=b"v"), timeout=PATIENCE, metadata=key
    )
    same(first.token, again.token)
    ids = [value for name, value in call.initial_metadata() if name == "lunasec-request-id"]
    same([len(value) for value in ids], [16])
    refused(
        grpc.StatusCode.ABORTED,
        "conflict",
        stub.Tokenize,
        pb.TokenizeRequest(value=b"w"),
        metadata=key,
    )
    elsewhere = (("lunasec-namespace", "elsewhere"),)
    token = pb.DetokenizeRequest(token=first.token)
    not_found = grpc.StatusCode.NOT_FOUND
    refused(not_found, "not_found", stub.Detokenize, token, metadata=elsewhere)
    bad = (("lunasec-namespace", "No Name"),)
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    refused(invalid, "invalid_namespace", stub.Detokenize, token, metadata=bad)


def refusals(channel, stub):
    invalid = grpc.StatusCode.INVALID_ARGUMENT
    bad = pb.DetokenizeRequest(token="4111")
    assert "4111" not in refused(invalid, "invalid_token", stub.Detokenize, bad).details()
    refused(invalid, "invalid_request", stub.BatchDetokenize, pb.BatchDetokenizeRequest())
    text = pb.TokenizeRequest(value=b"\xff", encoding=pb.ENCODING_UTF8)
    refused(invalid, "invalid_request", stub.Tokenize, text)
    large = pb.TokenizeRequest(value=bytes((1 << 20) + 1))
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "payload_too_large", stub.Tokenize, large)
    larger = pb.BatchTokenizeRequest(items=[pb.TokenizeRequest(value=bytes(1 << 20))] * 17)
    refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "payload_too_large", stub.BatchTokenize, larger)
    unknown = channel.unary_unary(f"/{SERVICE}/Reveal")
    refused(grpc.StatusCode.UNIMPLEMENTED, "method_not_allowed", unknown, b"")
    refused(
        grpc.StatusCode.UNIMPLEMENTED,
        "unsupported_media_type",
        stub.Tokenize,
        pb.TokenizeRequest(value=b"a" * 10_000),
        compression=grpc.Compression.Gzip,
    )


def deadlines(stub):
    items = [pb.TokenizeRequest(value=bytes(10_000))] * 1_000
    try:
        stub.BatchTokenize(pb.BatchTokenizeRequest(items=items), timeout=0.001)
    except grpc.RpcError as error:
        same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
    else:
        raise AssertionError("1,000 values were sealed and stored within a millisecond")


def many_at_once(stub):
    calls = [stub.Tokenize.future(pb.TokenizeRequest(value=b"v"), timeout=PATIENCE) for _ in range(500)]
    same(len({call.result().token for call in calls}), 500)


def status(stub):
    says = stub.GetStatus(pb.GetStatusRequest(), timeout=PATIENCE)
    same((says.storage.state, says.keys.state), (pb.Dependency.STATE_UP, pb.Dependency.STATE_UP))
    assert says.version


def health(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", SERVICE):
        request = health_pb2.HealthCheckRequest(service=service)
        same(stub.Check(request, timeout=PATIENCE).status, serving)
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE), timeout=PATIENCE)
    same(next(watch).status, serving)
    watch.cancel()
    try:
        stub.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=PATIENCE)
    except grpc.RpcError as error:
        same(error.code(), grpc.StatusCode.NOT_FOUND)
    else:
        raise AssertionError("a service that is not there serves")


def reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= services, services
    found = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE)
    here = pb.DESCRIPTOR.services_by_name["Tokenizer"]
    same([method.name for method in found.methods], [method.name for method in here.methods])


def default_authority(socket):
    """What becomes of a client that leaves the authority to grpc-core: it is answered, or told."""
    with open_channel(socket, options=[]) as channel:
        try:
            stubs.TokenizerStub(channel).GetStatus(pb.GetStatusRequest(), timeout=PATIENCE)
            print("without grpc.default_authority: answered")
        except grpc.RpcError as error:
            print(f"without grpc.default_authority: {error.code()} {error.details()}")
            assert error.code() != grpc.StatusCode.DEADLINE_EXCEEDED, "it hangs"


def path_as_authority(socket):
    """The percent-encoded path, as older grpc-core sends it by itself: refused at once."""
    encoded = socket.replace("/", "%2F")
    with open_channel(socket, options=[("grpc.default_authority", encoded)]) as channel:
        try:
            stubs.TokenizerStub(channel).GetStatus(pb.GetStatusRequest(), timeout=PATIENCE)
        except grpc.RpcError as error:
            print(f"with the path as authority: {error.code()} {error.details()}")
            assert error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
        else:
            raise AssertionError("a path was taken for an authority: tell the documentation")


def main(socket, asks):
    with open_channel(socket) as channel:
        stub = stubs.TokenizerStub(channel)
        values(stub)
        batches(stub)
        metadata(stub)
        grants(stub)
        deletes(stub)
        request_metadata(stub)
        refusals(channel, stub)
        deadlines(stub)
        many_at_once(stub)
        status(stub)
        health(channel)
        reflection(channel)
    with open_channel(asks) as channel:
        sessions(stubs.TokenizerStub(channel))
    default_authority(socket)
    path_as_authority(socket)
    print("python: all as it should be")


if __name__ == "__main__":
    main(*sys.argv[1:])
