"""A pod with an application and its sidecar, and what each of them may."""

from __future__ import annotations

import secrets
import unittest

from cluster.application import (
    UID, alone, ask_one, container, eventually, pod, ready, refused, tokenize,
)  # fmt: skip
from cluster.environment import BANK, CREDENTIALS, ELSEWHERE, NAMESPACE, SHOP
from cluster.kubectl import apply, delete, get, kubectl, until

from . import Pods

CARD = "4111 1111 1111 1111"


class ATokenOfOnePod(Pods):
    def test_opens_in_another(self) -> None:
        one, other = self.pod(SHOP, "one"), self.pod(SHOP, "other")
        token = tokenize(SHOP, one, CARD)
        self.assertEqual(ask_one(SHOP, other, "detokenize", token=token)["value"], CARD)

    def test_means_nothing_in_another_namespace(self) -> None:
        shop, bank = self.pod(SHOP, "one"), self.pod(BANK, "teller")
        token = tokenize(SHOP, shop, CARD)
        self.assertEqual(ask_one(BANK, bank, "detokenize", token=token)["error"], "not_found")

    def test_is_refused_to_a_user_that_is_no_client(self) -> None:
        stranger = self.pod(SHOP, "stranger", uid=UID + 1)
        self.assertEqual(ask_one(SHOP, stranger, "tokenize", value=CARD)["error"], "forbidden")


class AnInjectedPod(Pods):
    def test_has_a_native_sidecar_before_all_else(self) -> None:
        found = get("pod", self.pod(SHOP, "one"), SHOP)
        sidecar = found["spec"]["initContainers"][0]
        self.assertEqual((sidecar["name"], sidecar["restartPolicy"]), ("lunasec", "Always"))
        self.assertIn("startupProbe", sidecar)

    def test_lets_the_application_read_the_socket_alone(self) -> None:
        found = get("pod", self.pod(SHOP, "one"), SHOP)
        mounts = {each["name"]: each for each in container(found, "app")["volumeMounts"]}
        self.assertTrue(mounts["lunasec-socket"]["readOnly"])
        for kept in ("lunasec-state", "lunasec-config"):
            self.assertNotIn(kept, mounts)

    def test_gives_the_sidecar_no_access_to_the_cluster(self) -> None:
        """Admission adds a token to each container that has nothing at its place."""
        found = get("pod", self.pod(SHOP, "one"), SHOP)
        place = "/var/run/secrets/kubernetes.io/serviceaccount"
        tokens = {each["name"] for each in found["spec"]["volumes"] if "projected" in each}
        (at_place,) = [each for each in container(found, "lunasec")["volumeMounts"] if each["mountPath"] == place]
        self.assertNotIn(at_place["name"], tokens)
        (of_app,) = [each for each in container(found, "app")["volumeMounts"] if each["mountPath"] == place]
        self.assertIn(of_app["name"], tokens)

    def test_that_asks_for_nothing_is_left_alone(self) -> None:
        template = pod("hold")
        template["metadata"]["annotations"] = {}
        apply(alone("plain", SHOP, template))
        self.addCleanup(delete, "pod", "plain", SHOP)
        self.assertNotIn("initContainers", get("pod", "plain", SHOP)["spec"])

    def test_says_what_is_wrong_with_an_annotation(self) -> None:
        for name, value in (("mem_limit", "much"), ("memlimit", "64Mi"), ("journal_volume", "nowhere")):
            said = refused(alone("wrong", SHOP, pod("hold", **{name: value})))
            self.assertIn(f"lunasec.io/{name.replace('_', '-')}", said)

    def test_starts_with_a_standby_key_that_is_a_secret(self) -> None:
        """A kubelet writes it as root's, for everybody to read: the sidecar has to see that nobody else has that mount."""
        key = f"lunasec-local-key-v1:{secrets.token_hex(32)}\n"
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "standby", "namespace": SHOP}}
        apply({**made, "stringData": {"standby.key": key}})
        self.addCleanup(delete, "secret", "standby", SHOP)
        one = self.pod(SHOP, "one", standby_key_secret="standby")
        variables = {each["name"] for each in container(get("pod", one, SHOP), "lunasec")["env"]}
        self.assertIn("LUNASEC_DEGRADE__STANDBY_KEY_FILE", variables)
        self.assertEqual(ask_one(SHOP, one, "detokenize", token=tokenize(SHOP, one, CARD))["value"], CARD)

    def test_has_the_role_that_it_names_for_the_sidecar_alone(self) -> None:
        role = "arn:aws:iam::111122223333:role/shop"
        found = get("pod", self.pod(SHOP, "roled", aws_role_arn=role), SHOP)
        sidecar, app = container(found, "lunasec"), container(found, "app")
        given = {each["name"]: each.get("value") for each in sidecar["env"]}
        self.assertEqual(given["AWS_ROLE_ARN"], role)
        audiences = {
            source["serviceAccountToken"]["audience"]: volume["name"]
            for volume in found["spec"]["volumes"]
            for source in volume.get("projected", {}).get("sources", [])
            if "audience" in source.get("serviceAccountToken", {})
        }
        volume = audiences["sts.amazonaws.com"]
        self.assertIn(volume, [each["name"] for each in sidecar["volumeMounts"]])
        self.assertNotIn(volume, [each["name"] for each in app["volumeMounts"]])


class TheMetrics(Pods):
    def test_of_a_sidecar_are_there_for_whoever_scrapes(self) -> None:
        name = self.pod(SHOP, "one")
        ask_one(SHOP, name, "tokenize", value=CARD)
        said = kubectl("get", "--raw", f"/api/v1/namespaces/{SHOP}/pods/{name}:9464/proxy/metrics")
        self.assertIn('lunasec_build_info{version="', said)

    def test_of_the_injector_count_what_it_decided(self) -> None:
        self.pod(SHOP, "one")
        self.assertGreater(sum(injector_metric("lunasec_injector_decisions_total", 'result="injected"')), 0)


def injector_metric(name: str, label: str = "") -> list[float]:
    """Of each replica."""
    names = kubectl("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=injector", "-o", "name").split()
    found = []
    for each in names:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{each.removeprefix('pod/')}:8080/proxy/metrics"
        for line in kubectl("get", "--raw", path).splitlines():
            if line.startswith(name) and label in line:
                found.append(float(line.rsplit(" ", 1)[1]))
    return found
