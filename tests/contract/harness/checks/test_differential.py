"""Whether the scripted server says in gRPC what the sidecar says: each call is made of both, and both answers are compared."""

import http.client
import json
import os
import socket
import subprocess
import tempfile
import time
import unittest

from .. import sidecar, wires
from ..cases import METHODS
from ..scripted import Scripted
from ..words import Variables
from . import programs

ROUTES = {operation: route for route, operation in METHODS.items()}
UNKNOWN = "lunasec-00112233-4455-4677-8899-aabbccddeeff"
PATIENCE = 20
# Who asks for a grant, who asks too often, and everybody's own.
CLIENT = """[[clients]]
name = "shop"
uid = {uid}
namespaces = ["default"]
operations = ["tokenize", "detokenize", "metadata", "grants", "delete"]
"""
CONFIG = """[listen]
socket = "{directory}/lunasec.sock"
admin = "127.0.0.1:0"
[storage]
kind = "embedded"
path = "{directory}/store.redb"
[keys]
kind = "local"
path = "{directory}/local.key"
[degrade]
state_dir = "{directory}/state"
"""


class Configured(sidecar.Sidecar):
    """One that serves, of whose only client `extra` says more."""

    def __init__(self, directory, extra):
        self.extra = extra
        super().__init__(directory)

    def command(self):
        path = os.path.join(self.directory, "lunasec.toml")
        with open(path, "w") as file:
            file.write(CONFIG.format(directory=self.directory) + CLIENT.format(uid=os.getuid()) + self.extra)
        return [self.binary, "serve", "--config", path]


class Lines:
    """A program that answers each line with one."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, said):
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


def in_json(path, call):
    """What the sidecar answers in HTTP, as an exchange's answer."""
    link = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    link.sock = socket.socket(socket.AF_UNIX)
    link.sock.connect(path)
    method = "GET" if call["call"] == "status" else "POST"
    body = None if method == "GET" else json.dumps(call["arguments"], ensure_ascii=False, separators=(",", ":")).encode()
    headers = {**call["headers"], **({"content-type": "application/json"} if body else {})}
    link.request(method, ROUTES[call["call"]], body, headers)
    answer = link.getresponse()
    text = answer.read()
    link.close()
    said = {name.lower(): value for name, value in answer.getheaders()}
    kept = {name: said[name] for name in ("lunasec-degraded", "age", "content-type", "retry-after") if name in said}
    return {"status": answer.status, "headers": kept, "body": json.loads(text)}


def without_waits(seen):
    """A wait grows shorter from one answer to the next: how long it is, but not that there is one, is left out."""
    trailing = [
        [name, [*value[:2], [each[:1] if each[0] == "RetryInfo" else each for each in value[2]]]]
        if name == "grpc-status-details-bin"
        else [name, value]
        for name, value in seen["trailing"]
    ]
    return {**seen, "trailing": trailing}


class Differential(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="lunasec-differs-")
        self.addCleanup(self.directory.cleanup)
        self.program = programs.made(self.directory.name, "differential.py")
        self.numbers = iter(range(1_000))

    def start(self, extra=None):
        directory = os.path.join(self.directory.name, f"sidecar-{next(self.numbers)}")
        os.mkdir(directory)
        self.sidecar = sidecar.Sidecar(directory) if extra is None else Configured(directory, extra)
        self.addCleanup(self.sidecar.stop)
        self.lines = Lines([self.program, self.sidecar.socket])
        self.addCleanup(self.lines.close)

    def scripted(self, call, answer, path):
        """What the scripted server answers where the sidecar gave `answer`."""
        exchange = {"answer": answer, "request": {"path": ROUTES[call["call"]], "method": "POST"}}
        if call["call"] == "status":
            exchange["request"]["method"] = "GET"
        else:
            exchange["request"]["body"] = call["arguments"]
        server = Scripted(path, [exchange], Variables(), wires.of("grpc"))
        server.listen()
        lines = Lines([self.program, path])
        seen = lines.ask(call)
        lines.close()
        self.assertEqual(server.end(), [])
        return seen

    def same(self, operation, arguments, twin=None, **headers):
        """Asks in JSON, and in gRPC: what a second time would be another, of a twin. Gives the JSON."""
        call = {"call": operation, "arguments": arguments, "headers": headers}
        answer = in_json(self.sidecar.socket, call)
        real = self.lines.ask({**call, "arguments": twin or arguments})
        path = os.path.join(self.directory.name, f"{next(self.numbers)}.sock")
        played = self.scripted(call, answer, path)
        waits = json.dumps(real).count("RetryInfo")
        self.assertEqual(waits, 1 if "retry_after_ms" in answer["body"] else 0)
        self.assertEqual(without_waits(played), without_waits(real), answer)
        return answer["body"]

    def code(self, code, operation, arguments, **headers):
        self.assertEqual(self.same(operation, arguments, **headers).get("code"), code)

    def token(self, **said):
        call = {"call": "tokenize", "arguments": {"value": "v", **said}, "headers": {}}
        return in_json(self.sidecar.socket, call)["body"]["token"]

    def test_values(self):
        self.start()
        for at, said in enumerate(
            [
                {"value": "Zoë 🌙 \u0000 \" \\ / \n"},
                {"value": ""},
                {"value": "AP/+gA==", "encoding": "base64"},
                {"value": "dGV4dA==", "encoding": "base64"},
                {"value": "x" * (1 << 20)},
                {"value": "v", "metadata": {"a": {"b": [1, None, "é"]}}, "expires_in": "720h"},
            ]
        ):
            given = self.same("tokenize", said, **{"idempotency-key": f"key-{at}"})
            self.same("detokenize", {"token": given["token"]})
        batch = {"items": [{"value": "a"}, {"value": "AP8=", "encoding": "base64"}, {"value": "x" * ((1 << 20) + 1)}]}
        given = self.same("tokenize_batch", batch, **{"idempotency-key": "key"})
        self.assertEqual([sorted(item) for item in given["items"]], [["durability", "token"]] * 2 + [["error"]])
        tokens = [item["token"] for item in given["items"][:2]]
        self.same("detokenize_batch", {"tokens": [*tokens, UNKNOWN, "nothing", tokens[0]]})

    def test_metadata(self):
        self.start()
        plain, full, twin = self.token(), self.token(metadata={"n": 1}, expires_in="720h"), self.token(metadata={"n": 1})
        for token in (plain, full):
            self.same("metadata_get", {"token": token})
        change = {"token": full, "metadata": {"n": [1, {"x": None}]}}
        self.same("metadata_set", change, twin={**change, "token": twin})
        again = {**change, "if_version": 2}
        self.same("metadata_set", again, twin={**again, "token": twin})
        self.code("conflict", "metadata_set", {**change, "if_version": 0})
        self.same("metadata_get", {"token": full})

    def test_grants_and_deletes(self):
        self.start()
        token, other = self.token(), self.token()
        tokens = [token, UNKNOWN, "nothing"]
        # A grant that lasts longer than what is asked for later says the same time twice.
        long = {"session": "alice €", "tokens": [token], "expires_in": "24h", "actions": ["detokenize", "delete"]}
        in_json(self.sidecar.socket, {"call": "grants_create", "arguments": long, "headers": {}})
        shorter = {**long, "tokens": tokens, "expires_in": "5m"}
        given = self.same("grants_create", shorter)
        self.assertEqual([sorted(item) for item in given["items"]][0], ["durability", "expires_at", "token"])
        verified = self.same("grants_verify", {"session": "alice €", "tokens": tokens})
        self.assertTrue(verified["items"][0]["valid"])
        denied = self.same("grants_verify", {"session": "alice €", "tokens": tokens, "action": "update"})
        self.assertEqual(denied["items"][0]["reason"], "denied")
        brief = {"session": "bob", "tokens": [token], "expires_in": "1ms"}
        in_json(self.sidecar.socket, {"call": "grants_create", "arguments": brief, "headers": {}})
        verify = {"session": "bob", "tokens": [token]}
        self.until(lambda: in_json(self.sidecar.socket, {"call": "grants_verify", "arguments": verify, "headers": {}}),
                   lambda answer: answer["body"]["items"][0].get("reason") == "expired")  # fmt: skip
        self.same("grants_verify", verify)
        self.same("grants_revoke", {"session": "alice €", "tokens": [other]})
        self.same("grants_revoke", {"session": "alice €"})
        self.same("delete", {"tokens": tokens})

    def until(self, ask, met):
        """Time must pass, for a while at most."""
        end = time.monotonic() + PATIENCE
        while not met(ask()):
            self.assertLess(time.monotonic(), end)

    def test_the_status(self):
        self.start()
        # A second may begin between the two.
        for left in (3, 2, 1, 0):
            try:
                self.same("status", {})
                break
            except AssertionError:
                if left == 0:
                    raise

    def test_refusals(self):
        self.start()
        self.code("invalid_token", "detokenize", {"token": "nothing"})
        self.code("not_found", "detokenize", {"token": UNKNOWN})
        self.code("invalid_namespace", "detokenize", {"token": UNKNOWN}, **{"lunasec-namespace": "No Name"})
        self.code("payload_too_large", "tokenize", {"value": "x" * ((1 << 20) + 1)})
        self.code("invalid_request", "grants_verify", {"session": "", "tokens": [UNKNOWN]})
        brief = self.token(expires_in="1ms")
        ask = {"call": "detokenize", "arguments": {"token": brief}, "headers": {}}
        self.until(lambda: in_json(self.sidecar.socket, ask), lambda answer: answer["status"] == 410)
        self.code("expired", "detokenize", {"token": brief})

    def test_refusals_of_a_policy(self):
        self.start("require_grant = true\n")
        token = self.token()
        self.code("unauthenticated", "detokenize", {"token": token})
        self.code("grant_denied", "detokenize", {"token": token}, **{"lunasec-session": "alice"})
        self.code("forbidden", "detokenize", {"token": token}, **{"lunasec-namespace": "other"})

    def test_too_many_reveals(self):
        self.start("reveals_per_minute = 2\n")
        tokens = [self.token() for _ in range(4)]
        in_json(self.sidecar.socket, {"call": "detokenize_batch", "arguments": {"tokens": tokens}, "headers": {}})
        self.code("rate_limited", "detokenize", {"token": tokens[0]})
        items = self.same("detokenize_batch", {"tokens": tokens})["items"]
        self.assertEqual({item["error"]["code"] for item in items}, {"rate_limited"})
