"""The chart's network policies. A cluster may take policies and enforce none: there all of this fails, and says so."""

from __future__ import annotations

import json
import os

from cluster.application import alone, eventually, pod, ready
from cluster.environment import CREDENTIALS, ELSEWHERE, MONITORING, NAMESPACE, SHOP, STORAGE, installed, released
from cluster.kubectl import Json, apply, delete, get, kubectl, rolled_out, wait
from cluster.network import (
    NAME_SERVER, PORTS, SECONDS, address, addresses, api_servers, block, comes_to_reach, looking, only_looking,
)  # fmt: skip

from . import Pods

PATCH = json.dumps(CREDENTIALS)
INJECTOR = "lunasec-injector"
OF_APPLICATION, OF_NOBODY = PORTS
OF_SIDECAR, OF_WEBHOOK, OF_INJECTOR = 9464, 8443, 8080
#: From where the API server calls pods, beside its own addresses and a pod's own node.
CALLERS = os.environ.get("LUNASEC_CLUSTER_CALLERS", "").split()
INJECTORS = "app.kubernetes.io/component=injector"


def policies() -> Json:
    """Values of the chart."""
    storage = [block(at) for name in ("s3", "kms") for at in addresses(STORAGE, name)]
    needed = [{"cidrs": storage, "ports": [443, 8443]}]
    servers = api_servers()
    there = {block(at) for at, _ in servers}
    return {
        "monitoringNamespace": MONITORING,
        "injector": {
            "enabled": True,
            "apiServerCidrs": sorted(there),
            "apiServerPorts": sorted({port for _, port in servers}),
            "webhookCidrs": sorted(there.union(CALLERS)),
        },
        "sidecars": {"namespaces": {SHOP: {"egress": needed, "ingressPorts": [OF_APPLICATION]}}},
        "sweeps": {"namespaces": {SHOP: {"egress": needed}}},
    }


def places() -> dict[str, str]:
    """What pods reach where no policy is in the way."""
    (_, another), ((_, _), (server, port), *_) = addresses(STORAGE, "moto"), api_servers()
    return {
        "storage": f"s3.{STORAGE}.svc:443",
        "keys": f"kms.{STORAGE}.svc:443",
        "DNS": NAME_SERVER,
        "another pod": f"{another}:8443",
        "another pod's service": f"moto.{STORAGE}.svc:443",
        "the API server": f"{server}:{port}",
        "the API server's service": "kubernetes.default.svc:443",
    }


class OnACluster(Pods):
    """That enforces policies, with those of the chart."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.addClassCleanup(delete, "networkpolicy", "nothing", ELSEWHERE)
        cls.addClassCleanup(delete, "pod", "judged", ELSEWHERE)
        apply(alone("judged", ELSEWHERE, only_looking(app="judged")))
        ready("judged", ELSEWHERE)
        enforced("judged", ELSEWHERE)
        before = released()
        cls.addClassCleanup(installed, before)
        installed({**before, "networkPolicy": policies(), "sweep": {"enabled": True}})

    def looking(self, namespace: str, name: str, **labels: str) -> str:
        """A pod without a sidecar."""
        return self.made(namespace, name, only_looking(app=name, **labels))

    def injected(self, name: str) -> str:
        self.made(SHOP, name, looking(pod("hold", json_patch=PATCH)))
        self.assertEqual(get("pod", name, SHOP)["spec"]["initContainers"][0]["name"], "lunasec")
        return name

    def stand_in(self, namespace: str, labels: Json) -> None:
        """A pod with the labels of one without a place to look from. It is never ready, so nobody takes it for that."""
        template = only_looking(**labels)
        template["spec"]["readinessGates"] = [{"conditionType": "lunasec.io/never"}]
        apply(alone("stand-in", namespace, template))
        self.addCleanup(delete, "pod", "stand-in", namespace)
        wait("pod/stand-in", "condition=ContainersReady", namespace)

    def made(self, namespace: str, name: str, template: Json) -> str:
        apply(alone(name, namespace, template))
        self.addCleanup(delete, "pod", name, namespace)
        ready(name, namespace)
        return name


def enforced(name: str, namespace: str) -> None:
    """Nothing else here means anything where this does not hold."""
    nothing = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "nothing", "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress", "Egress"]},
    }
    (_, at) = addresses(STORAGE, "s3")
    place = {"a pod": f"{at}:8443"}
    comes_to_reach(namespace, name, place, "a pod")
    apply(nothing)
    try:
        comes_to_reach(namespace, name, place)
    except AssertionError as said:
        raise AssertionError(
            f"this cluster enforces no network policies, so nothing was tried: for {SECONDS} s after a policy that lets "
            f"nothing out, {said}"
        ) from None
    delete("networkpolicy", "nothing", namespace)
    comes_to_reach(namespace, name, place, "a pod")


class AnInjectedPod(OnACluster):
    def test_reaches_storage_keys_and_dns_and_nothing_else(self) -> None:
        there = places()
        comes_to_reach(SHOP, self.looking(SHOP, "neighbour"), there, *there)
        one = self.injected("one")
        comes_to_reach(SHOP, one, there, "storage", "keys", "DNS")
        eventually(SHOP, one, {"durability": "stored"}, "tokenize", value="4111 1111 1111 1111")

    def test_is_reached_by_prometheus_for_metrics_and_by_anybody_for_what_is_the_applications(self) -> None:
        at = address(SHOP, self.injected("one"))
        there = {"metrics": f"{at}:{OF_SIDECAR}", "application": f"{at}:{OF_APPLICATION}", "nobody's": f"{at}:{OF_NOBODY}"}
        comes_to_reach(MONITORING, self.looking(MONITORING, "prometheus"), there, "metrics", "application")
        comes_to_reach(ELSEWHERE, self.looking(ELSEWHERE, "stranger"), there, "application")
        comes_to_reach(SHOP, self.looking(SHOP, "neighbour"), there, "application")


class TheInjector(OnACluster):
    def test_starts_anew_and_answers_the_api_server(self) -> None:
        kubectl("rollout", "restart", f"deployment/{INJECTOR}", "-n", NAMESPACE)
        rolled_out(f"deployment/{INJECTOR}", NAMESPACE)
        self.injected("late")

    def test_is_reached_by_prometheus_for_metrics_and_by_no_pod_for_answers(self) -> None:
        name = kubectl("get", "pods", "-n", NAMESPACE, "-l", INJECTORS, "-o", "name").split()[0].removeprefix("pod/")
        at = address(NAMESPACE, name)
        there = {"metrics": f"{at}:{OF_INJECTOR}", "answers": f"{at}:{OF_WEBHOOK}"}
        comes_to_reach(MONITORING, self.looking(MONITORING, "prometheus"), there, "metrics")
        comes_to_reach(ELSEWHERE, self.looking(ELSEWHERE, "stranger"), there)
        comes_to_reach(NAMESPACE, self.looking(NAMESPACE, "neighbour"), there)

    def test_reaches_the_api_server_and_dns_and_nothing_else(self) -> None:
        labels = get("deployment", INJECTOR, NAMESPACE)["spec"]["selector"]["matchLabels"]
        self.stand_in(NAMESPACE, labels)
        comes_to_reach(NAMESPACE, "stand-in", places(), "the API server", "the API server's service", "DNS")


class TheSweep(OnACluster):
    def test_reaches_storage_keys_and_dns_and_nothing_else_and_is_reached_by_nobody(self) -> None:
        job = get("cronjob", "lunasec-sweep", SHOP)["spec"]["jobTemplate"]
        self.stand_in(SHOP, job["spec"]["template"]["metadata"]["labels"])
        comes_to_reach(SHOP, "stand-in", places(), "storage", "keys", "DNS")
        at = address(SHOP, "stand-in")
        there = {str(port): f"{at}:{port}" for port in PORTS}
        for namespace in (MONITORING, SHOP):
            comes_to_reach(namespace, self.looking(namespace, "anybody"), there)
