from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from lunasec import (
    AsyncFallbackTo,
    AsyncLunaSec,
    DeadlineExceeded,
    FallbackTo,
    GrantDenied,
    LunaSec,
    StorageUnavailable,
    Token,
    Unavailable,
)
from toy import Function, answer, problem, token

pytestmark = pytest.mark.anyio


def away() -> Function:
    return Function(lambda *_: problem("storage_unavailable", 503, True))


def test_a_fallback_is_given_the_token_and_the_error() -> None:
    def someone(asked: Token, error: Unavailable) -> str:
        return f"{asked.expose()[-1]} {error.code}"

    lunasec = LunaSec(transport=away().sync(), on_unavailable=FallbackTo(someone))
    shown = lunasec.detokenize(token(7))
    assert shown.kind == "fallback"
    assert (shown.value, shown.reason) == ("7 storage_unavailable", "storage_unavailable")
    assert "7 storage" not in repr(shown)
    assert len(away().asked) == 0


def test_one_attempt_is_made_where_a_policy_stands_in() -> None:
    function = away()
    LunaSec(transport=function.sync(), on_unavailable="mask").detokenize(token(1))
    assert len(function.asked) == 1


def test_what_a_fallback_raises_is_the_applications_own() -> None:
    def broken(*_: object) -> str:
        raise KeyError("mine")

    lunasec = LunaSec(transport=away().sync(), on_unavailable=FallbackTo(broken))
    with pytest.raises(KeyError):
        lunasec.detokenize(token(1))
    (item,) = lunasec.detokenize_batch([token(1)])
    assert item.kind == "failed"
    assert item.error.code == "storage_unavailable"
    assert isinstance(item.error.__cause__, KeyError)


def test_nothing_stands_in_for_a_no_or_a_write() -> None:
    lunasec = LunaSec(transport=Function(lambda *_: problem("grant_denied", 403)).sync(), on_unavailable="mask")
    with pytest.raises(GrantDenied):
        lunasec.detokenize(token(1))
    masks = LunaSec(transport=away().sync(), on_unavailable="mask")
    user = masks.for_session("s")
    for call in (lambda: user.tokenize("v"), lambda: user.verify([token(1)]), lambda: user.delete([token(1)])):
        with pytest.raises(StorageUnavailable):
            call()


async def test_a_fallback_may_be_awaited_in_time() -> None:
    async def someone(asked: Token, error: Unavailable) -> int:
        await asyncio.sleep(0)
        return 42

    lunasec = AsyncLunaSec(transport=away().aio(), on_unavailable=AsyncFallbackTo(someone))
    shown = await lunasec.detokenize(token(1))
    assert shown.kind == "fallback"
    assert shown.value + 1 == 43
    both = await lunasec.detokenize_batch([token(1), token(2)])
    assert [each.kind for each in both] == ["fallback", "fallback"]


async def test_one_that_takes_too_long_is_given_up() -> None:
    async def never(asked: Token, error: Unavailable) -> int:
        await asyncio.Event().wait()
        return 1

    lunasec = AsyncLunaSec(transport=away().aio(), on_unavailable=AsyncFallbackTo(never), deadline=0.02)
    with pytest.raises(DeadlineExceeded, match="storage_unavailable"):
        await lunasec.detokenize(token(1))
    (item,) = await lunasec.detokenize_batch([token(1)])
    assert item.kind == "failed"
    assert isinstance(item.error, DeadlineExceeded)


async def test_items_are_masked_each() -> None:
    items: list[dict[str, Any]] = [
        {"token": token(1), "value": "v", "encoding": "utf8"},
        {"token": token(2), "error": {"code": "keys_unavailable", "detail": "away", "retryable": True}},
        {"token": token(3), "error": {"code": "forbidden", "detail": "no", "retryable": False}},
    ]
    lunasec = AsyncLunaSec(transport=Function([answer({"items": items})]).aio(), on_unavailable="mask")
    found = await lunasec.detokenize_batch([token(1), token(2), token(3)])
    assert [each.kind for each in found] == ["value", "masked", "failed"]


async def test_tracebacks_of_the_async_client_show_nothing_either() -> None:
    lunasec = AsyncLunaSec(transport=Function(lambda *_: problem("not_found", 404)).aio())
    from lunasec import NotFound

    with pytest.raises(NotFound) as caught:
        await lunasec.for_session("somebodys").detokenize(token(1))
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    told.stack = traceback.StackSummary.from_list([f for f in told.stack if "/lunasec/" in f.filename])
    text = "".join(told.format())
    assert "aio.py" in text
    assert token(1) not in text
    assert "somebodys" not in text
