"""One case through one adapter."""

import json
import os
import re
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
# What is a value in a body that cannot be read: a number as cards have them, or a part of it.
NUMBER = re.compile(r"\d{4}(?: \d{4})*")


class Replay:
    def __init__(self, case, adapter, sidecar, directory, wire):
        self.wire = wire
        self.case = wire.counterpart(case.body)
        self.scripted = case.server == "scripted"
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
            for number, step in enumerate(self.case["steps"], 1):
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
        if self.scripted:
            self.server = Scripted(self.socket, self.case.get("script", []), self.variables, self.wire)
            self.listen()
        options = self.variables.expand(self.case.get("options", {}))
        self.adapter.ask({"open": {"socket": self.socket, "options": options}})

    def listen(self):
        """Now, later or never, as the case says."""
        later = self.case.get("listens_after_ms", 0)
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
            self.together(step["together"])
        else:
            self.eventually(step)

    def together(self, calls):
        """Those that fail are looked at first: the answer to the others may wait for that."""
        started = self.start(*calls)
        for call, _, box in started:
            if call.get("given_up"):
                self.server.came.wait(EVENTUALLY_SECONDS)
                self.adapter.ask({"abort": box.call})
        for call, arguments, box in sorted(started, key=lambda each: "error" not in each[0]["expect"]):
            reply = self.adapter.finish(box)
            if self.server:
                self.server.ended.set()
            self.check(call, arguments, reply)

    def during(self, step):
        """Makes the call again and again, some at once, for as long as the sidecar is away and once more."""
        away = threading.Thread(target=getattr(self.sidecar, step["during"]))
        away.start()
        last = False
        while not last:
            last = not away.is_alive()
            for _, arguments, box in self.start(*[step] * CALLERS):
                self.check(step, arguments, self.adapter.finish(box))

    def eventually(self, step):
        until = time.monotonic() + EVENTUALLY_SECONDS
        while True:
            began = time.monotonic()
            ((_, arguments, box),) = self.start(step)
            reply = self.adapter.finish(box)
            try:
                self.check(step, arguments, reply)
                self.check_time(step, time.monotonic() - began)
                return
            except Mismatch:
                if not step.get("eventually") or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def start(self, *calls):
        """Makes calls at once; gives each with its arguments and where its reply will be."""
        messages = [self.message(call) for call in calls]
        boxes = self.adapter.start(*messages)
        return [(call, message["arguments"], box) for call, message, box in zip(calls, messages, boxes)]

    def message(self, call):
        arguments = words.repeated(self.variables.expand(call.get("arguments", {})))
        options = self.variables.expand(call.get("options", {}))
        message = {"call": call["call"], "arguments": arguments, "options": options}
        return {**message, "abortable": True} if call.get("given_up") else message

    def check(self, call, arguments, reply):
        expect = self.wire.expected(self.variables.expand(call["expect"]))
        wanted, other = ("error", "ok") if "error" in expect else ("ok", "error")
        if wanted not in reply:
            raise Mismatch(f"{other} {shortened(reply.get(other))} instead of {wanted} {shortened(expect[wanted])}")
        match(expect[wanted], reply[wanted], exact=expect.get("exact", False), captured=self.variables.known)
        check_print({*texts_at(arguments, "value"), *texts_at(reply.get("ok"), "value"), *self.values_sent()}, reply)
        for name, pointer in call.get("capture", {}).items():
            try:
                self.variables.known[name] = words.pointed(reply["ok"], pointer)
            except (KeyError, IndexError):
                raise Mismatch(f"nothing to capture at {pointer}") from None

    def values_sent(self):
        """The values in what the server sends, of bodies that are JSON and of those that are not."""
        for exchange in exchanges(self.case.get("script", [])):
            exchange = self.wire.counterpart(exchange)
            answer = exchange.get("answer", {})
            yield from texts_at(self.variables.known_in(answer.get("body")), "value")
            for text in (answer.get("body_text", ""), exchange.get("bytes", "")):
                text = self.variables.known_in(text)
                yield text.rpartition("\r\n\r\n")[2]
                yield from NUMBER.findall(text)

    def check_time(self, step, seconds):
        most = step.get("within_ms")
        if most is not None and seconds * 1000 > most:
            raise Mismatch(f"it took {seconds * 1000:.0f} ms")


def exchanges(script):
    return [each for entry in script for each in entry.get("in_any_order", [entry])]


def texts_at(value, name):
    """Every text or number that is a member of that name, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from texts_at(item, name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, (str, int)):
                yield str(inner)
            else:
                yield from texts_at(inner, name)


def errors_in(value):
    """The errors of a call and of its items."""
    if isinstance(value, list):
        for item in value:
            yield from errors_in(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == "error":
                yield inner
            else:
                yield from errors_in(inner)


def check_print(values, reply):
    """Whatever a call comes to, printing it shows neither tokens nor values, and nor do its errors."""
    printed = reply.get("printed")
    if not isinstance(printed, str) or printed == "":
        raise Mismatch("the adapter does not say how it prints")
    telling = [value for value in values if len(value) > 5 and value not in ORDINARY]
    errors = json.dumps(list(errors_in(reply)), ensure_ascii=False)
    for what, text in (("printing it shows", printed), ("an error holds", errors)):
        if TOKEN.search(text):
            raise Mismatch(f"{what} a token")
        if any(value in text for value in telling):
            raise Mismatch(f"{what} a value")
