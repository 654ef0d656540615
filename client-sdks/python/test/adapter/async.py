"""The adapter with AsyncLunaSec: each call is a task."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from lunasec import AsyncLunaSec, LunaSecError

from .calls import CALLS
from .words import Json, client_options, error_of, printed, wire


class Adapter:
    client: AsyncLunaSec[Any] | None = None

    def __init__(self) -> None:
        self.tasks: dict[int, asyncio.Task[Json]] = {}

    async def answer(self, message: Json) -> Json:
        if "open" in message:
            return await self.open(message["open"])
        if "abort" in message:
            self.tasks[message["abort"]].cancel()
            return {"ok": {}}
        if message.get("call") not in CALLS or self.client is None:
            return {"missing": message.get("call", "open")}
        self.tasks[message["id"]] = task = asyncio.create_task(self.call(message))
        try:
            return await task
        except asyncio.CancelledError as error:
            return {"error": {"class": "Aborted"}, "printed": printed(error)}

    async def open(self, given: Json) -> Json:
        if self.client is not None:
            await self.client.aclose()
        self.client = AsyncLunaSec(socket=given["socket"], **client_options(given["options"]))
        return {"ok": {}, "printed": repr(self.client)}

    async def call(self, message: Json) -> Json:
        try:
            call, given, options = CALLS[message["call"]](
                self.client, message.get("arguments", {}), message.get("options", {})
            )
            result = await call(*given, **options)
            return {"ok": wire(result), "printed": printed(result)}
        except LunaSecError as error:
            return {"error": error_of(error), "printed": printed(error)}
        except Exception as error:
            return {"error": {"class": type(error).__name__, "detail": str(error)}, "printed": printed(error)}


async def main() -> None:
    adapter = Adapter()
    answering: set[asyncio.Task[None]] = set()
    reader = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def reply(message: Json) -> None:
        said = await adapter.answer(message)
        print(json.dumps({"id": message["id"], **said}), flush=True)

    while line := await reader.readline():
        task = asyncio.create_task(reply(json.loads(line)))
        answering.add(task)
        task.add_done_callback(answering.discard)
    if adapter.client is not None:
        await adapter.client.aclose()


asyncio.run(main())
