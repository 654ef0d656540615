"""Calls of one turn of the event loop, and calls that threads gather."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lunasec import (
    AsyncLunaSec,
    DeadlineExceeded,
    InvalidRequest,
    LunaSec,
    LunaSecError,
    NotFound,
    PayloadTooLarge,
    Plaintext,
    Retry,
)
from lunasec._telemetry import Telemetry
from toy import Function, Json, answer, problem, token, values

pytestmark = pytest.mark.anyio


def client(function: Function, **options: Any) -> AsyncLunaSec[Any]:
    return AsyncLunaSec(transport=function.aio(), retry=Retry(pause=0.001, pause_most=0.001), **options)


async def test_calls_of_one_turn_share_a_request_and_each_gets_its_own() -> None:
    function = Function(values)
    lunasec = client(function)
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(100)))
    assert [each.value.reveal() for each in found] == [f"the value of {token(n)}" for n in range(100)]
    assert [path for path, _ in function.asked] == ["/v1/detokenize:batch"]


async def test_a_call_that_is_alone_is_sent_as_it_is() -> None:
    function = Function(values)
    await client(function).detokenize(token(1))
    assert function.asked == [("/v1/detokenize", {"token": token(1)})]


async def test_the_same_token_of_several_is_asked_for_once() -> None:
    function = Function(values)
    lunasec = client(function)
    found = await asyncio.gather(*(lunasec.detokenize(token(n % 2)) for n in range(10)))
    assert [each.value.reveal() for each in found] == [f"the value of {token(n % 2)}" for n in range(10)]
    assert function.asked == [("/v1/detokenize:batch", {"tokens": [token(0), token(1)]})]


async def test_a_request_has_at_most_1000_items() -> None:
    function = Function(values)
    lunasec = client(function)
    await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(2_500)))
    assert sorted(len(body["tokens"]) for _, body in function.asked) == [500, 1_000, 1_000]


async def test_a_request_has_at_most_16_mib() -> None:
    def tokens(path: str, body: Json) -> Any:
        if path == "/v1/tokenize":
            return answer({"token": token(0), "durability": "stored"})
        return answer({"items": [{"token": token(n), "durability": "stored"} for n, _ in enumerate(body["items"])]})

    function = Function(tokens)
    value = "x" * 1024 * 1024
    await asyncio.gather(*(client_.tokenize(value) for client_ in [client(function)] for _ in range(20)))
    assert sorted(len(body["items"]) for _, body in function.asked) == [5, 15]
    assert len({h["idempotency-key"] for h in function.headers}) == 2


async def test_batch_items_1_makes_each_call_a_request() -> None:
    function = Function(values)
    lunasec = client(function, batch_items=1)
    await asyncio.gather(*(lunasec.detokenize(token(1)) for _ in range(5)))
    assert [path for path, _ in function.asked] == ["/v1/detokenize"] * 5


async def test_what_says_otherwise_of_itself_shares_nothing() -> None:
    function = Function(values)
    lunasec = client(function)
    await asyncio.gather(
        lunasec.detokenize(token(1)),
        lunasec.for_session("a").detokenize(token(1)),
        lunasec.for_session("b").detokenize(token(1)),
        lunasec.detokenize(token(1), namespace="n"),
        lunasec.detokenize(token(1), on_unavailable="mask"),
    )
    assert len(function.asked) == 5
    assert {h.get("lunasec-session") for h in function.headers} == {None, "a", "b"}


async def test_an_item_fails_by_itself() -> None:
    def some(path: str, body: Json) -> Any:
        bad = {"error": {"code": "not_found", "detail": "no", "retryable": False}}
        return answer(
            {
                "items": [
                    {"token": t, **(bad if t == token(1) else {"value": "v", "encoding": "utf8"})}
                    for t in body["tokens"]
                ]
            }
        )

    lunasec = client(Function(some))
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(3)), return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["Value", "NotFound", "Value"]


async def test_whose_fault_a_refusal_of_the_whole_was_is_found() -> None:
    def picky(path: str, body: Json) -> Any:
        tokens = body.get("tokens", [body.get("token")])
        return problem("invalid_request", 400) if token(77) in tokens else values(path, body)

    function = Function(picky)
    lunasec = client(function)
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(200)), return_exceptions=True)
    assert [n for n, each in enumerate(found) if isinstance(each, LunaSecError)] == [77]
    assert len(function.asked) <= 25


async def test_a_refusal_of_all_is_not_sought_for_ever() -> None:
    function = Function(lambda *_: problem("invalid_request", 400))
    lunasec = client(function)
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(200)), return_exceptions=True)
    assert all(isinstance(each, InvalidRequest) for each in found)
    assert len(function.asked) <= 25


async def test_who_found_no_room_in_an_answer_goes_again() -> None:
    def crowded(path: str, body: Json) -> Any:
        if path == "/v1/detokenize":
            return values(path, body)
        full = {"error": {"code": "payload_too_large", "detail": "full", "retryable": False}}
        said = values(path, body)
        import json

        items = json.loads(said.content)["items"]
        return answer({"items": items[:2] + [{"token": each["token"], **full} for each in items[2:]]})

    lunasec = client(Function(crowded))
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(7)))
    assert [each.value.reveal() for each in found] == [f"the value of {token(n)}" for n in range(7)]


async def test_only_what_may_succeed_later_is_sent_again() -> None:
    later = {"error": {"code": "storage_unavailable", "detail": "away", "retryable": True}}
    never = {"error": {"code": "not_found", "detail": "no", "retryable": False}}
    good = {"value": "v", "encoding": "utf8"}
    function = Function(
        [
            answer(
                {"items": [{"token": token(0), **good}, {"token": token(1), **later}, {"token": token(2), **never}]}
            ),
            answer({"items": [{"token": token(1), **good}]}),
        ]
    )
    lunasec = client(function)
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(3)), return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["Value", "Value", "NotFound"]
    assert function.asked[1] == ("/v1/detokenize:batch", {"tokens": [token(1)]})


async def test_who_is_answered_first_does_not_wait_for_who_is_tried_again() -> None:
    later = {"error": {"code": "storage_unavailable", "detail": "away", "retryable": True}}
    again = asyncio.Event()
    good = {"value": "v", "encoding": "utf8"}

    class Slow(Function):
        pass

    import httpx

    async def handle(request: httpx.Request) -> httpx.Response:
        import json

        tokens = json.loads(request.content)["tokens"]
        if len(tokens) == 2:
            return answer({"items": [{"token": token(0), **good}, {"token": token(1), **later}]})
        await again.wait()
        return answer({"items": [{"token": token(1), **good}]})

    lunasec: AsyncLunaSec[Any] = AsyncLunaSec(transport=httpx.MockTransport(handle), retry=Retry(pause=0))
    first, second = (asyncio.ensure_future(lunasec.detokenize(token(n))) for n in range(2))
    assert (await first).value.reveal() == "v"
    assert not second.done()
    again.set()
    assert (await second).value.reveal() == "v"


async def test_a_defect_ends_a_call_at_once_and_not_at_its_deadline() -> None:
    class Broken(Telemetry):
        def start(self, *_: Any) -> Any:
            raise KeyError("defect")

    lunasec = client(Function(values))
    lunasec._view.engine.telemetry = Broken()
    with pytest.raises(KeyError, match="defect"):
        await asyncio.wait_for(lunasec.detokenize(token(1)), 5)


async def test_too_many_calls_are_refused_and_places_come_free_again() -> None:
    lunasec = client(Function(values), pending_calls=3)
    found = await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(5)), return_exceptions=True)
    assert [getattr(each, "code", "ok") for each in found] == ["ok", "ok", "ok", "overloaded", "overloaded"]
    await asyncio.gather(*(lunasec.detokenize(token(n)) for n in range(3)))
    user = client(Function(values), pending_calls=10).for_session("s")
    found = await asyncio.gather(*(user.detokenize(token(n)) for n in range(6)), return_exceptions=True)
    assert [getattr(each, "code", "ok") for each in found] == ["ok"] * 5 + ["overloaded"]


def test_threads_gather_calls_and_each_gets_its_own() -> None:
    def some(path: str, body: Json) -> Any:
        if "items" in body:
            return answer({"items": [{"token": token(9), "durability": "stored"} for _ in body["items"]]})
        bad = {"error": {"code": "not_found", "detail": "no", "retryable": False}}
        good = {"value": "v", "encoding": "utf8"}
        return answer({"items": [{"token": t, **(bad if t == token(1) else good)} for t in body["tokens"]]})

    function = Function(some)
    lunasec = LunaSec(transport=function.sync())
    with lunasec.gather() as page:
        reads = [page.detokenize(token(n)) for n in range(3)]
        writes = [page.tokenize(Plaintext("a")), page.tokenize("b")]
        with pytest.raises(RuntimeError, match="end of its `with`"):
            reads[0].result()
    assert reads[0].result().value.reveal() == "v"
    with pytest.raises(NotFound):
        reads[1].result()
    assert writes[1].result().token.expose() == token(9)
    assert sorted(path for path, _ in function.asked) == ["/v1/detokenize:batch", "/v1/tokenize:batch"]


def test_gathering_that_ends_in_an_error_sends_nothing() -> None:
    function = Function(values)
    with pytest.raises(ZeroDivisionError), LunaSec(transport=function.sync()).gather() as page:
        page.detokenize(token(1))
        _ = 1 / 0
    assert function.asked == []


def test_gathered_calls_are_masked_each_and_refused_where_they_are_wrong() -> None:
    masked = LunaSec(
        transport=Function(lambda *_: problem("storage_unavailable", 503, True)).sync(), on_unavailable="mask"
    )
    with masked.gather() as page:
        both = [page.detokenize(token(n)) for n in range(2)]
        with pytest.raises(InvalidRequest):
            page.detokenize(token(1), deadline=-1)
    assert [each.result().kind for each in both] == ["masked", "masked"]


def test_what_is_too_large_for_a_list_says_so() -> None:
    lunasec = LunaSec(transport=Function([problem("payload_too_large", 413)]).sync())
    with pytest.raises(PayloadTooLarge):
        lunasec.detokenize_batch([token(1)])


async def test_deadlines_are_each_callers_own() -> None:
    import httpx

    gate = asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        await gate.wait()
        import json

        return values(request.url.path, json.loads(request.content))

    lunasec: AsyncLunaSec[Any] = AsyncLunaSec(transport=httpx.MockTransport(handle))
    patient = asyncio.ensure_future(lunasec.detokenize(token(1)))
    hasty = asyncio.ensure_future(lunasec.detokenize(token(2), deadline=0.02))
    with pytest.raises(DeadlineExceeded, match="within 20 ms"):
        await hasty
    gate.set()
    assert (await patient).value.reveal() == f"the value of {token(1)}"
