"""What the scripted server takes a message for, and what it makes of an answer, where no client would tell."""

import io
import unittest

from .. import wires
from ..exchange import Answer
from ..scripted import Scripted
from ..words import Variables

wires.of("grpc")

from ..wires import failures, http, plan, protobuf  # noqa: E402
from ..wires.grpc import taken  # noqa: E402
from ..wires.messages import PROTOS, SERVICE, respelled  # noqa: E402


def framed(bytes_, flag=0):
    return bytes([flag]) + len(bytes_).to_bytes(4, "big") + bytes_


def message(method, said):
    return framed(protobuf.encode(PROTOS.methods[SERVICE + method].takes, said))


def asked(method, bytes_):
    return taken(SERVICE + method, {"content-type": "application/json"}, bytes_)


class Http(unittest.TestCase):
    def test_a_request_that_was_given_up_while_it_was_sent_is_none(self):
        head = b"POST /v1/detokenize HTTP/1.1\r\nhost: x\r\n"
        for rest in (b"content-length: 2\r\n\r\n{}", b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"):
            sent = head + rest
            self.assertEqual(http.read_request(io.BytesIO(sent)).said(), {})
            for length in range(len(sent)):
                self.assertIsNone(http.read_request(io.BytesIO(sent[:length])), sent[:length])


class Requests(unittest.TestCase):
    def test_a_message_is_the_body_that_says_the_same(self):
        hour, value = {"seconds": 3_600}, b"\xff"
        for method, said, body in [
            ("Tokenize", {"value": b"v"}, {"value": "v"}),
            ("Tokenize", {}, {"value": ""}),
            ("Tokenize", {"value": value}, {"value": "/w==", "encoding": "base64"}),
            ("Tokenize", {"value": b"v", "encoding": "ENCODING_BASE64"}, {"value": "dg==", "encoding": "base64"}),
            ("Tokenize", {"value": b"v", "expires_in": hour}, {"value": "v", "expires_in": "1h"}),
            ("Tokenize", {"value": b"v", "expires_in": {"nanos": 1}}, {"value": "v", "expires_in": "1ns"}),
            ("SetMetadata", {"token": "t", "metadata": "{}", "if_version": 0}, {"token": "t", "metadata": {}, "if_version": 0}),
            ("CreateGrants", {"session": "s", "tokens": ["t"], "actions": ["ACTION_UPDATE", "ACTION_DELETE"]},
             {"session": "s", "tokens": ["t"], "actions": ["update", "delete"]}),
            ("RevokeGrants", {"session": "s", "all": True}, {"session": "s"}),
            ("RevokeGrants", {"session": "s"}, {"session": "s", "tokens": []}),
            ("RevokeGrants", {"session": "s", "all": True, "tokens": ["t"]}, {"session": "s", "tokens": ["t"], "all": True}),
        ]:  # fmt: skip
            request = asked(method, message(method, said))
            self.assertEqual((request.unread, request.said()), (None, body))
        status = asked("GetStatus", message("GetStatus", {}))
        self.assertEqual((status.method, status.path, status.body, status.headers), ("GET", "/v1/status", b"", {}))

    def test_what_is_not_the_contracts_is_a_gap_whatever_the_script_says(self):
        good = protobuf.encode(PROTOS.methods[f"{SERVICE}Tokenize"].takes, {"value": b"v"})
        for method, bytes_, expected in [
            ("Tokenize", b"", "not one message"),
            ("Tokenize", framed(good)[:-1], "not one message"),
            ("Tokenize", framed(good) * 2, "not one message"),
            ("Tokenize", framed(good, flag=1), "compressed"),
            ("Tokenize", framed(b"4111 1111"), "no protobuf"),
            ("Tokenize", framed(good + b"\xa2\x06\x00"), "has a field 100"),
            ("Tokenize", framed(b"\x08\x01"), "field value is of another type"),
            ("Tokenize", framed(b"\x0a\x05v"), "no protobuf"),
            ("Tokenize", message("Tokenize", {"value": b"\xff", "encoding": "ENCODING_UTF8"}), "not what its encoding says"),
            ("Tokenize", message("Tokenize", {"value": b"v", "encoding": "ENCODING_ROT13"}), "not what its encoding says"),
            ("Tokenize", message("Tokenize", {"value": b"v", "metadata": "{"}), "metadata is not JSON"),
            ("SetMetadata", message("SetMetadata", {"token": "t"}), "metadata is not JSON"),
            ("Detokenize", framed(b"\x0a\x01\xff"), "token is not UTF-8"),
            ("CreateGrants", message("CreateGrants", {"tokens": ["t"], "actions": ["ACTION_UNSPECIFIED"]}), "is no action"),
            ("VerifyGrants", message("VerifyGrants", {"tokens": ["t"], "action": "ACTION_SING"}), "is no action"),
        ]:
            server = Scripted("", [{"answer": {}}], Variables(), wires.of("grpc"))
            server.take(asked(method, bytes_))
            self.assertTrue(any(expected in words for words in server.end()), f"{bytes_}: {server.wrong}")

    def test_times_are_compared_and_not_their_spelling(self):
        for spelled, same in [("60m", "1h"), ("3600s", "1h"), ("2d", "48h"), ("90m", "90m"), ("1500ms", "1500ms")]:
            self.assertEqual(respelled({"items": [{"expires_in": spelled}]}), {"items": [{"expires_in": same}]})
        self.assertEqual(respelled({"expires_in": "soon"}), {"expires_in": "soon"})


class Answers(unittest.TestCase):
    def test_how_old_an_answer_is_stands_in_one_place(self):
        old = {"lunasec-degraded": "storage", "age": "7"}
        said = plan.plan(f"{SERVICE}Detokenize", Answer(200, old, {"value": "v", "encoding": "utf8"}))
        self.assertNotIn("lunasec-degraded", dict(said.head))
        self.assertIn(b"storage", said.data[0])
        said = plan.plan(f"{SERVICE}Tokenize", Answer(200, old, {"token": "t", "durability": "journaled"}))
        self.assertEqual((dict(said.head)["lunasec-degraded"], dict(said.head)["age"]), ("storage", "7"))
        self.assertNotIn(b"storage", said.data[0])

    def test_what_is_in_between_speaks_http(self):
        for answer, status, kind, data in [
            (Answer(503, {"content-type": "text/html"}, text="<p>"), "503", "text/html", [b"<p>"]),
            (Answer(200, {"content-type": "text/html"}, {"a": 1}), "200", "text/html", [b'{"a": 1}']),
            (Answer(200, {"content-type": None}, {"a": 1}), "200", None, [b'{"a": 1}']),
            (Answer(302, {"location": "/"}, text=""), "302", "application/grpc", []),
        ]:
            said = plan.plan(f"{SERVICE}Detokenize", answer)
            self.assertEqual((dict(said.head)[":status"], dict(said.head).get("content-type")), (status, kind))
            self.assertEqual((said.data, said.trailers), (data, None))
            self.assertNotIn("grpc-status", dict(said.head))

    def test_an_answer_spelled_in_http_is_the_same_answer(self):
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        self.assertIsNone(plan.spelled_out(head))
        whole = plan.spelled_out(head + b"content-length: 2\r\n\r\n{}")
        self.assertEqual((whole.status, whole.body, whole.parts), (200, {}, 1))
        parts = plan.spelled_out(head + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
        self.assertEqual((parts.body, parts.parts), ({}, 2))
        said = plan.plan(f"{SERVICE}Detokenize", Answer(200, {}, {"value": "v", "encoding": "utf8"}, parts=3))
        self.assertEqual((len(said.data), b"".join(said.data)[5:]), (3, b"\x0a\x01v\x10\x01"))

    def test_a_code_that_is_newer_has_the_status_that_its_http_status_is_named_for(self):
        for http, name, told in [(400, "INVALID_ARGUMENT", 400), (403, "PERMISSION_DENIED", 403), (503, "UNAVAILABLE", 503),
                                 (500, "INTERNAL", 500), (418, "FAILED_PRECONDITION", 400), (599, "UNKNOWN", 500)]:  # fmt: skip
            self.assertEqual(failures.status_of("newer", http), name)
            self.assertEqual(failures.told({"code": "newer", "status": http})["status"], told)
        self.assertEqual(failures.told({"code": "expired", "status": 410})["status"], 410)
