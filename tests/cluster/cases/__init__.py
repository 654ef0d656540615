"""The cases, one file for each thing that a platform engineer asks."""

from __future__ import annotations

import json
import unittest

from cluster.application import alone, pod, ready
from cluster.environment import CREDENTIALS
from cluster.kubectl import apply, delete


class Pods(unittest.TestCase):
    """Makes pods of the application, and removes them."""

    def pod(self, namespace: str, name: str, *command: str, uid: int = 10001, **annotations: str) -> str:
        annotations.setdefault("json_patch", json.dumps(CREDENTIALS))
        apply(alone(name, namespace, pod(*(command or ("hold",)), uid=uid, **annotations)))
        self.addCleanup(delete, "pod", name, namespace)
        ready(name, namespace)
        return name
