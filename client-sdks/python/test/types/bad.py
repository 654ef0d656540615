"""What type checkers refuse: each line that says `refused`, and no other. Never run."""

from __future__ import annotations

from lunasec import AsyncFallbackTo, AsyncLunaSec, FallbackTo, LunaSec, Token, Unavailable, Value


async def somebody(token: Token, error: Unavailable) -> int:
    return 1


def threads(fails: LunaSec[Value]) -> None:
    masks = fails.with_options(on_unavailable="mask")
    masks.detokenize("t").value.reveal()  # refused
    fails.detokenize("t", on_unavailable="mask").value.reveal()  # refused
    for item in fails.detokenize_batch(["t"]):
        item.value.reveal()  # refused
    strict: LunaSec[Value] = masks  # refused
    strict.detokenize("t")
    fails.detokenize("t", on_unavailable="masks")  # refused
    fails.detokenize("t", on_unavailable=AsyncFallbackTo(somebody))  # refused
    fails.detokenize("t", deadline_ms=1)  # refused
    fails.tokenize(42)  # refused
    fails.detokenize(b"t")  # refused
    fails.for_session("s").grant(["t"], actions=["everything"])  # refused
    LunaSec(on_unavailable=FallbackTo("text"))  # refused
    text: str = fails.tokenize("v").token  # refused
    print(text)


async def tasks(fails: AsyncLunaSec[Value]) -> None:
    (await fails.detokenize("t", on_unavailable="mask")).value.reveal()  # refused
    await fails.detokenize("t", stop=None)  # refused
    fails.detokenize("t").value  # refused  # noqa: B018
