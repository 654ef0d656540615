"""What the tests share: the chart, rendered, and values that switch everything on."""

from __future__ import annotations

import copy
import functools
import json
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLACE = ROOT / "helm" / "lunasec"
CHART = helm_python.Chart.load(PLACE)
SCHEMA = json.loads((PLACE / "values.schema.json").read_text())
BINARY = os.environ["LUNASEC_BIN"]

AWS = {
    "storage": {"kind": "s3", "bucket": "lunasec", "region": "eu-central-1"},
    "keys": {"kind": "kms", "key_id": "alias/lunasec", "region": "eu-central-1"},
    "clients": [{"name": "shop", "uid": 10001, "namespaces": ["default"], "operations": ["tokenize", "detokenize"]}],
}
# There are no images but one's own: values without these are refused.
IMAGES = {"image": {name: {"repository": f"registry.example.com/lunasec/{name}"} for name in ("sidecar", "injector")}}
EVERYTHING = {
    "image": {**IMAGES["image"], "pullSecrets": ["registry"]},
    "injector": {"tolerations": [{"key": "infra", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 30}]},
    "reconciler": {"restart": True},
    "config": AWS,
    "namespaces": {"shop": {"storage": {"prefix": "shop/"}}, "desk": {"storage": {"prefix": "desk/"}}},
    "caBundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "networkPolicy": {
        "injector": {"enabled": True, "apiServerCidrs": ["10.0.0.1/32"]},
        "sidecars": {"namespaces": {"shop": {"egress": [{"cidrs": ["10.1.0.0/16"], "ports": [443]}], "ingressPorts": [8080]}}},
        "sweeps": {"namespaces": {"desk": {"egress": [{"cidrs": ["2001:db8::/32"], "ports": [443]}]}}},
    },
    "podMonitor": {"enabled": True},
    "alerts": {"enabled": True},
    "dashboard": {"enabled": True},
    "sweep": {"enabled": True, "namespaces": {"shop": {"schedule": "@daily"}}, "credentialsSecret": "aws"},
}


def merged(*parts: dict) -> dict:
    """Tables merged, everything else replaced."""
    out: dict = {}
    for part in parts:
        for key, value in copy.deepcopy(part).items():
            out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def files(*values: dict, namespace: str = "lunasec") -> dict[str, str]:
    """What is rendered of these values and of the names of images."""
    return dict(_files(json.dumps(merged(IMAGES, *values)), namespace))


@functools.cache
def _files(values: str, namespace: str) -> dict[str, str]:
    rendered = CHART.render(json.loads(values), name="lunasec", namespace=namespace)
    return {name: text for name, text in rendered.items() if name.endswith(".yaml")}


def notes(*values: dict) -> str:
    return CHART.render(merged(IMAGES, *values), name="lunasec", namespace="lunasec")["lunasec/templates/NOTES.txt"]


def objects(*values: dict, namespace: str = "lunasec") -> list[dict]:
    rendered = files(*values, namespace=namespace)
    return [each for name in sorted(rendered) for each in yaml.load_all(rendered[name], yaml.CSafeLoader) if each]


def find(among: list[dict], kind: str, name: str, namespace: str | None = None) -> dict:
    fit = [
        each
        for each in among
        if (each["kind"], each["metadata"]["name"]) == (kind, name) and namespace in (None, each["metadata"].get("namespace"))
    ]
    assert len(fit) == 1, f"{len(fit)} {kind} {name} in {namespace}"
    return fit[0]


def kinds(among: list[dict]) -> set[str]:
    return {each["kind"] for each in among}


def pod_templates(among: list[dict]) -> Iterator[tuple[str, dict]]:
    for each in among:
        name = f"{each['kind']} {each['metadata']['name']}"
        if each["kind"] == "Deployment":
            yield name, each["spec"]["template"]
        elif each["kind"] == "Job":
            yield name, each["spec"]["template"]
        elif each["kind"] == "CronJob":
            yield name, each["spec"]["jobTemplate"]["spec"]["template"]


def refusal(*values: dict) -> str:
    """What the chart says to values that it does not take."""
    try:
        files(*values)
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError(f"taken, and should not be: {values}")


def check_toml(text: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNASEC_")}
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        return subprocess.run([BINARY, "check", "--config", file.name], env=environment, capture_output=True, text=True)
