"""Pods come and go while they work: rollouts, drained nodes, Jobs."""

from __future__ import annotations

import json
import subprocess
import threading

from cluster.application import ask, deployment, job, pod, pods_of
from cluster.environment import CREDENTIALS, SHOP
from cluster.kubectl import Json, apply, delete, get, kubectl, listed, rolled_out, until, wait

from . import Pods

PATCH = json.dumps(CREDENTIALS)
REPLICAS = 2
CALLERS = "4"
#: What a caller has done before anything is taken away from it.
UNDER_WAY = 20


class Followed:
    """What a pod's application says, to its end."""

    def __init__(self, name: str) -> None:
        self.lines: list[Json] = []
        self._process = subprocess.Popen(
            ["kubectl", "logs", "-f", name, "-c", "app", "-n", SHOP], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def ended(self) -> list[Json]:
        self._reader.join(timeout=120)
        assert not self._reader.is_alive(), "its log has no end"
        self._process.wait(timeout=10)
        return self.lines


class ALoadedDeployment(Pods):
    def setUp(self) -> None:
        apply(deployment("busy", SHOP, pod("load", CALLERS, json_patch=PATCH), REPLICAS))
        self.addCleanup(delete, "deployment", "busy", SHOP)
        rolled_out("deployment/busy", SHOP)
        self.followed: dict[str, Followed] = {}
        self.follow()

    def follow(self) -> None:
        for name in pods_of("busy", SHOP):
            self.followed.setdefault(name, Followed(name))

    def test_loses_no_call_and_no_token_in_a_rolling_restart(self) -> None:
        self.under_way()
        kubectl("rollout", "restart", "deployment/busy", "-n", SHOP)
        rolled_out("deployment/busy", SHOP)
        self.nothing_was_lost()

    def test_loses_none_when_its_node_is_drained(self) -> None:
        self.under_way()
        (node,) = {each["spec"]["nodeName"] for each in listed("pods", SHOP, "app=busy")}
        self.addCleanup(kubectl, "uncordon", node)
        kubectl("drain", node, "--pod-selector=app=busy", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
        kubectl("uncordon", node)
        rolled_out("deployment/busy", SHOP)
        self.nothing_was_lost()

    def under_way(self) -> None:
        until("all pods work", lambda: all(len(each.lines) > UNDER_WAY for each in self.followed.values()))

    def nothing_was_lost(self) -> None:
        """Of those that ended and of those that took their place."""
        self.follow()
        self.assertEqual(len(self.followed), 2 * REPLICAS)
        self.under_way()
        kubectl("scale", "deployment/busy", "-n", SHOP, "--replicas=0")
        said = {name: each.ended() for name, each in self.followed.items()}
        for name, lines in said.items():
            self.assertEqual(lines[-1].get("failed"), 0, f"{name}: {[line for line in lines if 'error' in line][:3]}")
        tokens = {line["token"]: line["value"] for lines in said.values() for line in lines if "token" in line}
        self.assertGreater(len(tokens), 2 * REPLICAS * UNDER_WAY)
        reader = self.pod(SHOP, "reader")
        asked = list(tokens.items())
        for at in range(0, len(asked), 200):
            part = asked[at : at + 200]
            answers = ask(SHOP, reader, *({"call": "detokenize", "token": token} for token, _ in part))
            self.assertEqual([answer.get("value") for answer in answers], [value for _, value in part])


class AJob(Pods):
    def test_completes_although_its_sidecar_would_go_on(self) -> None:
        apply(job("import", SHOP, pod("once", "20", json_patch=PATCH)))
        self.addCleanup(delete, "job", "import", SHOP)
        wait("job/import", "condition=Complete", SHOP)
        (done,) = listed("pods", SHOP, "job-name=import")
        self.assertEqual(done["status"]["phase"], "Succeeded")
        (sidecar,) = done["status"]["initContainerStatuses"]
        self.assertEqual(sidecar["state"]["terminated"]["exitCode"], 0)
        self.assertEqual(sidecar["restartCount"], 0)


class ASweep(Pods):
    def test_of_the_bucket_completes(self) -> None:
        kubectl("create", "job", "sweep", "--from=cronjob/lunasec-sweep", "-n", SHOP)
        self.addCleanup(delete, "job", "sweep", SHOP)
        wait("job/sweep", "condition=Complete", SHOP)
        self.assertIn("removed", kubectl("logs", "job/sweep", "-n", SHOP))
