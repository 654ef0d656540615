"""The cases: those of the server that an SDK can replay, and those of `sdk/` with a script."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from . import words

HERE = Path(__file__).resolve().parent.parent

# Each operation of the contract: the route of the server's cases, and the name that adapters know it by.
METHODS = {
    "/v1/tokenize": "tokenize",
    "/v1/tokenize:batch": "tokenize_batch",
    "/v1/detokenize": "detokenize",
    "/v1/detokenize:batch": "detokenize_batch",
    "/v1/metadata/get": "metadata_get",
    "/v1/metadata/set": "metadata_set",
    "/v1/grants/create": "grants_create",
    "/v1/grants/verify": "grants_verify",
    "/v1/grants/revoke": "grants_revoke",
    "/v1/delete": "delete",
    "/v1/status": "status",
}


# How many cases there are of each file at least: one that loses some, or is no more, is a gap. Raise them with new cases.
LEAST = {
    "batch": 4,
    "delete": 3,
    "grants": 17,
    "idempotency": 5,
    "metadata": 5,
    "namespaces": 3,
    "sdk/batching": 8,
    "sdk/binary": 7,
    "sdk/connections": 14,
    "sdk/degraded": 10,
    "sdk/errors": 67,
    "sdk/malformed": 34,
    "sdk/policies": 38,
    "sdk/requests": 21,
    "sdk/retries": 44,
    "sdk/versions": 18,
    "status": 1,
    "tokenize": 11,
}


@dataclass(frozen=True)
class Case:
    """One row of the grid. `server` is who answers: `scripted` or `binary`; `code` the error that it is about, if it is."""

    file: str
    name: str
    server: str
    body: dict
    code: str | None

    @property
    def title(self):
        return f"{self.file}: {self.name}"


def load():
    """Every case, in the order of the files."""
    server = [case for path in sorted(HERE.glob("*.json")) for case in of_server(path)]
    sdk = [case for path in sorted((HERE / "sdk").glob("*.json")) for case in of_sdk(path)]
    return sdk + server


def of_server(path):
    for case in json.loads(path.read_text()):
        if case["level"] == "api":
            yield Case(path.stem, case["name"], "binary", {"steps": translated(case)}, None)


def of_sdk(path):
    for case in json.loads(path.read_text()):
        for row in case.get("each", [{}]):
            body = words.substituted({key: part for key, part in case.items() if key != "each"}, row)
            yield Case(f"sdk/{path.stem}", body["name"], body.get("server", "scripted"), body, row.get("code"))


def translated(case):
    """A server's case as steps of an adapter: a route is a method, its body the arguments, its headers options."""
    return [
        {
            "call": METHODS[step["request"]["path"]],
            "arguments": step["request"].get("body", {}),
            "options": options(step["request"].get("headers", {})),
            "expect": expected(step["expect"]),
            "eventually": step["expect"].get("eventually", False),
            "capture": step.get("capture", {}),
        }
        for step in case["steps"]
    ]


def options(headers):
    names = {
        "lunasec-namespace": "namespace",
        "lunasec-session": "session",
        "lunasec-purpose": "purpose",
        "idempotency-key": "idempotency_key",
    }
    return {names[name]: value for name, value in headers.items()}


def expected(expect):
    """An answer of the server, as what a call comes to."""
    known = {"status", "headers", "body", "exact", "body_contains", "body_lacks", "eventually"}
    assert set(expect) <= known, f"what an SDK makes of {set(expect) - known} is not written yet"
    # Texts are looked for in the server's own tests: what an SDK says of an error may be its own words.
    body = expect.get("body", {})
    if expect["status"] < 400:
        return {"ok": body, "exact": expect.get("exact", False)}
    return {"error": {key: body[key] for key in ("code", "retryable") if key in body}}


def gaps(cases):
    """What the cases themselves lack: every operation and every code of the contract is in a script."""
    found = []
    scripted = [case for case in cases if case.server == "scripted"]
    called = {step.get("call") for case in scripted for step in case.body["steps"]}
    for method in sorted(set(METHODS.values()) - called):
        found.append(f"sdk/*.json: no scripted case calls {method}")
    source = (HERE.parent.parent / "sidecar/api/src/code.rs").read_text()
    codes = set(re.findall(r'^    \w+ = "(\w+)",$', source, re.MULTILINE))
    assert codes, "the contract's codes are not where they were"
    covered = {case.code for case in cases if case.file == "sdk/errors"}
    for code in sorted(codes - covered):
        found.append(f"sdk/errors.json: no case for {code}")
    for file in sorted({*LEAST, *(case.file for case in cases)}):
        number = sum(case.file == file for case in cases)
        if number < LEAST.get(file, 1) or file not in LEAST:
            found.append(f"{file}.json: {number} cases; cases.py expects {LEAST.get(file, 'to be told how many')}")
    titles = [case.title for case in cases]
    found += [f"{title}: is there twice" for title in sorted({t for t in titles if titles.count(t) > 1})]
    return found
