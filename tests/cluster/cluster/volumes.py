"""Volumes that outlive their pods: of the cluster's default class, or, where it has none, a directory of a node's disk."""

from __future__ import annotations

import json
import uuid

from .environment import NODE, STORAGE_IMAGE
from .kubectl import Json, apply, delete, get, kubectl, wait

CLASS = "lunasec-test"
PLACE = "/var/lib/lunasec-test"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def claim(name: str) -> Json:
    """A template for a StatefulSet; there is a volume for one pod."""
    spec: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "256Mi"}}}
    if not has_default():
        spec["storageClassName"] = CLASS
        make(f"{CLASS}-{uuid.uuid4()}")
    return {"metadata": {"name": name}, "spec": spec}


def gone(name: str, namespace: str) -> None:
    volume = get("pvc", name, namespace)["spec"].get("volumeName")
    delete("pvc", name, namespace)
    if volume and volume.startswith(CLASS):
        kubectl("delete", "pv", volume, "--ignore-not-found")


def has_default() -> bool:
    classes = json.loads(kubectl("get", "storageclass", "-o", "json"))["items"]
    return any(each["metadata"].get("annotations", {}).get(DEFAULT) == "true" for each in classes)


def make(name: str) -> None:
    """A local volume, which takes an fsGroup as those of clouds do, and as a hostPath does not."""
    node = json.loads(kubectl("get", "nodes", "-o", "json"))["items"][0]["metadata"]["name"]
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NODE, "labels": labels}})
    apply({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NODE},
        "spec": {
            "restartPolicy": "Never",
            "nodeName": node,
            "containers": [{
                "name": "mkdir", "image": STORAGE_IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["mkdir", f"/node/{name}"],
                "securityContext": {"runAsUser": 0},
                "volumeMounts": [{"name": "node", "mountPath": "/node"}],
            }],
            "volumes": [{"name": "node", "hostPath": {"path": PLACE, "type": "DirectoryOrCreate"}}],
        },
    })  # fmt: skip
    wait(f"pod/{name}", "jsonpath={.status.phase}=Succeeded", NODE)
    delete("pod", name, NODE)
    affinity = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    apply({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "256Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": CLASS,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": f"{PLACE}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [affinity]}},
        },
    })  # fmt: skip
