"""kubectl, as a person would use it. What it answers is JSON wherever it can be."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

SECONDS = 180


class Refused(Exception):
    """What kubectl said instead of doing it."""


def kubectl(*arguments: str, stdin: str | None = None, seconds: float = SECONDS) -> str:
    done = subprocess.run(
        ["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise Refused(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def apply(*objects: Json) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def get(kind: str, name: str, namespace: str) -> Json:
    return json.loads(kubectl("get", kind, name, "-n", namespace, "-o", "json"))


def listed(kind: str, namespace: str, selector: str = "") -> list[Json]:
    chosen = ["-l", selector] if selector else []
    return json.loads(kubectl("get", kind, "-n", namespace, "-o", "json", *chosen))["items"]


def delete(kind: str, name: str, namespace: str) -> None:
    kubectl("delete", kind, name, "-n", namespace, "--ignore-not-found", "--wait=true")


def wait(what: str, condition: str, namespace: str, seconds: int = SECONDS) -> None:
    kubectl("wait", what, f"--for={condition}", "-n", namespace, f"--timeout={seconds}s", seconds=seconds + 10)


def scale(deployment: str, namespace: str, replicas: int) -> None:
    """Also until its last pod is gone, where there are to be none."""
    kubectl("scale", f"deployment/{deployment}", "-n", namespace, f"--replicas={replicas}")
    if replicas:
        rolled_out(f"deployment/{deployment}", namespace)
    else:
        selector = get("deployment", deployment, namespace)["spec"]["selector"]["matchLabels"]
        chosen = ",".join(f"{name}={value}" for name, value in selector.items())
        until(f"{deployment} is gone", lambda: not listed("pods", namespace, chosen))


def rolled_out(what: str, namespace: str, seconds: int = SECONDS) -> None:
    kubectl("rollout", "status", what, "-n", namespace, f"--timeout={seconds}s", seconds=seconds + 10)


def until(what: str, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """What `holds` gives, once it is something. The API server has no event for much of what tests wait for."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise AssertionError(f"in {seconds:.0f} s it did not come true that {what}")
        time.sleep(0.2)
    return found
