"""The plain manifests are those of the chart, whole, and kubectl makes one of them."""

import subprocess
import sys

import pytest
import yaml
from chart import ROOT, objects

OUT = ROOT / "k8s" / "manifests"
PLACES = {OUT: {}, OUT / "example": yaml.safe_load((ROOT / "k8s" / "example.yaml").read_text())}


def named(each: dict) -> tuple:
    return each["apiVersion"], each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]


def hook(each: dict) -> bool:
    return "helm.sh/hook" in each["metadata"].get("annotations", {})


@pytest.mark.parametrize("place", PLACES, ids=["defaults", "example"])
def test_the_kustomization_has_every_object_of_the_chart(place):
    names = yaml.safe_load((place / "kustomization.yaml").read_text())["resources"]
    written = [each for name in names for each in yaml.safe_load_all((place / name).read_text())]
    assert sorted(names) == sorted(path.name for path in place.glob("*.yaml") if path.name != "kustomization.yaml")
    for name in names:
        assert {each["kind"].lower() for each in yaml.safe_load_all((place / name).read_text())} == {name.removesuffix(".yaml")}
    assert {named(each) for each in written if each["kind"] != "Namespace"} == {named(each) for each in objects(PLACES[place]) if not hook(each)}


@pytest.mark.parametrize("place", PLACES, ids=["defaults", "example"])
def test_kubectl_takes_the_kustomization(place):
    built = subprocess.run(["kubectl", "kustomize", place], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    written = [each for path in place.glob("*.yaml") if path.name != "kustomization.yaml" for each in yaml.safe_load_all(path.read_text())]
    assert sorted(map(str, map(named, yaml.safe_load_all(built.stdout)))) == sorted(map(str, map(named, written)))


def test_drift_is_seen(tmp_path):
    for name in ("helm/lunasec", "k8s"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-r", ROOT / name, tmp_path / name], check=True)

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, tmp_path / "k8s/render.py", "--check"], capture_output=True, text=True)

    assert check().returncode == 0
    (tmp_path / "k8s/manifests/old.yaml").write_text("kind: Old\n")
    template = tmp_path / "helm/lunasec/templates/poddisruptionbudget.yaml"
    template.write_text(template.read_text().replace("AlwaysAllow", "IfHealthyBudget"))
    said = check()
    assert said.returncode == 1
    for name in ("manifests/old.yaml", "manifests/poddisruptionbudget.yaml", "manifests/example/poddisruptionbudget.yaml"):
        assert name in said.stderr
