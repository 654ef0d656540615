"""Whether the scripted server is right in gRPC: a right client passes, a flawed one is found, and the sidecar says the same."""

import contextlib
import io
import os
import re
import socket
import tempfile
import unittest

from .. import cases, grid, sdks, wires
from ..scripted import Scripted
from ..sidecar import ROOT
from ..words import Variables
from . import programs


def verdict(chosen, changes=None):
    """What the grid finds wrong with the client, or with one of which a line is another."""
    with tempfile.TemporaryDirectory(prefix="lunasec-client-") as directory:
        adapter = programs.made(directory, "client.py", changes)
        with contextlib.redirect_stdout(io.StringIO()):
            return grid.run({"toy": sdks.Sdk(adapter, "grpc")}, chosen)


def named(*titles):
    chosen = [case for case in cases.load() if case.title in titles]
    assert len(chosen) == len(titles), titles
    return chosen


class Clients(unittest.TestCase):
    def test_a_right_client_has_no_gap(self):
        """But where its library says no text that is not ASCII."""
        foreign = {"sdk/requests: a session is said in UTF-8", "sdk/binary: a session reveals what it was granted, and is asked for by one id"}
        chosen = [case for case in cases.load() if case.server == "scripted" or case.file == "sdk/binary"]
        self.assertGreater(len(chosen), 240)
        self.assertEqual(verdict([case for case in chosen if case.title not in foreign]), [])
        refused = verdict([case for case in chosen if case.title in foreign])
        self.assertEqual({title for title in foreign for gap in refused if title in gap}, foreign)
        self.assertTrue(all(any(title in gap for title in foreign) for gap in refused), refused)

    def test_each_flaw_of_a_client_is_a_gap(self):
        client, around, spoken, of = "client.py", "around.py", "spoken.py", "sdk/malformed: "
        flaws = [
            (spoken, "encoding=pb.ENCODING_UTF8)", "encoding=pb.ENCODING_BASE64)", "sdk/requests: text is sent as text", "value: "),
            (spoken, 'options.get("idempotency_key", key)', '"same"', "sdk/requests: each tokenize has an idempotency key of its own", "must not be"),
            (spoken, 'given["all"] = "tokens" not in given', "pass", "sdk/requests: some grants are revoked, and all: never a list that is missing by mistake", "tokens is one member too many"),
            (client, "not all(spoken", "False and not all(spoken", "sdk/requests: what no header can hold is refused and not sent: nothing", "one request too many"),
            (spoken, "    check(not any(field.field_number in known", "    (not any(field.field_number in known", f"{of}a member of another type", "instead of error"),
            (spoken, "check(number != 0 and number in enum.values())", "number = number if number in enum.values() else 1", f"{of}a tokenize whose durability means nothing", "instead of error"),
            (spoken, "check(-62_135_596_800 <= stamp.seconds", "stamp.seconds = min(0, stamp.seconds); check(-62_135_596_800 <= stamp.seconds", f"{of}a verify that says valid until no time at all is neither a yes nor a no", "instead of error"),
            (spoken, 'check([item["token"] for item in items] == asked["tokens"])', "pass", f"{of}a batch with items in another order", "instead of error"),
            (client, "(spoken.Wrong, spoken.DecodeError):\n            raise refusal(\"protocol_error\", \"an answer", "(spoken.Wrong, spoken.DecodeError):\n            raise refusal(\"protocol_error\", f\"{bytes_}: an answer", f"{of}a value that is not base64", "an error holds a value"),
            (client, 'and info.metadata.get("retryable") in ("true", "false")', "", f"{of}an error that does not say whether to try again", "code: "),
            (client, "info.reason and", "", f"{of}an error without a code", "code: "),
            (client, '"http2 header with status", ', "", f"{of}an error without a problem", "one request too many"),
            (client, "after = retry.retry_delay.ToMilliseconds()", "pass", "sdk/errors: retry_after_ms is told", "retry_after_ms: a member is missing"),
            (around, "and certain and attempt < most", "and certain and attempt < 1", "sdk/connections: closed in the middle of the body", "never came"),
            (client, 'futures.append(future)', "futures.append(future); future.cancel()", "sdk/requests: metadata is read", "instead of ok"),
            (spoken, '**staleness(message)}\n\n\ndef staleness', "}\n\n\ndef staleness", "sdk/degraded: an answer of no age is degraded, too", "degraded: a member is missing"),
        ]  # fmt: skip
        for file, old, new, title, expected in flaws:
            with self.subTest(old):
                found = verdict(named(title), (file, old, new))
                self.assertTrue(any(expected in words for words in found), f"{old}: {found}")

    def test_what_is_no_grpc_at_all_is_found(self):
        for bytes_, expected in [
            (b"GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n", "does not speak HTTP/2"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x09\x01\x00\x00\x00\x01", "does not speak HTTP/2"),
        ]:
            directory = tempfile.TemporaryDirectory(prefix="lunasec-raw-")
            self.addCleanup(directory.cleanup)
            server = Scripted(os.path.join(directory.name, "s.sock"), [], Variables(), wires.of("grpc"))
            server.listen()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(server.path)
                client.sendall(bytes_)
                while client.recv(1_024):
                    pass
            found = server.end()
            self.assertTrue(any(expected in words for words in found), found)


class Tables(unittest.TestCase):
    def test_statuses_are_those_of_the_sidecar(self):
        wires.of("grpc")
        from ..wires import failures

        source = (ROOT / "sidecar/server/src/status.rs").read_text()
        found = re.findall(r"Code::(\w+) =>.*?Grpc::(\w+)", source, re.DOTALL)
        snake = {re.sub(r"(?<!^)(?=[A-Z])", "_", code).lower(): status for code, status in found}
        wanted = {code: re.sub(r"(?<!^)(?=[A-Z])", "_", status).upper() for code, status in snake.items()}
        self.assertEqual(failures.CODES, wanted)
