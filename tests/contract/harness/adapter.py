"""One SDK's adapter: a process that makes calls for us, told by lines of JSON."""

import contextlib
import json
import queue
import subprocess
import threading


class Broken(Exception):
    """The adapter does not do what the protocol says."""


class Adapter:
    def __init__(self, command, patience=30):
        self.patience = patience
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.next_id = 0
        self.waiting = {}
        self.lock = threading.Lock()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for line in self.process.stdout:
            try:
                reply = json.loads(line)
                with self.lock:
                    box = self.waiting.pop(reply["id"])
            except (ValueError, KeyError, TypeError):
                self.process.kill()
                break
            box.put(reply)
        with self.lock:
            boxes, self.waiting = list(self.waiting.values()), {}
        for box in boxes:
            box.put({"gone": True})

    def start(self, *messages):
        """Sends messages in one piece; gives where the reply to each will be."""
        boxes, lines = [], ""
        with self.lock:
            for message in messages:
                self.next_id += 1
                box = self.waiting[self.next_id] = queue.Queue()
                box.call = self.next_id
                boxes.append(box)
                lines += json.dumps({"id": self.next_id, **message}) + "\n"
        try:
            self.process.stdin.write(lines)
            self.process.stdin.flush()
        except OSError:
            raise Broken("the adapter has ended") from None
        return boxes

    def finish(self, box):
        try:
            reply = box.get(timeout=self.patience)
        except queue.Empty:
            raise Broken(f"the adapter gave no reply within {self.patience} s") from None
        if "gone" in reply:
            raise Broken("the adapter has ended, or wrote what is no reply")
        if reply.get("missing"):
            raise Broken(f"the adapter lacks it: {reply['missing']}")
        return reply

    def ask(self, message):
        return self.finish(*self.start(message))

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join()
        self.process.stdout.close()
