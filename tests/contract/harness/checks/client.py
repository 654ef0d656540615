"""A client of gRPC, small and right, as an adapter: what the harness must let pass, and find out when a line of it is not.

It runs by the Python of the environment that has grpcio, with the contract's stubs beside it. It is no SDK: it has no
types, shares no requests, and waits as little as it can.
"""

import json
import os
import socket
import sys
import threading
import time
import uuid

import grpc
import spoken
from around import Around, Budget, Refused
from google.rpc import error_details_pb2, status_pb2

MOST_BYTES = 16 << 20
CHANNEL = {
    "grpc.default_authority": "localhost",
    "grpc.enable_retries": 0,
    "grpc.max_receive_message_length": MOST_BYTES,
    "grpc.initial_reconnect_backoff_ms": 1,
    "grpc.min_reconnect_backoff_ms": 1,
    "grpc.max_reconnect_backoff_ms": 20,
    "grpc.use_local_subchannel_pool": 1,
}
UNDERSTOOD = {code.value[0]: http for code, http in spoken.STATUSES.items()}
# What grpc-core says where bytes came that are no answer: all else that it says by itself is a connection.
NO_ANSWER = ("http2 header with status", "HTTP2", "frame", "Frame", "FRAME")


def refusal(code, detail, retryable=False, status=None, after=None):
    said = {"code": code, "class": spoken.class_of(code, status, retryable), "detail": detail, "retryable": retryable}
    said |= {"status": status} if status else {}
    return Refused(said | ({"retry_after_ms": after} if after is not None else {}))


def understood(error):
    """What a call that failed says of itself."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        words = error.debug_error_string() or ""
        if error.code() is grpc.StatusCode.CANCELLED:
            return refusal("aborted", "given up")
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return refusal("deadline_exceeded", "no answer in time", True)
        if error.code() is grpc.StatusCode.UNAVAILABLE and not any(word in words for word in NO_ANSWER):
            return refusal("sidecar_unreachable", "the connection was closed", True)
        return refusal("protocol_error", "an answer that is none")
    try:
        return read(status_pb2.Status.FromString(details), error.code())
    except (spoken.Wrong, spoken.DecodeError):
        return refusal("protocol_error", "an error that is none")


def read(status, grpc_code):
    info, retry, after = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), None
    for detail in status.details:
        detail.Unpack(info)
        if detail.Unpack(retry):
            after = retry.retry_delay.ToMilliseconds()
    spoken.check(info.domain == "lunasec" and info.reason and info.metadata.get("retryable") in ("true", "false"))
    http = spoken.CODES.get(info.reason) or UNDERSTOOD[grpc_code.value[0]]
    return refusal(info.reason, status.message, info.metadata["retryable"] == "true", http, after)


class Client:
    def __init__(self, path, options):
        self.path, self.options = path, options
        self.budget = Budget(options.get("retry_budget", 20))
        self.channel = grpc.insecure_channel(f"unix:{path}", options=list(CHANNEL.items()))

    def call(self, operation, arguments, options, futures):
        options = {**self.options, **options}
        until = time.monotonic() + options.get("deadline_ms", 10_000) / 1_000
        metadata = tuple(spoken.headers(operation, options, str(uuid.uuid4())))
        if not all(spoken.HEADER.fullmatch(value) for _, value in metadata):
            raise refusal("invalid_request", "no metadata can hold that")

        def once(operation, arguments, until):
            self.wait_for_socket(options)
            return self.once(operation, arguments, metadata, until, futures)

        return Around(self.budget, once).call(operation, arguments, options, until)

    def once(self, operation, arguments, metadata, until, futures):
        try:
            name, request, answer = spoken.request(operation, arguments)
        except ValueError:
            raise refusal("invalid_request", "no message can say that") from None
        # Bytes, and no stub: grpcio's own future never ends where its answer is no message.
        method = self.channel.unary_unary(f"/lunasec.v1.Tokenizer/{name}")
        future = method.future(
            request.SerializeToString(), metadata=metadata, timeout=max(0.001, until - time.monotonic()), wait_for_ready=True
        )
        futures.append(future)
        try:
            bytes_ = future.result()
        except grpc.FutureCancelledError:
            raise refusal("aborted", "given up") from None
        except grpc.RpcError as error:
            raise understood(error) from None
        try:
            # None: it was a success, and there was no message.
            spoken.check(bytes_ is not None)
            return spoken.answer(operation, answer.FromString(bytes_), arguments)
        except (spoken.Wrong, spoken.DecodeError):
            raise refusal("protocol_error", "an answer that is not the contract's") from None

    def wait_for_socket(self, options):
        until = time.monotonic() + options.get("start_deadline_ms", 5_000) / 1_000
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if os.path.exists(self.path) and probe.connect_ex(self.path) == 0:
                    return
            if time.monotonic() >= until:
                raise refusal("sidecar_unreachable", "there is no socket", True)
            time.sleep(0.005)


def main():
    # What no line here expects ends all of it, so that nobody waits for a reply.
    threading.excepthook = lambda _: os._exit(1)
    client, lock, calls = None, threading.Lock(), {}

    def say(reply):
        with lock:
            print(json.dumps(reply), flush=True)

    def make(said):
        try:
            reply = {"ok": client.call(said["call"], said["arguments"], said["options"], calls[said["id"]])}
        except Refused as refused:
            reply = {"error": refused.said}
        say({"id": said["id"], **reply, "printed": "[redacted]"})

    for line in sys.stdin:
        said = json.loads(line)
        if "open" in said:
            client = Client(said["open"]["socket"], said["open"]["options"])
            say({"id": said["id"], "ok": {}})
        elif "abort" in said:
            for future in calls[said["abort"]]:
                future.cancel()
            say({"id": said["id"], "ok": {}})
        else:
            calls[said["id"]] = []
            threading.Thread(target=make, args=(said,), daemon=True).start()


if __name__ == "__main__":
    main()
