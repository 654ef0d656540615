"""What type checkers take. Never run."""

from __future__ import annotations

from typing_extensions import assert_type

from lunasec import (
    AsyncFallbackTo,
    AsyncLunaSec,
    AsyncLunaSecSession,
    Failed,
    Fallback,
    FallbackTo,
    LunaSec,
    LunaSecSession,
    Masked,
    MaskWith,
    Token,
    Unavailable,
    Value,
)


def someone(token: Token, error: Unavailable) -> int:
    return 1


async def somebody(token: Token, error: Unavailable) -> int:
    return 1


def threads() -> None:
    fails = LunaSec()
    assert_type(fails, LunaSec[Value])
    plain: LunaSec = fails
    assert_type(plain.detokenize("t"), Value)
    fails.detokenize("t").value.reveal()
    masks = LunaSec(on_unavailable="mask")
    assert_type(masks, LunaSec[Value | Masked])
    assert_type(masks.detokenize("t"), Value | Masked)
    assert_type(masks.detokenize("t", on_unavailable="fail"), Value)
    assert_type(fails.with_options(on_unavailable=MaskWith("n/a")).detokenize("t"), Value | Masked)
    falls = fails.with_options(on_unavailable=FallbackTo(someone), deadline=1)
    assert_type(falls.for_session("s"), LunaSecSession[Value | Fallback[int]])
    assert_type(falls.detokenize_batch(["t"]), list[Value | Fallback[int] | Failed])
    assert_type(falls.with_options(namespace="n"), LunaSec[Value | Fallback[int]])
    shown = masks.detokenize("t")
    print(shown.value.reveal() if shown.kind == "value" else shown.text)
    match fails.detokenize("t", on_unavailable=FallbackTo(lambda token, error: "someone")):
        case Value(value=value):
            value.reveal()
        case Fallback(value=text):
            assert_type(text, str)
    with masks.gather() as page:
        pending = page.detokenize("t")
    assert_type(pending.result(), Value | Masked)


async def tasks() -> None:
    fails = AsyncLunaSec()
    assert_type(await fails.detokenize("t"), Value)
    falls = AsyncLunaSec(on_unavailable=AsyncFallbackTo(somebody))
    assert_type(falls, AsyncLunaSec[Value | Fallback[int]])
    assert_type(falls.for_session("s"), AsyncLunaSecSession[Value | Fallback[int]])
    assert_type(await fails.detokenize("t", on_unavailable="mask"), Value | Masked)
    assert_type(await falls.detokenize("t", on_unavailable=FallbackTo(someone)), Value | Fallback[int])
