"""The injector is away, comes back, and changes its certificates."""

from __future__ import annotations

import json

from cluster.application import alone, deployment, pod, pods_of
from cluster.environment import CREDENTIALS, ELSEWHERE, NAMESPACE, SHOP, changed
from cluster.kubectl import Refused, apply, delete, get, kubectl, listed, rolled_out, scale, until

from . import Asking, Pods
from .test_pods import injector_metric

PATCH = json.dumps(CREDENTIALS)
INJECTOR = "lunasec-injector"
SECRET = "lunasec-injector-tls"


class WhileTheInjectorIsAway(Pods):
    def setUp(self) -> None:
        scale(INJECTOR, NAMESPACE, 0)
        self.addCleanup(scale, INJECTOR, NAMESPACE, 2)

    def test_an_annotated_pod_of_an_opted_in_namespace_does_not_start_and_any_other_does(self) -> None:
        with self.assertRaises(Refused):
            apply(alone("held", SHOP, pod("hold")))
        template = pod("hold")
        template["metadata"]["annotations"] = {}
        apply(alone("plain", SHOP, template))
        delete("pod", "plain", SHOP)

    def test_what_was_missed_elsewhere_is_reported_and_repaired_if_told_to(self) -> None:
        apply(deployment("missed", ELSEWHERE, pod("hold", json_patch=PATCH)))
        self.addCleanup(delete, "deployment", "missed", ELSEWHERE)
        rolled_out("deployment/missed", ELSEWHERE)
        (missed,) = pods_of("missed", ELSEWHERE)
        self.assertNotIn("initContainers", get("pod", missed, ELSEWHERE)["spec"])
        scale(INJECTOR, NAMESPACE, 2)
        until("it is counted", lambda: 1.0 in injector_metric("lunasec_injector_missed_pods"))
        until("there is an event", lambda: events_of(missed, ELSEWHERE))
        self.assertEqual(pods_of("missed", ELSEWHERE), [missed], "nobody told it to restart pods")
        changed("--set", "reconciler.restart=true")
        self.addCleanup(changed, "--set", "reconciler.restart=false")
        until("it was made anew with a sidecar", lambda: sidecars("missed", ELSEWHERE) == ["lunasec"])


class TheCertificates(Pods):
    def test_are_renewed_without_a_pod_that_waits(self) -> None:
        changed("--set", "injector.certificateLifetime=2m", "--set", "injector.authorityLifetime=1h")
        self.addCleanup(changed, "--set", "injector.certificateLifetime=30d", "--set", "injector.authorityLifetime=365d")
        # What is there was made to last: it is thrown away, and what comes instead lives for two minutes.
        self.thrown_away()
        first = served()
        with Asking() as asking:
            until("another one is served", lambda: served() != first, seconds=200)
            second = served()
            until("and another", lambda: served() not in (first, second), seconds=200)
        self.assertEqual(asking.failed, [])
        self.assertGreater(asking.asked, 50)

    def test_that_somebody_has_thrown_away_are_made_anew(self) -> None:
        self.thrown_away()

    def thrown_away(self) -> None:
        before = bundles()
        kubectl("patch", "secret", SECRET, "-n", NAMESPACE, "--type=json", "-p", '[{"op": "remove", "path": "/data"}]')
        until("the API server knows others", lambda: before != bundles() and len(bundles()) == 1)
        until("pods are made", self.is_answered)

    def is_answered(self) -> bool:
        try:
            kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(alone("asked", SHOP, pod("hold"))))
            return True
        except Refused:
            return False

    def test_that_something_else_has_overwritten_are_told_again(self) -> None:
        told = bundles()
        path = "/webhooks/0/clientConfig/caBundle"
        kubectl("patch", "mutatingwebhookconfiguration", INJECTOR, "--type=json", "-p",
                json.dumps([{"op": "remove", "path": path}]))  # fmt: skip
        until("it is as it was", lambda: bundles() == told)


def bundles() -> set[str]:
    configuration = json.loads(kubectl("get", "mutatingwebhookconfiguration", INJECTOR, "-o", "json"))
    return {each["clientConfig"].get("caBundle", "") for each in configuration["webhooks"]}


def served() -> str:
    return get("secret", SECRET, NAMESPACE)["data"]["tls.crt"]


def events_of(name: str, namespace: str) -> list:
    of_pod = [each for each in listed("events", namespace) if each["involvedObject"]["name"] == name]
    return [each for each in of_pod if each["reason"] == "LunaSecSidecarMissing"]


def sidecars(name: str, namespace: str) -> list[str]:
    return [
        container["name"]
        for each in listed("pods", namespace, f"app={name}")
        if "deletionTimestamp" not in each["metadata"]
        for container in each["spec"].get("initContainers", [])
    ]
