from __future__ import annotations

import inspect
import re

import pytest

import lunasec
from lunasec import LunaSec, LunaSecError, MaskWith, SidecarUnreachable, StorageUnavailable, Unavailable, errors
from toy import Function, answer, problem, token, values


def test_the_tree_is_drawn_as_it_is() -> None:
    assert errors.__doc__ is not None
    drawn = dict(re.findall(r"[├└]── (\w+) +(\w+)", errors.__doc__))
    kinds = {
        name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, LunaSecError)
    }
    assert set(drawn) == set(kinds) - {"LunaSecError"}
    for name, kind in kinds.items():
        if kind.CODE:
            assert drawn[name] == kind.CODE
        assert getattr(lunasec, name) is kind


@pytest.mark.parametrize("code", sorted(kind.CODE for kind in errors._OF_ANSWERS))
def test_each_code_is_a_class_of_its_own(code: str) -> None:
    client = LunaSec(transport=Function([problem(code, 418, retry_after_ms=1500)]).sync())
    with pytest.raises(LunaSecError) as caught:
        client.detokenize(token(1))
    error = caught.value
    assert code == type(error).CODE
    assert (error.code, error.detail, error.status, error.retry_after, error.request_id) == (
        code,
        "words",
        418,
        1.5,
        "r1",
    )


def test_codes_of_a_newer_sidecar_are_errors_that_no_policy_hides() -> None:
    client = LunaSec(transport=Function(lambda *_: problem("paused_by_law", 403, True)).sync(), on_unavailable="mask")
    with pytest.raises(LunaSecError) as caught:
        client.detokenize(token(1))
    assert type(caught.value) is LunaSecError
    assert caught.value.code == "paused_by_law"


def test_a_new_code_that_says_that_nobody_can_answer_is_unavailable() -> None:
    client = LunaSec(
        transport=Function(lambda *_: problem("moon_away", 503, True)).sync(), on_unavailable=MaskWith("n/a")
    )
    shown = client.detokenize(token(1))
    assert shown.kind == "masked"
    assert (shown.text, shown.reason, type(shown.error)) == ("n/a", "moon_away", Unavailable)


def test_members_of_a_newer_sidecar_are_let_pass() -> None:
    said = {"value": "v", "encoding": "utf8", "newer": {"a": [1]}}
    client = LunaSec(transport=Function([answer(said, lunasec_newer="x")]).sync())
    assert client.detokenize(token(1)).value.reveal() == "v"
    item = {"token": token(1), "valid": True, "expires_at": "2030-01-02T03:04:05.123456789+01:00", "newer": 1}
    client = LunaSec(transport=Function([answer({"items": [item], "newer": 1})]).sync())
    (valid,) = client.for_session("s").verify([token(1)])
    assert valid.kind == "valid"
    assert valid.expires_at.isoformat() == "2030-01-02T02:04:05.123456+00:00"


def test_an_older_sidecar_may_lack_what_is_optional() -> None:
    said = {"metadata": {}, "version": 0, "created_at": "2026-01-02T03:04:05Z", "expires_at": None}
    client = LunaSec(transport=Function([answer(said)]).sync())
    metadata = client.get_metadata(token(1))
    assert (metadata.expires_at, metadata.degraded, metadata.age) == (None, None, None)
    client = LunaSec(transport=Function([answer({"durability": "stored"})]).sync())
    assert client.for_session("s").revoke_all().revoked is None
    client = LunaSec(transport=Function([answer({"version": "0.0.1", "dependencies": {}})]).sync())
    assert client.status().version == "0.0.1"
    degraded = {"value": "v", "encoding": "utf8"}
    client = LunaSec(transport=Function([answer(degraded, lunasec_degraded="storage")]).sync())
    assert client.detokenize(token(1)).degraded == "storage"


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": "v", "encoding": "utf8", "n": NaN}',
        b'{"value": "\xff", "encoding": "utf8"}',
        b"[" * 100_000,
        b'{"version": true, "metadata": {}, "created_at": "2026-01-02T03:04:05Z"}',
    ],
)
def test_what_pythons_parser_would_take_is_refused(body: bytes) -> None:
    import httpx

    said = httpx.Response(200, headers={"content-type": "application/json"}, content=body)
    with pytest.raises(lunasec.ProtocolError):
        LunaSec(transport=Function([said]).sync()).get_metadata(token(1))


def test_a_closed_client_says_so_and_nothing_stands_in_for_it() -> None:
    client = LunaSec(transport=Function(values).sync(), on_unavailable="mask")
    client.close()
    with pytest.raises(SidecarUnreachable, match="closed") as caught:
        client.detokenize(token(1))
    assert caught.value.closed
    client._pilot.renew()
    with pytest.raises(SidecarUnreachable, match="closed"):
        client.detokenize(token(1))


def test_repr_names_class_and_code() -> None:
    assert repr(StorageUnavailable("away", retryable=True)) == (
        "StorageUnavailable(code='storage_unavailable', detail='away', retryable=True)"
    )
