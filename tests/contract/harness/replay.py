"""One case through one adapter."""

import json
import os
import threading
import time

from . import words
from .adapter import Broken
from .pattern import TOKEN, Mismatch, match, shortened
from .scripted import Scripted

# For what takes time to come about.
EVENTUALLY_SECONDS = 10
# Calls at once, where a case is about a time instead of a moment.
CALLERS = 8
# A value that is also what an error may say.
ORDINARY = {"not base64"}


class Replay:
    def __init__(self, case, adapter, sidecar, directory):
        self.case = case
        self.adapter = adapter
        self.sidecar = sidecar
        self.variables = words.Variables()
        # Where no sidecar is, and none ever was: each replay has its own.
        self.socket = sidecar.socket if sidecar else os.path.join(directory, f"{self.variables.known['unique']}.sock")
        self.server = None

    def run(self):
        """What is wrong, in words; nothing if all is well."""
        wrong = []
        try:
            self.open()
            for number, step in enumerate(self.case.body["steps"], 1):
                try:
                    self.step(step)
                except Mismatch as mismatch:
                    wrong.append(f"step {number}: {mismatch}")
                    break
        except Broken as broken:
            wrong.append(str(broken))
        finally:
            wrong += self.server.end() if self.server else []
        return wrong

    def open(self):
        if self.case.server == "scripted":
            self.server = Scripted(self.socket, self.case.body.get("script", []), self.variables)
            self.listen()
        options = self.variables.expand(self.case.body.get("options", {}))
        self.adapter.ask({"open": {"socket": self.socket, "options": options}})

    def listen(self):
        """Now, later or never, as the case says."""
        later = self.case.body.get("listens_after_ms", 0)
        if later == "never":
            return
        if later == 0:
            self.server.listen()
        else:
            threading.Timer(later / 1000, self.server.listen).start()

    def step(self, step):
        if "during" in step:
            self.during(step)
        elif "sidecar" in step:
            getattr(self.sidecar, step["sidecar"])()
        elif "together" in step:
            started = [(call, *self.start(call)) for call in step["together"]]
            for call, arguments, box in started:
                self.check(call, arguments, self.adapter.finish(box))
        else:
            self.eventually(step)

    def during(self, step):
        """Makes the call again and again, some at once, for as long as the sidecar is away and once more."""
        away = threading.Thread(target=getattr(self.sidecar, step["during"]))
        away.start()
        last = False
        while not last:
            last = not away.is_alive()
            for arguments, box in [self.start(step) for _ in range(CALLERS)]:
                self.check(step, arguments, self.adapter.finish(box))

    def eventually(self, step):
        until = time.monotonic() + EVENTUALLY_SECONDS
        while True:
            began = time.monotonic()
            arguments, box = self.start(step)
            reply = self.adapter.finish(box)
            try:
                self.check(step, arguments, reply)
                self.check_time(step, time.monotonic() - began)
                return
            except Mismatch:
                if not step.get("eventually") or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def start(self, call):
        arguments = words.repeated(self.variables.expand(call.get("arguments", {})))
        options = self.variables.expand(call.get("options", {}))
        return arguments, self.adapter.start({"call": call["call"], "arguments": arguments, "options": options})

    def check(self, call, arguments, reply):
        expect = self.variables.expand(call["expect"])
        wanted, other = ("error", "ok") if "error" in expect else ("ok", "error")
        if wanted not in reply:
            raise Mismatch(f"{other} {shortened(reply.get(other))} instead of {wanted} {shortened(expect[wanted])}")
        match(expect[wanted], reply[wanted], exact=expect.get("exact", False), captured=self.variables.known)
        check_print(arguments, reply)
        for name, pointer in call.get("capture", {}).items():
            try:
                self.variables.known[name] = words.pointed(reply["ok"], pointer)
            except (KeyError, IndexError):
                raise Mismatch(f"nothing to capture at {pointer}") from None

    def check_time(self, step, seconds):
        most = step.get("within_ms")
        if most is not None and seconds * 1000 > most:
            raise Mismatch(f"it took {seconds * 1000:.0f} ms")


def texts_at(value, name):
    """Every text that is a member of that name, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from texts_at(item, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, str):
                yield inner
            else:
                yield from texts_at(inner, name)


def check_print(arguments, reply):
    """Whatever a call comes to, printing it shows neither tokens nor values."""
    printed = reply.get("printed")
    if not isinstance(printed, str) or printed == "":
        raise Mismatch("the adapter does not say how it prints")
    if TOKEN.search(printed):
        raise Mismatch("printing it shows a token")
    values = {*texts_at(arguments, "value"), *texts_at(reply.get("ok"), "value")}
    telling = [value for value in values if len(value) > 5 and value not in ORDINARY]
    if any(value in printed for value in telling):
        raise Mismatch("printing it shows a value")
    if "error" in reply and any(value in json.dumps(reply["error"]) for value in telling):
        raise Mismatch("the error holds a value")
