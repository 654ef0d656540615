"""The same calls, answered in gRPC by the sidecar, and by the scripted server with what the sidecar says of them in JSON.

What came in each is printed, a pair a line; `test_grpc.py` compares. It speaks to both through grpcio, and knows nothing of
how the scripted server makes its bytes. Run with the two sockets, it is told calls by lines of its standard input.
"""

import json
import sys

import grpc
import spoken
from google.rpc import error_details_pb2, status_pb2

PATIENCE = 20
# Differs from answer to answer.
ANEW = "lunasec-request-id"


def ask(channel, said):
    """What an answer is, of all that a client of gRPC can see of it."""
    name, request, _ = spoken.request(said["call"], said["arguments"])
    method = channel.unary_unary(f"/lunasec.v1.Tokenizer/{name}")
    metadata = tuple(said["headers"].items())
    call = method.future(request.SerializeToString(), metadata=metadata, timeout=PATIENCE)
    failed = call.exception()
    message = None if failed else call.result().hex()
    return {
        "message": message,
        "code": call.code().value[0],
        "detail": call.details(),
        "initial": seen(call.initial_metadata()),
        "trailing": seen(call.trailing_metadata()),
    }


def seen(metadata):
    """Names in order, and values but for what is another each time; details as what they hold."""
    return sorted([name, value_of(name, value)] for name, value in metadata)


def value_of(name, value):
    if name == ANEW:
        return f"{len(value)} characters"
    return details(status_pb2.Status.FromString(value)) if name == "grpc-status-details-bin" else str(value)


def details(status):
    info, retry, found = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), []
    for detail in status.details:
        if detail.Unpack(info):
            found.append(["ErrorInfo", info.domain, info.reason, sorted(info.metadata.items())])
        elif detail.Unpack(retry):
            found.append(["RetryInfo", retry.retry_delay.ToMilliseconds()])
        else:
            found.append([detail.type_url])
    return [status.code, status.message, found]


def main(path):
    with grpc.insecure_channel(f"unix:{path}", options=[("grpc.default_authority", "localhost")]) as channel:
        for line in sys.stdin:
            print(json.dumps(ask(channel, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
