"""The adapter with LunaSec: each call is a thread."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

from lunasec import LunaSec, LunaSecError, Stop, Stopped

from .calls import CALLS
from .words import Json, client_options, error_of, printed, wire


class Adapter:
    client: LunaSec[Any] | None = None

    def __init__(self) -> None:
        self.stops: dict[int, Stop] = {}
        self.lock = threading.Lock()

    def take(self, message: Json) -> None:
        if "open" in message:
            self.reply(message, self.open(message["open"]))
        elif "abort" in message:
            self.stops[message["abort"]].set()
            self.reply(message, {"ok": {}})
        elif message.get("call") not in CALLS or self.client is None:
            self.reply(message, {"missing": message.get("call", "open")})
        else:
            self.stops[message["id"]] = Stop()
            threading.Thread(target=lambda: self.reply(message, self.call(message)), daemon=True).start()

    def reply(self, message: Json, said: Json) -> None:
        with self.lock:
            print(json.dumps({"id": message["id"], **said}), flush=True)

    def open(self, given: Json) -> Json:
        if self.client is not None:
            self.client.close()
        self.client = LunaSec(socket=given["socket"], **client_options(given["options"]))
        return {"ok": {}, "printed": repr(self.client)}

    def call(self, message: Json) -> Json:
        options: Json = dict(message.get("options", {}))
        if message.get("abortable"):
            options["stop"] = self.stops[message["id"]]
        try:
            call, given, more = CALLS[message["call"]](self.client, message.get("arguments", {}), options)
            result = call(*given, **more)
            return {"ok": wire(result), "printed": printed(result)}
        except Stopped as error:
            return {"error": {"class": "Aborted"}, "printed": printed(error)}
        except LunaSecError as error:
            return {"error": error_of(error), "printed": printed(error)}
        except Exception as error:
            return {"error": {"class": type(error).__name__, "detail": str(error)}, "printed": printed(error)}


def main() -> None:
    adapter = Adapter()
    for line in sys.stdin:
        adapter.take(json.loads(line))
    if adapter.client is not None:
        adapter.client.close()


main()
