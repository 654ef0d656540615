"""What all tests stand on: storage and keys that can be taken away, the release, and namespaces that use it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

from .application import IMAGE as APP_IMAGE
from .application import RESTRICTED
from .kubectl import Json, apply, kubectl, rolled_out, scale

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm/lunasec"
RELEASE = "lunasec"
NAMESPACE = "lunasec"
STORAGE = "lunasec-test-storage"
STORAGE_IMAGE = "lunasec/test-storage:1"
#: Opted in: without an injector no annotated pod starts here.
SHOP, BANK = "lunasec-test-shop", "lunasec-test-bank"
#: Not opted in: without an injector an annotated pod starts without a sidecar.
ELSEWHERE = "lunasec-test-elsewhere"
#: Of the network policies' Prometheus.
MONITORING = "lunasec-test-monitoring"
#: The emulators' dummies open nothing anywhere. Where there is an AWS, this is a role.
CREDENTIALS = [
    {"op": "add", "path": "/env/-", "value": {"name": name, "value": "test"}}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
]
#: The Secret of these for sweeps.
SWEEPER = "sweeper"
#: Where a pod may have a node's directory; see volumes.py.
NODE = "lunasec-test-node"
OPERATIONS = ["tokenize", "detokenize", "metadata", "grants", "delete"]


def certificates() -> tuple[str, str, str]:
    """An authority, and what it signed for the names of storage and keys: sidecars talk to nobody without TLS."""
    names = ",".join(f"DNS:{name}.{STORAGE}.svc" for name in ("s3", "kms"))
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)

        def openssl(*arguments: str) -> None:
            subprocess.run(["openssl", *arguments], cwd=at, check=True, capture_output=True)

        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=tests",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
        openssl("req", *new_key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=storage")
        (at / "extensions").write_text(f"subjectAltName={names}\nbasicConstraints=CA:FALSE\n")
        openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "extensions", "-out", "tls.pem")  # fmt: skip
        return (at / "ca.pem").read_text(), (at / "tls.pem").read_text(), (at / "tls.key").read_text()


def values(authority: str) -> Json:
    """Of the chart."""
    place = {"region": "eu-central-1"}

    def clients(namespace: str) -> list[Json]:
        return [{"name": namespace, "uid": 10001, "gid": 10001, "namespaces": [namespace], "operations": OPERATIONS}]

    return {
        "image": {name: {"repository": f"lunasec/{name}"} for name in ("sidecar", "injector")},
        "config": {
            "storage": {"kind": "s3", "bucket": "lunasec", "endpoint": f"https://s3.{STORAGE}.svc", "path_style": True, **place},
            "keys": {"kind": "kms", "key_id": "alias/lunasec", "endpoint": f"https://kms.{STORAGE}.svc", **place},
        },
        "caBundle": authority,
        "namespaces": {
            SHOP: {"storage": {"prefix": "shop/"}, "clients": clients("shop")},
            ELSEWHERE: {"storage": {"prefix": "shop/"}, "clients": clients("shop")},
            BANK: {"storage": {"prefix": "bank/"}, "clients": clients("bank")},
        },
        # Nobody waits for its hour: a test makes a Job of it.
        "sweep": {"enabled": True, "credentialsSecret": SWEEPER},
    }


def set_up() -> None:
    for name in (STORAGE, NAMESPACE, SHOP, BANK, ELSEWHERE, MONITORING):
        apply(namespace(name, opted_in=name in (SHOP, BANK)))
    authority, certificate, key = certificates()
    apply(*storage(certificate, key))
    for name in ("moto", "s3", "kms"):
        rolled_out(f"deployment/{name}", STORAGE)
    of_sweeps = {each["value"]["name"]: each["value"]["value"] for each in CREDENTIALS}
    apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SWEEPER, "namespace": SHOP}, "stringData": of_sweeps})
    installed(values(authority))


def installed(given: Json, *arguments: str, chart: Path = CHART) -> None:
    """Installs or upgrades, and waits for it."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given, file)
        file.flush()
        helm("upgrade", "--install", RELEASE, str(chart), "--values", file.name, "--wait", "--timeout=180s", *arguments)


def released() -> Json:
    """The values that the release was given."""
    return json.loads(helm("get", "values", RELEASE, "--output", "json"))


def changed(*arguments: str, chart: Path = CHART) -> None:
    """The release, with what it had and these."""
    helm("upgrade", RELEASE, str(chart), "--reuse-values", "--wait", "--timeout=180s", *arguments)


def helm(*arguments: str) -> str:
    done = subprocess.run(
        ["helm", *arguments, "--namespace", NAMESPACE], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"helm {arguments[0]}: {done.stderr}")
    return done.stdout


def namespace(name: str, opted_in: bool) -> Json:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    if opted_in:
        labels["lunasec.io/injection"] = "enabled"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def away(name: str) -> None:
    """`s3` or `kms`: what it holds stays."""
    scale(name, STORAGE, 0)


def back(name: str) -> None:
    scale(name, STORAGE, 1)


def storage(certificate: str, key: str) -> list[Json]:
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls", "namespace": STORAGE},
         "stringData": {"tls.pem": certificate, "tls.key": key}},
        *served("moto", STORAGE_IMAGE, [], 8443, tls=certificate),
        *served("s3", APP_IMAGE, ["relay", "0.0.0.0:8443", "moto:443"], 8443),
        *served("kms", APP_IMAGE, ["relay", "0.0.0.0:8443", "moto:443"], 8443),
    ]  # fmt: skip


def served(name: str, image: str, arguments: list[str], port: int, tls: str = "") -> list[Json]:
    """A deployment, and the service that leads to it. With another certificate it starts anew."""
    meta = {"name": name, "namespace": STORAGE}
    mounts = [{"name": "tls", "mountPath": "/tls", "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}, {"name": "tmp", "emptyDir": {}}]
    spec = {
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10002, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": name,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                # Moto takes the first part of a host's name for a bucket.
                "env": [{"name": "S3_IGNORE_SUBDOMAIN_BUCKETNAME", "value": "true"}],
                "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
                "securityContext": RESTRICTED,
                "volumeMounts": mounts if tls else [],
            }
        ],
        "volumes": volumes if tls else [],
    }
    marks = {"certificate": hashlib.sha256(tls.encode()).hexdigest()} if tls else {}
    template = {"metadata": {"labels": {"app": name}, "annotations": marks}, "spec": spec}
    service = {"selector": {"app": name}, "ports": [{"port": 443, "targetPort": port}]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta,
         "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}},
    ]  # fmt: skip


def tear_down() -> None:
    helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
    for name in (SHOP, BANK, ELSEWHERE, MONITORING, STORAGE, NODE, NAMESPACE):
        kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
