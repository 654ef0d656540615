"""What docs/kubernetes.md shows works as it is written there."""

import json
import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from chart import CHART, ROOT, check_toml, find
from test_manifests import OUT

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", TEXT, re.M | re.S)
    return [re.sub(rf"^{indent}", "", block, flags=re.M) for indent, block in found]


def block(language: str, word: str) -> str:
    [found] = [each for each in blocks(language) if word in each]
    return found


def rendered(values: str) -> list[dict]:
    files = CHART.render(yaml.safe_load(values), name="lunasec", namespace="lunasec")
    return [each for name, text in files.items() if name.endswith(".yaml") for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def test_the_values_of_the_ten_minutes_are_taken_by_chart_and_sidecar():
    toml = find(rendered(block("yaml", "operations: [tokenize, detokenize]")), "ConfigMap", "lunasec", "shop")["data"]["lunasec.toml"]
    assert tomllib.loads(toml)["clients"][0]["uid"] == 10001
    assert check_toml(toml).returncode == 0


def test_kustomize_puts_in_both_images_and_restarts_the_injectors(tmp_path):
    shutil.copytree(OUT, tmp_path / "k8s" / "manifests", ignore=shutil.ignore_patterns("example"))
    (tmp_path / "kustomization.yaml").write_text(block("yaml", "configMapGenerator"))
    built = subprocess.run(["kubectl", "kustomize", tmp_path], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    among = [*yaml.safe_load_all(built.stdout)]
    settings = tomllib.loads(find(among, "ConfigMap", "lunasec-injector")["data"]["injector.toml"])
    before = tomllib.loads(yaml.safe_load((OUT / "configmap.yaml").read_text())["data"]["injector.toml"])
    sidecar = "registry.internal/lunasec/sidecar:0.1.0"
    assert settings == {**before, "sidecar": {**before["sidecar"], "image": sidecar}}
    template = find(among, "Deployment", "lunasec-injector")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "registry.internal/lunasec/injector:0.1.0"
    assert template["metadata"]["annotations"]["lunasec.io/sidecar-image"] == sidecar
    assert "lunasec-images" not in [each["metadata"]["name"] for each in among]


def test_the_roles_trust_is_json_and_bound_to_audience_and_namespace():
    [statement] = json.loads(block("json", "AssumeRoleWithWebIdentity"))["Statement"]
    issuer = statement["Principal"]["Federated"].partition(":oidc-provider/")[2]
    assert statement["Condition"] == {
        "StringEquals": {f"{issuer}:aud": "sts.amazonaws.com"},
        "StringLike": {f"{issuer}:sub": "system:serviceaccount:shop:*"},
    }


def values_that_are_named() -> set[str]:
    roots = "|".join(CHART.values)
    named = set(re.findall(rf"`((?:{roots})(?:\.\w+)+)", TEXT.partition("## Values\n")[0]))
    # Those of the sidecar's own configuration are typed by it, and an annotation of a mesh looks like a value.
    return {each for each in named if not each.startswith(("config.", "namespaces.", "sidecar.istio.io"))}


NAMED = sorted(values_that_are_named())


@pytest.mark.parametrize("value", NAMED)
def test_a_value_that_the_text_names_is_one(value):
    table = TEXT.partition("<!-- values")[2]
    path = re.escape(re.sub(r"\.namespaces\.\w+", ".namespaces.NAME", value))
    assert re.search(rf"^\| `{path}[.`]", table, re.M), f"{value} is no value"


def test_the_text_names_many():
    assert len(NAMED) > 15


def test_headings_that_are_linked_to_are_there():
    headings = {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in re.findall(r"^#+ (.+)$", TEXT, re.M)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
