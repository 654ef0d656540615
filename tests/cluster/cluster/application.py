"""The application: its pods, and what is asked of them."""

from __future__ import annotations

import json
from typing import Any

from .kubectl import Json, Refused, kubectl, listed, until, wait

IMAGE = "lunasec/test-app:1"
UID = 10001

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod(*command: str, uid: int = UID, **annotations: str) -> Json:
    """The template of a pod: `journal_volume="x"` is the annotation lunasec.io/journal-volume."""
    named = {f"lunasec.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
    return {
        "metadata": {"labels": {"app": "app"}, "annotations": {"lunasec.io/inject": "true", **named}},
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": uid,
                "runAsGroup": uid,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "app",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "args": list(command),
                    "securityContext": RESTRICTED,
                }
            ],
        },
    }


def alone(name: str, namespace: str, template: Json) -> Json:
    """A pod that nobody makes anew."""
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": named(template, name, namespace)}


def deployment(name: str, namespace: str, template: Json, replicas: int = 1) -> Json:
    labelled(template, name)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def stateful_set(name: str, namespace: str, template: Json, claims: list[Json]) -> Json:
    labelled(template, name)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": template,
            "volumeClaimTemplates": claims,
        },
    }


def job(name: str, namespace: str, template: Json) -> Json:
    template["spec"]["restartPolicy"] = "Never"
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template},
    }


def named(template: Json, name: str, namespace: str) -> Json:
    return {**template["metadata"], "name": name, "namespace": namespace}


def labelled(template: Json, name: str) -> None:
    template["metadata"]["labels"]["app"] = name


def ready(name: str, namespace: str) -> None:
    wait(f"pod/{name}", "condition=Ready", namespace)


def pods_of(name: str, namespace: str) -> list[str]:
    return sorted(
        each["metadata"]["name"]
        for each in listed("pods", namespace, f"app={name}")
        if "deletionTimestamp" not in each["metadata"]
    )


def ask(namespace: str, pod: str, *calls: Json) -> list[Json]:
    """Makes the calls in the pod's application, one after another."""
    lines = "".join(json.dumps(call) + "\n" for call in calls)
    said = kubectl("exec", "-i", pod, "-c", "app", "-n", namespace, "--", "/app", "ask", stdin=lines)
    return [json.loads(line) for line in said.splitlines()]


def ask_one(namespace: str, pod: str, call: str, **given: Any) -> Json:
    (answer,) = ask(namespace, pod, {"call": call, **given})
    return answer


def tokenize(namespace: str, pod: str, value: str) -> str:
    answer = ask_one(namespace, pod, "tokenize", value=value)
    assert "token" in answer, answer
    return answer["token"]


def eventually(namespace: str, pod: str, wanted: Json, call: str, **given: Any) -> Json:
    """The answer that has all of `wanted`, once there is one."""

    def holds() -> Json | None:
        answer = ask_one(namespace, pod, call, **given)
        return answer if wanted.items() <= answer.items() else None

    return until(f"{call} answers {wanted}", holds)


def container(pod: Json, name: str) -> Json:
    spec = pod["spec"]
    (found,) = [each for each in spec.get("initContainers", []) + spec["containers"] if each["name"] == name]
    return found


def refused(*objects: Json) -> str:
    """What the API server says instead of taking them."""
    try:
        kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    except Refused as said:
        return str(said)
    raise AssertionError("it was taken")
