#!/usr/bin/env python3
"""Writes vectors.json: every derivation and the bytes of whole records and sessions, computed a second time.

Nothing here shares code with the crate. HKDF and HMAC are written out over the standard library;
AES-GCM is the one of the PyPI package `cryptography` (OpenSSL). CRYPTOGRAPHY.md says what is computed.

    python3 -m venv /tmp/vectors && /tmp/vectors/bin/pip install cryptography
    /tmp/vectors/bin/python vectors.py            # writes vectors.json beside this file
    /tmp/vectors/bin/python vectors.py --check    # only compares, and fails on a difference

The inputs are fixed, so a second run changes nothing. A change of vectors.json is a change of the
format: records in storage would no longer be found or opened.
"""

import hashlib
import hmac
import json
import pathlib
import sys
import uuid

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

OUTPUT = pathlib.Path(__file__).with_name("vectors.json")

KIND_CODES = {"value": 1, "metadata": 2, "grant": 3, "audit": 4}
VERSION = 1
ALGORITHM = 1
TOMBSTONE = 1

TOKENS = [
    "lunasec-00112233-4455-4677-8899-aabbccddeeff",
    "lunasec-fedcba98-7654-4210-bfff-0123456789ab",
]
DATA_KEYS = [bytes(range(32)), bytes.fromhex("a5" * 31 + "5a")]
INDEX_KEY = bytes(range(0x40, 0x60))
LONGEST_NAMESPACE = "n" + "0123456789" * 6 + "-z"
NAMESPACES = ["default", "shop-eu-1", "a", LONGEST_NAMESPACE]


def hmac_sha256(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf_extract(salt, ikm):
    """RFC 5869, 2.2."""
    return hmac_sha256(salt, ikm)


def hkdf_expand_32(prk, info):
    """RFC 5869, 2.3, for L = HashLen: the output is the first block."""
    return hmac_sha256(prk, info + b"\x01")


def fields(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def token_bytes(text):
    parsed = uuid.UUID(text.removeprefix("lunasec-"))
    assert parsed.version == 4 and parsed.variant == uuid.RFC_4122
    assert "lunasec-" + str(parsed) == text
    return parsed.bytes


def locator(token, namespace, kind, extra):
    prk = hkdf_extract(b"lunasec/v1/locate", token_bytes(token))
    return hkdf_expand_32(prk, fields(namespace.encode(), kind.encode(), extra))


def record_keys(data_key, token, namespace, kind, extra):
    prk = hkdf_extract(b"lunasec/v1/seal", data_key + token_bytes(token))
    about = (namespace.encode(), kind.encode(), extra)
    key = hkdf_expand_32(prk, fields(b"key", *about))
    commitment = hkdf_expand_32(prk, fields(b"commit", *about))
    return key, commitment


def session_tag(index_key, namespace, session):
    return hmac_sha256(index_key, fields(namespace.encode(), session.encode()))


def session_object(index_key, namespace, session, generations, until, revokes):
    """The version, until when grants may last, revokes, and what grants seal; then who says so."""
    tag = session_tag(index_key, namespace, session)
    signed = b"\x03" + until.to_bytes(8, "big") + bytes([len(revokes)])
    for event, at in revokes + generations:
        signed += event + at.to_bytes(8, "big")
    assert len(signed) == 10 + 24 * (len(revokes) + len(generations))
    mac = hmac_sha256(index_key, fields(b"session/v1", namespace.encode(), tag, signed))
    return tag, mac, signed + mac


def header(case):
    flags = TOMBSTONE if case["tombstone"] else 0
    return b"".join(
        [
            bytes([VERSION, KIND_CODES[case["kind"]], ALGORITHM, flags]),
            case["created_at"].to_bytes(8, "big"),
            (case["expires_at"] or 0).to_bytes(8, "big"),
            case["epoch"].to_bytes(4, "big"),
            case["generation"].to_bytes(2, "big"),
            bytes.fromhex(case["put_id"]),
        ]
    )


def seal(case):
    """Adds to a case what comes out of it."""
    subject = (case["token"], case["namespace"], case["kind"], bytes.fromhex(case["extra"]))
    key, commitment = record_keys(bytes.fromhex(case["data_key"]), *subject)
    first = header(case) + commitment
    assert len(first) == 74
    name = locator(*subject)
    associated = first + fields(case["namespace"].encode(), name)
    nonce = bytes.fromhex(case["nonce"])
    sealed = AESGCM(key).encrypt(nonce, bytes.fromhex(case["plaintext"]), associated)
    record = first + nonce + sealed
    return case | {
        "locator": name.hex(),
        "associated": associated.hex(),
        "record": record.hex(),
    }


GRANT_EXTRA = session_tag(INDEX_KEY, "default", "alice") + b"detokenize"


def subjects():
    """Every kind with and without extra, over two tokens and namespaces of every length."""
    for at, kind in enumerate(KIND_CODES):
        for extra in (b"", GRANT_EXTRA):
            for token in TOKENS:
                yield token, NAMESPACES[at], kind, extra
    yield TOKENS[0], LONGEST_NAMESPACE, "value", b""
    # The same bytes in a row, with the border between two fields elsewhere.
    yield TOKENS[0], "agrant", "grant", b"b"
    yield TOKENS[0], "a", "grant", b"grantb"
    # Longer than a block of SHA-256, and not text.
    yield TOKENS[1], "default", "grant", bytes(range(256))


def named(token, namespace, kind, extra):
    return {"token": token, "namespace": namespace, "kind": kind, "extra": extra.hex()}


def locators():
    return [named(*about) | {"locator": locator(*about).hex()} for about in subjects()]


def keys():
    cases = []
    for about in subjects():
        for data_key in DATA_KEYS:
            key, commitment = record_keys(data_key, *about)
            derived = {"key": key.hex(), "commitment": commitment.hex()}
            cases.append({"data_key": data_key.hex()} | named(*about) | derived)
    return cases


def session_tags():
    cases = []
    for index_key in (INDEX_KEY, DATA_KEYS[1]):
        for namespace, session in [
            ("default", "alice"),
            ("default", "s"),
            ("ab", "c"),
            ("a", "bc"),
            (LONGEST_NAMESPACE, "x" * 1024),
            ("shop-eu-1", "séance \u2603 \U0001f319"),
        ]:
            tag = session_tag(index_key, namespace, session).hex()
            about = {"namespace": namespace, "session": session}
            cases.append({"index_key": index_key.hex()} | about | {"tag": tag})
    return cases


SESSIONS = [("default", "alice"), ("ab", "c"), ("a", "bc"), (LONGEST_NAMESPACE, "x" * 1024)]
# What grants seal, and when that was begun.
GENERATIONS = [
    [(bytes(range(0x30, 0x40)), 1763942400000)],
    [(bytes.fromhex("ff" * 16), 8), (bytes(16), 9), (bytes(range(0x30, 0x40)), 2**63)],
    [],
]
# What took them back, and when.
REVOKES = [
    [],
    [(bytes([byte]) * 16, byte) for byte in range(8)],
    [(bytes(range(0x50, 0x60)), 1763942400000)],
]


def session_objects():
    cases = []
    for index_key in (INDEX_KEY, DATA_KEYS[1]):
        for namespace, session in SESSIONS:
            ends = (1763942400000 + 86400000, 2**64 - 1, 0)
            for generations, until, revokes in zip(GENERATIONS, ends, REVOKES):
                about = (namespace, session, generations, until, revokes)
                tag, mac, whole = session_object(index_key, *about)
                cases.append(
                    {
                        "index_key": index_key.hex(),
                        "namespace": namespace,
                        "session": session,
                        "generations": [[held.hex(), at] for held, at in generations],
                        "until": until,
                        "revokes": [[held.hex(), at] for held, at in revokes],
                        "tag": tag.hex(),
                        "mac": mac.hex(),
                        "object": whole.hex(),
                    }
                )
    return cases


ACTIONS = ["detokenize", "metadata", "update", "delete"]


def grants():
    """One grant of each action, as it lies in storage: its extra, and the generation that it seals."""
    cases = []
    for number, action in enumerate(ACTIONS):
        namespace, session = SESSIONS[number]
        extra = session_tag(INDEX_KEY, namespace, session) + action.encode()
        changed = {"namespace": namespace, "extra": extra.hex()}
        sealed = seal(case("grant", "grant", GENERATIONS[number % 2][0][0], number=number, **changed))
        cases.append(
            {
                "index_key": INDEX_KEY.hex(),
                "session": session,
                "action": action,
                "record": sealed,
            }
        )
    return cases


NEVER = None


def case(name, kind, plaintext, *, number, **changed):
    """A record that differs from its neighbours in every input."""
    return {
        "name": name,
        "token": TOKENS[number % 2],
        "namespace": "default",
        "kind": kind,
        "extra": "",
        "data_key": DATA_KEYS[number % 2].hex(),
        "epoch": 29399040 + number,
        "generation": number,
        "tombstone": False,
        "created_at": 1763942400000 + number,
        "expires_at": 1763942400000 + 3600000 + number,
        "put_id": bytes(range(0x10 + number, 0x20 + number)).hex(),
        "nonce": bytes(range(0xC0 + number, 0xCC + number)).hex(),
        "plaintext": plaintext.hex(),
    } | changed


def records():
    most = {"created_at": 2**64 - 1, "expires_at": 2**64 - 1, "epoch": 2**32 - 1}
    cases = [
        case("value, expiring", "value", b"4111 1111 1111 1111", number=0),
        case("value, never expiring", "value", b"123-45-6789", number=1, expires_at=NEVER),
        case("value, empty", "value", b"", number=2),
        case("value, exactly one block", "value", b"0123456789abcdef", number=3),
        case("value, many blocks and a rest", "value", bytes(range(251)) * 17, number=4),
        case("value, 63-character namespace", "value", b"v", number=5, namespace=LONGEST_NAMESPACE),
        case("value, tombstone", "value", b"", number=6, tombstone=True),
        case("metadata", "metadata", b'{"field":"ssn"}', number=7, expires_at=NEVER),
        case("metadata, tombstone", "metadata", b"", number=8, tombstone=True, expires_at=NEVER),
        case("grant", "grant", bytes(16), number=9, extra=GRANT_EXTRA.hex()),
        case("grant, tombstone", "grant", b"", number=10, extra=GRANT_EXTRA.hex(), tombstone=True),
        case("value, greatest numbers", "value", b"m", number=11, **most, generation=2**16 - 1),
    ]
    return [seal(each) for each in cases]


def main():
    vectors = {
        "locators": locators(),
        "record_keys": keys(),
        "session_tags": session_tags(),
        "session_objects": session_objects(),
        "grants": grants(),
        "records": records(),
    }
    text = json.dumps(vectors, indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        OUTPUT.write_text(text)
    elif OUTPUT.read_text() != text:
        sys.exit("vectors.json is not what vectors.py computes")


if __name__ == "__main__":
    main()
