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


# Patches of the injector's webhook that its token must not be good for, though RBAC, which knows no fields, lets it.
FORBIDDEN: dict[str, list[dict]] = {
    "every object is shown to it": [{
        "op": "replace", "path": "/webhooks/0/rules",
        "value": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}],
    }],
    "a server of somebody else's is asked": [
        {"op": "remove", "path": "/webhooks/0/clientConfig/service"},
        {"op": "add", "path": "/webhooks/0/clientConfig/url", "value": "https://elsewhere.example/mutate"},
    ],
    "another Service is asked": [{"op": "replace", "path": "/webhooks/0/clientConfig/service/name", "value": "other"}],
    "pods start when it is away": [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}],
    "other namespaces": [{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": {}}],
    "other objects": [{"op": "add", "path": "/webhooks/0/objectSelector", "value": {"matchLabels": {"a": "b"}}}],
    "another condition": [{
        "op": "add", "path": "/webhooks/0/matchConditions", "value": [{"name": "none", "expression": "false"}],
    }],
    "less time": [{"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1}],
    "another webhook in the place of one": [{"op": "replace", "path": "/webhooks/0/name", "value": "a.example.com"}],
    "none": [{"op": "replace", "path": "/webhooks", "value": []}],
    "an owner that takes it along": [{
        "op": "add", "path": "/metadata/ownerReferences",
        "value": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "b"}],
    }],
    "a label": [{"op": "add", "path": "/metadata/labels/a", "value": "b"}],
}  # fmt: skip


class TheGuard(Pods):
    """A ValidatingAdmissionPolicy, so from Kubernetes 1.30 on: before, this fails."""

    def test_lets_the_injector_change_its_authority_and_nothing_else(self) -> None:
        as_injector(patched(BUNDLE))
        for what, patch in FORBIDDEN.items():
            with self.subTest(what):
                with self.assertRaisesRegex(Refused, "the injector changes nothing but caBundle"):
                    as_injector(patched(patch))
                # The patch is one: somebody else may.
                kubectl(*patched(patch))

    def test_is_beside_what_rbac_keeps_to_itself(self) -> None:
        name = "mutatingwebhookconfiguration"
        for refused in (
            ("delete", name, INJECTOR, "--dry-run=server"),
            ("get", "secrets", "-n", SHOP),
            ("create", "clusterrolebinding", "a", "--clusterrole=cluster-admin", "--user=b", "--dry-run=server"),
        ):
            with self.subTest(refused[0]), self.assertRaisesRegex(Refused, "cannot"):
                as_injector(refused)


BUNDLE = [{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "LS0tLS0K"}]


def patched(patch: list[dict]) -> tuple[str, ...]:
    """Tried, not done."""
    words = ("patch", "mutatingwebhookconfiguration", INJECTOR, "--type=json", "-p", json.dumps(patch))
    return *words, "--dry-run=server"


def as_injector(arguments: tuple[str, ...]) -> None:
    kubectl(*arguments, f"--as=system:serviceaccount:{NAMESPACE}:{INJECTOR}")


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
