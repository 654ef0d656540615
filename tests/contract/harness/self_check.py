#!/usr/bin/env python3
"""Whether the harness finds what is wrong: patterns, scripts, and an adapter that lacks or breaks something."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import cases, grid, sdks, words  # noqa: E402
from harness.checks.test_differential import Differential  # noqa: E402, F401
from harness.checks.test_grpc import Clients, Tables  # noqa: E402, F401
from harness.checks.test_wires import Answers, Requests  # noqa: E402, F401
from harness.pattern import Mismatch, match  # noqa: E402

TOKEN = "lunasec-00112233-4455-4677-8899-aabbccddeeff"

# An SDK of four lines: it sends what it is told to, with what `FLAW` spoils.
TOY = '''#!/usr/bin/env python3
import http.client, json, socket, sys
for line in sys.stdin:
    said = json.loads(line)
    if "open" in said:
        path = said["open"]["socket"]
        reply = {"ok": {}}
    elif said["call"] != "detokenize":
        reply = {"missing": said["call"]}
    else:
        link = http.client.HTTPConnection("localhost")
        link.sock = socket.socket(socket.AF_UNIX)
        link.sock.connect(path)
        link.request("POST", "/v1/detokenize", json.dumps(said["arguments"]), {"content-type": "application/json"})
        answer = link.getresponse()
        text = answer.read()
        body = json.loads(text) if text.endswith(b"}") else {}
        reply = {"ok" if answer.status == 200 else "error": body, "printed": "[redacted]"}
        link.close()
    FLAW
    print(json.dumps({"id": said["id"], **reply}), flush=True)
'''

CASE = {
    "script": [
        {
            "request": {"method": "POST", "path": "/v1/detokenize", "body": {"token": "${token:1}"}},
            "answer": {"body": {"value": "4111 1111", "encoding": "utf8"}},
        }
    ],
    "steps": [
        {
            "call": "detokenize",
            "arguments": {"token": "${token:1}"},
            "expect": {"ok": {"value": "4111 1111", "encoding": "utf8"}, "exact": True},
        }
    ],
}


def verdict(case, flaw="pass"):
    """What the grid finds wrong with the toy SDK."""
    with tempfile.TemporaryDirectory() as directory:
        adapter = Path(directory, "adapter")
        adapter.write_text(TOY.replace("FLAW", flaw))
        adapter.chmod(0o755)
        with contextlib.redirect_stdout(io.StringIO()):
            return grid.run({"toy": sdks.Sdk(str(adapter))}, [cases.Case("check", "a case", "scripted", case, None)])


def changed(**parts):
    return {**json.loads(json.dumps(CASE)), **parts}


class Patterns(unittest.TestCase):
    def test_a_pattern_matches_what_it_says_and_nothing_else(self):
        good = [
            ({"a": 1}, {"a": 1, "b": 2}, False),
            ([1, {"$is": "string"}], [1, "x"], True),
            ({"a": {"$absent": True}}, {"b": 1}, False),
            ({"$is": "token"}, TOKEN, True),
            ({"$is": "time"}, "2025-11-24T00:00:00.123Z", True),
            ({"$not": "x"}, "y", True),
            ({"$repeat": [2, 1]}, [1, 1], True),
        ]
        for pattern, value, exact in good:
            match(pattern, value, exact)
        bad = [
            ({"a": 1}, {"a": 1, "b": 2}, True),
            ({"a": 1}, {"a": 2}, False),
            ({"a": 1}, {}, False),
            ([1], [1, 2], False),
            ({"a": {"$absent": True}}, {"a": None}, False),
            ({"$is": "token"}, "4111", True),
            ({"$is": "token"}, TOKEN.upper(), True),
            ({"$is": "time"}, "yesterday", True),
            ({"$is": "text"}, "", True),
            ({"$is": "number"}, True, True),
            ({"$not": "x"}, "x", True),
            ({"$repeat": [2, 1]}, [1, 2], True),
            (1, True, True),
            (0, False, True),
            ("1", 1, True),
        ]
        for pattern, value, exact in bad:
            with self.assertRaises(Mismatch, msg=f"{pattern} {value}"):
                match(pattern, value, exact)

    def test_a_row_puts_in_what_it_names_and_leaves_the_rest(self):
        row = {"code": "conflict", "status": 409}
        found = words.substituted({"a": "${status}", "b": "is ${code} ${token:1}"}, row)
        self.assertEqual(found, {"a": 409, "b": "is conflict ${token:1}"})


class Grid(unittest.TestCase):
    def test_an_sdk_that_does_as_the_case_says_has_no_gap(self):
        self.assertEqual(verdict(CASE), [])

    def test_each_flaw_of_an_sdk_is_a_gap(self):
        flaws = {
            'reply.get("ok", {}).pop("encoding", 0)': "encoding: a member is missing",
            'reply.get("ok", {}).update(more=1)': "more is one member too many",
            'reply = {"error": {"code": "internal"}, "printed": "x"} if "call" in said else reply': "instead of ok",
            'reply["printed"] = "4111 1111"': "printing it shows a value",
            f'reply["printed"] = "{TOKEN}"': "printing it shows a token",
            'reply.pop("printed", 0)': "does not say how it prints",
            'reply = {"missing": "detokenize"} if "call" in said else reply': "the adapter lacks it",
            "sys.exit() if 'call' in said else 0": "the adapter has ended",
            "print('nonsense', flush=True)": "the adapter has ended",
        }
        for flaw, expected in flaws.items():
            found = verdict(CASE, flaw)
            self.assertTrue(any(expected in words for words in found), f"{flaw}: {found}")

    def test_a_value_in_an_error_is_a_gap_whatever_the_answer_was(self):
        """An SDK that quotes what it could not read."""
        card = "4111 1111 1111 1111"
        quotes = 'reply = {"error": {"detail": f"not JSON: {text}"}, "printed": "x"} if "call" in said else reply'
        prints = 'reply["printed"] = f"{text}" if "call" in said else ""'
        steps = [{**CASE["steps"][0], "expect": {"error": {"detail": {"$is": "text"}}}}]
        for answer in (
            {"answer": {"body_text": card}},
            {"answer": {"body_text": f'{{"value":"{card}'}},
            {"answer": {"body": {"value": card, "encoding": "rot13"}}},
            {"answer": {"body": {"value": 4111111111111111}}},
            {"bytes": f"HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{card}"},
        ):
            found = verdict(changed(script=[answer], steps=steps), quotes)
            self.assertTrue(any("an error holds a value" in words for words in found), f"{answer}: {found}")
            found = verdict(changed(script=[answer], steps=steps), f"{quotes}; {prints}")
            self.assertTrue(any("printing it shows a value" in words for words in found), f"{answer}: {found}")
        named = f'reply = {{"error": {{"detail": "{TOKEN} is none"}}, "printed": "x"}} if "call" in said else reply'
        found = verdict(changed(steps=steps), named)
        self.assertTrue(any("an error holds a token" in words for words in found), found)

    def test_what_the_server_sees_counts(self):
        script = CASE["script"]
        other = [{**script[0], "request": {"body": {"token": "${token:2}"}}}]
        header = [{**script[0], "request": {"headers": {"lunasec-namespace": "shop"}}}]
        for changes, expected in [
            ({"script": other}, "request 1: token"),
            ({"script": header}, "lunasec-namespace: a member is missing"),
            ({"script": script * 2}, "1 requests of the script never came"),
            ({"script": []}, "one request too many"),
        ]:
            found = verdict(changed(**changes))
            self.assertTrue(any(expected in words for words in found), f"{expected}: {found}")

    def test_a_case_that_an_sdk_lacks_is_a_gap(self):
        step = {"call": "tokenize", "arguments": {"value": "v"}, "expect": {"ok": {}}}
        found = verdict(changed(script=[], steps=[step]))
        self.assertEqual(found, ["toy: check: a case: the adapter lacks it: tokenize"])


class Completeness(unittest.TestCase):
    def test_the_cases_have_no_gaps_and_without_some_they_have(self):
        every = cases.load()
        self.assertEqual(cases.gaps(every), [])
        less = [case for case in every if case.code != "conflict"]
        self.assertIn("sdk/errors.json: no case for conflict", cases.gaps(less))
        less = [case for case in every if "revoke" not in json.dumps(case.body)]
        self.assertIn("sdk/*.json: no scripted case calls grants_revoke", cases.gaps(less))
        self.assertEqual(len(cases.gaps([*every, every[0]])), 1)

    def test_every_file_has_its_cases(self):
        every = cases.load()
        for file in {case.file for case in every}:
            mine = [case for case in every if case.file == file]
            for less in ([], mine[1:]):
                found = cases.gaps([case for case in every if case.file != file] + less)
                self.assertIn(f"{file}.json: {len(less)} cases; cases.py expects {len(mine)}", found)
        new = cases.Case("sdk/new", "a case", "scripted", {"steps": []}, None)
        self.assertEqual(cases.gaps([*every, new]), ["sdk/new.json: 1 cases; cases.py expects to be told how many"])

    def test_every_sdk_has_an_adapter(self):
        self.assertEqual(sdks.gaps(), [])
        self.assertIn("node", sdks.load())
        with unittest.mock.patch.dict(sdks.LIST, {"node": {"needs_none": "for whatever reason"}}):
            self.assertEqual(len(sdks.gaps()), 1)


if __name__ == "__main__":
    unittest.main()
