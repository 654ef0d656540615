"""The cases, one file for each thing that a platform engineer asks."""

from __future__ import annotations

import json
import threading
import unittest

from cluster.application import alone, pod, ready
from cluster.environment import CREDENTIALS, SHOP
from cluster.kubectl import Refused, apply, delete, kubectl


class Pods(unittest.TestCase):
    """Makes pods of the application, and removes them."""

    def pod(self, namespace: str, name: str, *command: str, uid: int = 10001, **annotations: str) -> str:
        annotations.setdefault("json_patch", json.dumps(CREDENTIALS))
        apply(alone(name, namespace, pod(*(command or ("hold",)), uid=uid, **annotations)))
        self.addCleanup(delete, "pod", name, namespace)
        ready(name, namespace)
        return name


class Asking:
    """Pods are made, as a rehearsal, for as long as it lasts; what was refused is kept."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self.asked = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask_on(self) -> None:
        object_ = json.dumps(alone("asked", SHOP, pod("hold")))
        while not self._stop.is_set():
            try:
                kubectl("create", "--dry-run=server", "-f", "-", stdin=object_)
                self.asked += 1
            except Refused as said:
                self.failed.append(str(said))
