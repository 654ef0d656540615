"""What k8s/render does."""

from __future__ import annotations

import pathlib
import sys

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "k8s" / "manifests"
NAMESPACE = "lunasec"
HEAD = "# Written by k8s/render from helm/lunasec; change that.\n"
# The chart's defaults, and images that have to be somebody's.
DEFAULTS = {"image": {name: {"repository": f"registry.example.com/lunasec/{name}"} for name in ("sidecar", "injector")}}
# Those that say that helm is at work, which it is not here.
OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by")


class Writer(yaml.SafeDumper):
    """Texts of several lines are written as such, and no lists by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def text(writer: yaml.SafeDumper, value: str) -> yaml.Node:
    clean = "\n".join(line.rstrip() for line in value.split("\n"))
    return writer.represent_scalar("tag:yaml.org,2002:str", clean, style="|" if "\n" in clean else None)


Writer.add_representer(str, text)


def objects(values: dict) -> list[dict]:
    with helm_python.Chart.load(ROOT / "helm" / "lunasec") as chart:
        rendered = chart.render(values, name="lunasec", namespace=NAMESPACE)
    found = [each for name in sorted(rendered) if name.endswith(".yaml") for each in yaml.load_all(rendered[name], yaml.CSafeLoader) if each]
    # What helm runs before it changes anything has nobody to run it.
    found = [each for each in found if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    for each in found:
        for label in OF_HELM:
            each["metadata"]["labels"].pop(label, None)
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    return [namespace, *found]


def manifests(values: dict) -> dict[str, str]:
    """File names and what is in them."""
    by_kind: dict[str, list[dict]] = {}
    for each in objects(values):
        by_kind.setdefault(each["kind"].lower(), []).append(each)
    out = {
        f"{kind}.yaml": HEAD + yaml.dump_all(sorted(of, key=order), Dumper=Writer, sort_keys=False, width=10**6)
        for kind, of in by_kind.items()
    }
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(out)}
    return {**out, "kustomization.yaml": HEAD + yaml.dump(kustomization, Dumper=Writer, sort_keys=False)}


def order(each: dict) -> tuple[str, str]:
    return each["metadata"].get("namespace", ""), each["metadata"]["name"]


def wanted() -> dict[pathlib.Path, str]:
    example = yaml.safe_load((ROOT / "k8s" / "example.yaml").read_text())
    places = {OUT: manifests(DEFAULTS), OUT / "example": manifests(example)}
    return {place / name: content for place, files in places.items() for name, content in files.items()}


def main() -> None:
    files = wanted()
    there = {path: path.read_text() for path in OUT.rglob("*.yaml")}
    stale = sorted(str(path.relative_to(ROOT)) for path in {*files, *there} if files.get(path) != there.get(path))
    if "--check" in sys.argv[1:]:
        if stale:
            sys.exit(f"k8s/render: {', '.join(stale)} differ from what the chart renders: run k8s/render")
        return
    for path in there:
        path.unlink()
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


if __name__ == "__main__":
    main()
