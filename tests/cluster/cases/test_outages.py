"""Storage or keys are away, and come back. tests/vault has each row of the table; here are those that a cluster can bend: a
service without endpoints, a pod that is evicted with what it journaled."""

from __future__ import annotations

import json
import unittest

from cluster.application import ask_one, eventually, pod, pods_of, stateful_set, tokenize
from cluster import volumes
from cluster.environment import CREDENTIALS, SHOP, away, back
from cluster.kubectl import apply, delete, get, kubectl, rolled_out, until

from . import Pods

CARD = "4111 1111 1111 1111"
PATCH = json.dumps(CREDENTIALS)


class WhileStorageIsAway(Pods):
    def test_what_was_seen_goes_on_and_the_rest_says_that_it_may_be_asked_again(self) -> None:
        one, other = self.pod(SHOP, "one"), self.pod(SHOP, "other")
        seen, unseen = tokenize(SHOP, one, CARD), tokenize(SHOP, other, CARD)
        ask_one(SHOP, one, "set_metadata", token=seen, metadata={"kind": "card"})
        self.assertEqual(ask_one(SHOP, one, "grant", token=seen)["durability"], "stored")
        away("s3")
        self.addCleanup(back, "s3")
        answer = eventually(SHOP, one, {"degraded": "storage"}, "detokenize", token=seen)
        self.assertEqual(answer["value"], CARD)
        self.assertEqual(ask_one(SHOP, one, "metadata", token=seen)["metadata"], {"kind": "card"})
        self.assertTrue(ask_one(SHOP, one, "verify", token=seen)["valid"])
        for call, given in (("detokenize", {"token": unseen}), ("tokenize", {"value": CARD})):
            answer = ask_one(SHOP, one, call, **given)
            self.assertEqual((answer["error"], answer["retryable"]), ("storage_unavailable", True))
        self.assertTrue(is_ready(SHOP, one), "an outage of storage takes no pod out of service")
        back("s3")
        eventually(SHOP, one, {"value": CARD}, "detokenize", token=unseen)
        eventually(SHOP, one, {"durability": "stored"}, "tokenize", value=CARD)

    def test_a_new_pod_starts(self) -> None:
        away("s3")
        self.addCleanup(back, "s3")
        late = self.pod(SHOP, "late")
        # The day's data key lies in storage, too.
        answer = ask_one(SHOP, late, "tokenize", value=CARD)
        self.assertEqual((answer["error"], answer["retryable"]), ("keys_unavailable", True))
        back("s3")
        eventually(SHOP, late, {"durability": "stored"}, "tokenize", value=CARD)


class WhileKeysAreAway(Pods):
    def test_the_days_key_seals_and_opens(self) -> None:
        one, other = self.pod(SHOP, "one"), self.pod(SHOP, "other")
        tokenize(SHOP, one, CARD)
        unseen = tokenize(SHOP, other, CARD)
        away("kms")
        self.addCleanup(back, "kms")
        self.assertEqual(ask_one(SHOP, one, "detokenize", token=unseen)["value"], CARD)
        self.assertEqual(ask_one(SHOP, one, "tokenize", value=CARD)["durability"], "stored")


class AJournal(Pods):
    """On a volume of its pod's own, which outlives the pod."""

    def setUp(self) -> None:
        template = pod("hold", journal_volume="journal", json_patch=PATCH)
        # As a pod has whose users share its volumes: unless it is told not to, a kubelet opens all files to that group.
        template["spec"]["securityContext"]["fsGroup"] = 2000
        apply(stateful_set("keeper", SHOP, template, [volumes.claim("journal")]))
        self.addCleanup(volumes.gone, "journal-keeper-0", SHOP)
        self.addCleanup(delete, "statefulset", "keeper", SHOP)
        rolled_out("statefulset/keeper", SHOP)

    def test_outlives_an_eviction_and_is_replayed(self) -> None:
        tokenize(SHOP, "keeper-0", CARD)
        other = self.pod(SHOP, "other")
        away("s3")
        self.addCleanup(back, "s3")
        answer = eventually(SHOP, "keeper-0", {"durability": "journaled"}, "tokenize", value=CARD)
        token = answer["token"]
        self.assertEqual(ask_one(SHOP, "keeper-0", "detokenize", token=token)["value"], CARD)
        evicted("keeper-0", SHOP)
        until("keeper-0 runs again", lambda: is_ready(SHOP, "keeper-0"))
        back("s3")
        eventually(SHOP, other, {"value": CARD}, "detokenize", token=token)

    def test_is_drained_before_its_pod_ends(self) -> None:
        tokenize(SHOP, "keeper-0", CARD)
        other = self.pod(SHOP, "other")
        away("s3")
        self.addCleanup(back, "s3")
        token = eventually(SHOP, "keeper-0", {"durability": "journaled"}, "tokenize", value=CARD)["token"]
        back("s3")
        kubectl("scale", "statefulset/keeper", "-n", SHOP, "--replicas=0")
        until("keeper-0 is gone", lambda: not pods_of("keeper", SHOP))
        eventually(SHOP, other, {"value": CARD}, "detokenize", token=token)


def is_ready(namespace: str, name: str) -> bool:
    try:
        status = get("pod", name, namespace)["status"]
    except Exception:
        return False
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def evicted(name: str, namespace: str) -> None:
    """As `kubectl drain` does it."""
    uid = get("pod", name, namespace)["metadata"]["uid"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace},
    }
    kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(eviction))
    until(f"{name} was made anew", lambda: uid not in uids(namespace))


def uids(namespace: str) -> set[str]:
    return {each["metadata"]["uid"] for each in json.loads(kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]}
