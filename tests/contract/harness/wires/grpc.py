"""gRPC on HTTP/2. Frames are made by h2, which knows what may be sent when; what may not is written past it."""

import json
import socket
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hyperframe.frame

from ..exchange import Request
from ..pattern import Mismatch
from . import failures, messages, plan

CONFIG = h2.config.H2Configuration(
    client_side=False, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
)
FRAME_HEAD_BYTES = 9
# For a client to notice that a connection is over.
CLOSE_SECONDS = 1
# What gRPC itself says in a request's head, of which the contract knows nothing.
ONLY_GRPC = {"te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-previous-rpc-attempts"}


def serve(server, connection):
    Conversation(server, connection).run()


def counterpart(said):
    """`grpc` in a case, an exchange or its answer goes before what is said beside it."""
    said = {**said, **said.get("grpc", {})}
    if "answer" in said:
        said["answer"] = {**said["answer"], **said["answer"].get("grpc", {})}
    return said


def body(pattern):
    return messages.respelled(pattern)


def expected(pattern):
    if "error" in pattern:
        return {**pattern, "error": failures.told(pattern["error"])}
    return pattern


class Stream:
    """A call. `gone`: nobody waits for its answer any more."""

    def __init__(self, number, headers):
        self.number = number
        self.headers = [(name.decode(), value.decode("utf-8", "replace")) for name, value in headers]
        self.body = bytearray()
        self.gone = threading.Event()

    @property
    def path(self):
        return dict(self.headers).get(":path")

    def request(self):
        """In the contract's words; what is no call of the contract is what it is."""
        said = dict(self.headers)
        method, path = said[":method"], said.get(":path", "")
        headers = {name: value for name, value in said.items() if name[0] != ":" and name not in ONLY_GRPC}
        headers["host"] = said.get(":authority", headers.get("host", ""))
        bytes_ = bytes(self.body)
        if method != "POST" or path not in messages.ROUTES:
            return Request(method, path, headers, bytes_, "it is no call of lunasec.v1.Tokenizer")
        if said.get("content-type", "").split(";")[0] in ("application/grpc", "application/grpc+proto"):
            headers["content-type"] = "application/json"
        if said.get("te") != "trailers":
            return Request(method, path, headers, bytes_, "it does not say `te: trailers`")
        return taken(path, headers, bytes_)


def taken(path, headers, bytes_):
    route = messages.ROUTES[path]
    try:
        said = messages.request_body(path, unframed(bytes_))
    except Mismatch as mismatch:
        return Request("POST", route, headers, bytes_, str(mismatch))
    if said is None:
        # What a GET has: no body, and so no type of one.
        return Request("GET", route, {name: headers[name] for name in headers if name != "content-type"}, b"")
    return Request("POST", route, headers, json.dumps(said).encode())


def unframed(bytes_):
    prefix, message = bytes_[: plan.PREFIX_BYTES], bytes_[plan.PREFIX_BYTES :]
    if len(prefix) < plan.PREFIX_BYTES or int.from_bytes(prefix[1:], "big") != len(message):
        raise Mismatch("its body is not one message")
    if prefix[0] != 0:
        raise Mismatch("its message is compressed, which the sidecar refuses")
    return message


class Conversation:
    """One connection. What is read is read by one thread; each call is answered by one of its own."""

    def __init__(self, server, connection):
        self.server, self.connection = server, connection
        self.h2 = h2.connection.H2Connection(CONFIG)
        self.streams = {}
        # Whoever holds it may use h2, and write; it is told when more may be sent.
        self.turn = threading.Condition()
        # Nothing more is taken; and the client has closed it, too.
        self.over, self.closed = threading.Event(), threading.Event()

    def run(self):
        try:
            with self.turn:
                self.h2.initiate_connection()
                self.flush()
            while data := self.connection.recv(65_536):
                if not self.over.is_set():
                    self.read(data)
        except h2.exceptions.ProtocolError as error:
            self.server.wrong.append(f"the client does not speak HTTP/2: {error}")
        finally:
            self.closed.set()
            with self.turn:
                for stream in self.streams.values():
                    stream.gone.set()
                self.turn.notify_all()

    def read(self, data):
        with self.turn:
            events = self.h2.receive_data(data)
            for event in events:
                if isinstance(event, h2.events.DataReceived):
                    self.streams[event.stream_id].body += event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.RequestReceived):
                    self.streams[event.stream_id] = Stream(event.stream_id, event.headers)
                elif isinstance(event, h2.events.StreamReset):
                    self.streams[event.stream_id].gone.set()
            self.flush()
            self.turn.notify_all()
        for event in events:
            if isinstance(event, h2.events.StreamEnded):
                self.take(self.streams[event.stream_id])

    def take(self, stream):
        """In the order of arrival, whoever is answered first."""
        with self.server.lock:
            exchange = self.server.take(stream.request())

        def play():
            return self.server.play(exchange, Reply(self, stream)) or self.close()

        threading.Thread(target=self.server.carry, args=(self.connection, play), daemon=True).start()

    def close(self):
        """Our half first: a client that is about to write would not read what came before if all were closed at once."""
        self.over.set()
        self.connection.shutdown(socket.SHUT_WR)
        self.closed.wait(CLOSE_SECONDS)
        return False

    def flush(self):
        self.write(self.h2.data_to_send())

    def write(self, bytes_):
        self.connection.sendall(bytes_)


class Reply:
    def __init__(self, conversation, stream):
        self.conversation, self.stream = conversation, stream
        self.h2, self.turn = conversation.h2, conversation.turn

    def stray(self):
        self.send(plan.Plan([(":status", "500"), ("content-type", "text/plain")], [b"not in the script"], None))

    def hang(self):
        """Until the client gives up or goes away; the connection is for other calls, too."""
        self.stream.gone.wait()
        return True

    def answer(self, answer, cut=None):
        self.send(plan.plan(self.stream.path, answer), cut)

    def raw(self, bytes_):
        """What a case spells in HTTP/1.1 is said in gRPC; what is no HTTP is none here, either."""
        if not bytes_.startswith(b"HTTP/1.1 "):
            with self.turn:
                self.conversation.write(bytes_)
        elif (answer := plan.spelled_out(bytes_)) is not None:
            self.answer(answer)
        else:
            self.headers(plan.Plan([(":status", "200"), ("content-type", plan.GRPC)], [], None).head, False, cut=True)

    def send(self, said, cut=None):
        """A plan, of which `cut` bytes are missing at the end of the data, or of the head if that is all."""
        more = bool(said.data) or said.trailers is not None
        sent = self.headers(said.head, not more, cut=cut is not None and not said.data)
        for at, data in enumerate(said.data, 1):
            last = at == len(said.data)
            sent = sent and self.data(data, last and said.trailers is None, cut if last else None)
        if sent and cut is None and said.trailers is not None:
            self.headers(said.trailers, True)

    def headers(self, headers, end, cut=False):
        """Whether the client is still there for more. Half of it, if it is cut."""

        def send():
            self.h2.send_headers(self.stream.number, headers, end_stream=end)
            bytes_ = self.h2.data_to_send()
            self.conversation.write(bytes_[: FRAME_HEAD_BYTES + (len(bytes_) - FRAME_HEAD_BYTES) // 2] if cut else bytes_)

        return self.if_there(send)

    def data(self, data, end, cut):
        """In as many frames as the client has room for."""
        at, there = 0, True
        while there and at < len(data):
            size = self.room(len(data) - at)
            if size == 0:
                return False
            last = at + size == len(data)
            part = data[at : at + size]
            there = self.if_there(lambda: self.frame(part, end and last, cut if last else None))
            at += size
        return there

    def room(self, most):
        """How much may be sent now; none when the client has gone."""
        with self.turn:
            while not self.stream.gone.is_set():
                try:
                    window = self.h2.local_flow_control_window(self.stream.number)
                except h2.exceptions.ProtocolError:
                    return 0
                if window > 0:
                    return min(most, window, self.h2.max_outbound_frame_size)
                self.turn.wait()
        return 0

    def frame(self, part, end, cut):
        if cut is None:
            self.h2.send_data(self.stream.number, part, end_stream=end)
            self.conversation.flush()
            return
        # Its head says how much there would be. Something of the message is there, so that it has begun.
        whole = hyperframe.frame.DataFrame(self.stream.number, data=part).serialize()
        self.conversation.write(whole[: max(FRAME_HEAD_BYTES + plan.PREFIX_BYTES + 1, len(whole) - cut)])

    def if_there(self, send):
        with self.turn:
            if self.stream.gone.is_set():
                return False
            try:
                send()
            except h2.exceptions.ProtocolError:
                # It was given up between the two.
                return False
            return True
