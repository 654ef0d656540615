from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lunasec import AsyncFallbackTo, AsyncLunaSec, FallbackTo, InvalidRequest, LunaSec, MaskWith, Retry
from toy import Function, answer, token, values


def client(**options: Any) -> LunaSec[Any]:
    return LunaSec(transport=Function(values).sync(), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"deadline": -1},
        {"deadline": float("nan")},
        {"deadline": float("inf")},
        {"deadline": True},
        {"deadline": "1"},
        {"connections": 0},
        {"pending_calls": 1.5},
        {"batch_items": 0},
        {"start_deadline": None},
        {"retry": {"attempts": 3}},
        {"on_unavailable": "masks"},
        {"on_unavailable": MaskWith(3)},  # type: ignore[arg-type]
        {"on_unavailable": FallbackTo("text")},  # type: ignore[arg-type]
        {"on_unavailable": AsyncFallbackTo(lambda *_: None)},  # type: ignore[arg-type, return-value]
        {"socket": "/" + "x" * 200},
        {"socket": ""},
        {"namespace": "a\r\nb"},
        {"jwt": " a"},
        {"purpose": "\ud800"},
    ],
)
def test_options_are_checked_where_they_are_said(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        client(**options)


@pytest.mark.parametrize("options", [{"attempts": 0}, {"pause": -1}, {"pause_most": "1"}, {"budget": -1}])
def test_so_are_those_of_retry(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        Retry(**options)


def test_options_that_there_are_not_are_refused_by_their_name() -> None:
    with pytest.raises(TypeError):
        client(deadline_ms=1)
    with pytest.raises(TypeError, match="write deadline"):
        client().detokenize(token(1), deadline_ms=100)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="of such a name"):
        client().detokenize(token(1), **{token(1): 100})
    with pytest.raises(TypeError, match="no option jwt"):
        client().with_options(jwt="a")  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        client().tokenize("v", expiresin="1h")  # type: ignore[call-arg]
    with pytest.raises(InvalidRequest, match="no Stop"):
        client().detokenize(token(1), stop=1)  # type: ignore[call-overload]


def test_a_text_is_no_list() -> None:
    for call in (client().detokenize_batch, client().delete, client().for_session("s").revoke):
        with pytest.raises(TypeError, match="takes a list"):
            call(token(1))
    with pytest.raises(TypeError, match="takes a list"):
        client().tokenize_batch("values")


def test_a_session_that_is_missing_by_mistake_is_refused() -> None:
    for session in ("", " a", None, "a\n", 3):
        with pytest.raises(InvalidRequest):
            client().for_session(session)  # type: ignore[arg-type]


def test_times_may_be_timedeltas() -> None:
    function = Function(lambda *_: answer({"token": token(1), "durability": "stored"}))
    lunasec = LunaSec(transport=function.sync(), deadline=timedelta(seconds=3))
    lunasec.tokenize("v", expires_in=timedelta(hours=2), deadline=timedelta(milliseconds=900))
    lunasec.tokenize("v", expires_in=timedelta(milliseconds=1500))
    assert [body["expires_in"] for _, body in function.asked] == ["7200s", "1500ms"]
    with pytest.raises(InvalidRequest):
        lunasec.tokenize("v", expires_in=timedelta(0))


def test_the_environment_says_where_the_socket_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNASEC_SOCKET", "/tmp/here.sock")
    assert LunaSec()._view.engine.socket == "/tmp/here.sock"
    assert AsyncLunaSec(socket="/tmp/there.sock")._view.engine.socket == "/tmp/there.sock"
    monkeypatch.setenv("LUNASEC_SOCKET", "")
    assert LunaSec()._view.engine.socket == "/run/lunasec/lunasec.sock"


def test_views_change_what_they_say_and_nothing_else() -> None:
    function = Function(values)
    lunasec = LunaSec(transport=function.sync(), namespace="shop", purpose="default")
    lunasec.with_options(purpose="refund").for_session("s", jwt="j").detokenize(token(1))
    lunasec.detokenize(token(1), namespace="other")
    lunasec.detokenize(token(1))
    said = [(h.get("lunasec-namespace"), h.get("lunasec-purpose"), h.get("lunasec-session")) for h in function.headers]
    assert said == [("shop", "refund", "s"), ("other", "default", None), ("shop", "default", None)]
    assert function.headers[0]["authorization"] == "Bearer j"
    assert "somebody" not in repr(lunasec.for_session("somebody")._view)
