"""The values: typed, described, closed, each with an effect, and refused with words where they are wrong."""

import copy
import re
import subprocess
import sys
import tomllib

import helm_python
import pytest
import yaml
from chart import AWS, CHART, EVERYTHING, PLACE, ROOT, SCHEMA, check_toml, files, find, merged, objects, refusal
from samples import another, leaves, put, resolve

OWN = {name: field for name, field in SCHEMA["properties"].items() if name not in ("config", "namespaces", "global")}
BASE = merged(CHART.values, EVERYTHING, {"namespaces": {"probe": {}}})
# What has an effect only beside something else.
BESIDE = {
    ("image", "sidecar", "tag"): {"image": {"sidecar": {"digest": ""}}},
    ("journal", "volume"): {"journal": {"acknowledgeLoss": True}, "config": {"degrade": {"on_storage_outage": "journal"}}},
}
# What Kubernetes types itself.
KUBERNETES = {f".injector.{name}" for name in ("affinity", "topologySpreadConstraints[]", "podSecurityContext", "securityContext")}
# Where the sample of the type alone would be refused beside others, or is the default.
SAMPLES = {
    ("injector", "certificateLifetime"): "20d", ("injector", "authorityLifetime"): "500d", ("sidecar", "cpuLimit"): "77m",
    ("sidecar", "memLimit"): "78Mi", ("networkPolicy", "sidecars", "namespaces", "shop", "egress", 0, "protocol"): "UDP",
    ("networkPolicy", "sweeps", "namespaces", "desk", "egress", 0, "protocol"): "UDP",
}  # fmt: skip
LEAVES = [*leaves(SCHEMA, {"type": "object", "properties": OWN}, (), BASE)]


def text(*values: dict) -> str:
    rendered = files(*values)
    return "\n".join(rendered[name] for name in sorted(rendered))


@pytest.fixture(scope="module")
def before() -> str:
    return text(BASE)


@pytest.mark.parametrize(("path", "field", "now"), LEAVES, ids=[".".join(map(str, leaf[0])) for leaf in LEAVES])
def test_each_value_changes_what_is_rendered(before, path, field, now):
    if path == ("journal", "acknowledgeLoss"):
        told = {"journal": {"volume": "emptyDir"}, "config": {"degrade": {"on_storage_outage": "journal"}}}
        assert "acknowledgeLoss" in refusal(told) and text(told, {"journal": {"acknowledgeLoss": True}})
        return
    beside = BESIDE.get(path, {})
    changed = merged(BASE, beside)
    put(changed, path, SAMPLES.get(path) or another(SCHEMA, field, now))
    assert text(changed) != (text(BASE, beside) if beside else before), f"{path} changes nothing"


def test_each_field_of_the_configuration_is_in_lunasec_toml():
    """All at once, once below `config` and once below `namespaces`."""
    sessions = [{"issuer": "https://id.example.com", "audience": "a", "jwks": "/keys.json"}]
    base = {"config": merged(AWS, {"sessions": sessions}), "namespaces": {"shop": {}}}
    fields = [*leaves(SCHEMA, SCHEMA["$defs"]["config"], (), base["config"])]
    assert len(fields) > 60
    for place in (("config",), ("namespaces", "shop")):
        values = copy.deepcopy(base)
        if place[0] == "namespaces":
            values["namespaces"]["shop"] = {name: copy.deepcopy(base["config"][name]) for name in ("clients", "sessions")}
        put_there = {}
        for path, field, now in fields:
            if path == ("clients",) or path == ("sessions",):
                continue
            put_there[path] = another(SCHEMA, field, now)
        for path, value in put_there.items():
            put(values, (*place, *path), value)
        put(values, (*place, "storage", "kind"), "s3")
        toml = tomllib.loads(find(objects(values), "ConfigMap", "lunasec")["data"]["lunasec.toml"])
        for path, value in put_there.items():
            at = toml
            for step in path:
                at = at[step]
            assert at == ("s3" if path == ("storage", "kind") else value), path


def every(schema: dict, path: str = "") -> list[tuple[str, dict]]:
    """The schema and all below it that describe a value."""
    found = [(path, schema)]
    for name, below in schema.get("properties", {}).items():
        found += every(below, f"{path}.{name}") if isinstance(below, dict) else []
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += every(schema[key], f"{path}[]")
    return found


ALL = [*every(SCHEMA), *every(SCHEMA["$defs"]["config"], "config")]


def test_every_table_is_closed():
    tables = [(path, field) for path, field in ALL if field.get("type") == "object" and path != ".global"]
    assert len(tables) > 40
    assert KUBERNETES == {path for path, field in tables if field.get("additionalProperties") is True}
    for path, field in tables:
        if path in KUBERNETES:
            continue
        closed = field.get("additionalProperties")
        assert closed is False or (isinstance(closed, dict) and "propertyNames" in field), f"{path} takes names that nobody knows"


def test_every_value_is_typed_and_described():
    for path, field in ALL:
        assert "type" in field or "$ref" in field, f"{path} has no type"
        if not path.endswith("[]") and path and path != "config":
            assert len(field.get("description", "")) > 10, f"{path} has no description"


def test_the_schema_has_no_words_that_schemas_do_not_know():
    known = {
        "type", "properties", "additionalProperties", "description", "default", "enum", "pattern", "items", "minimum", "maximum", "minItems",
        "maxItems", "uniqueItems", "minLength", "maxLength", "propertyNames", "required", "anyOf", "allOf", "exclusiveMinimum", "examples",
        "$schema", "$defs", "$ref", "title",
    }  # fmt: skip
    for path, field in ALL:
        assert set(field) <= known, f"{path}: {set(field) - known}"


def test_every_value_of_values_yaml_has_a_comment_above_it():
    lines = (PLACE / "values.yaml").read_text().splitlines()
    keys = [at for at, line in enumerate(lines) if re.match(r"\s*\w+:", line)]
    assert len(keys) > 90
    for at in keys:
        assert lines[at - 1].strip().startswith("# "), f"{lines[at]} has no comment"


def test_the_defaults_are_taken_by_the_schema_and_in_the_docs():
    table = (ROOT / "docs" / "kubernetes.md").read_text()
    CHART.validate_schema({})
    for path, field, _ in leaves(SCHEMA, {"type": "object", "properties": OWN}, (), CHART.values):
        assert f"| `{'.'.join(map(str, path))}` |" in table, f"{path} is not in docs/kubernetes.md"


@pytest.mark.parametrize(
    "value",
    [
        "injector.extraEnv[].name", "injector.tolerations[].effect", "networkPolicy.injector.egress[].protocol", "networkPolicy.sidecars.namespaces.NAME.egress[].cidrs",
        "networkPolicy.sidecars.namespaces.NAME.ingressPorts", "networkPolicy.sweeps.namespaces.NAME.egress[].ports", "sweep.namespaces.NAME.awsRoleArn",
    ],
)  # fmt: skip
def test_what_stands_in_lists_and_below_names_is_in_the_docs_too(value):
    assert f"| `{value}` |" in (ROOT / "docs" / "kubernetes.md").read_text()


def test_drift_is_seen(tmp_path):
    """A changed word of the schema's source, and a sidecar with another field, make `helm/schema --check` fail."""
    for place in ("helm/lunasec", "docs"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("helm/schema", "helm/values.schema.yaml", "helm/lunasec/values.yaml", "helm/lunasec/values.schema.json", "docs/kubernetes.md"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())

    def check() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, tmp_path / "helm/schema", "--check"], capture_output=True, text=True)

    assert check().returncode == 0
    source = tmp_path / "helm/values.schema.yaml"
    source.write_text(source.read_text().replace("default: 10, description: How long", "default: 11, description: For how long"))
    said = check()
    assert said.returncode == 1 and "values.yaml" in said.stderr and "values.schema.json" in said.stderr and "kubernetes.md" in said.stderr


def test_versions_are_those_of_the_workspace():
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = yaml.safe_load((PLACE / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == version


SHOP = {"namespaces": {"shop": {}}}
EPHEMERAL = {"journal": {"volume": "emptyDir"}}
ACKNOWLEDGED = {"journal": {"volume": "emptyDir", "acknowledgeLoss": True}}
JOURNAL = {"degrade": {"on_storage_outage": "journal"}}
WRONG = [
    ({"imag": {}}, "additional properties 'imag' not allowed"),
    ({"injector": {"replicas": 0}}, "'/injector/replicas': minimum: got 0, want 1"),
    ({"injector": {"replicas": "2"}}, "'/injector/replicas': got string, want integer"),
    ({"sidecar": {"memLimit": "lots"}}, "'/sidecar/memLimit': 'lots' does not match pattern"),
    ({"sidecar": {"logLevel": "loud"}}, "'/sidecar/logLevel': value must be one of"),
    ({"config": {"storage": {"kind": "gcs"}}}, "'/config/storage/kind': value must be one of"),
    ({"config": {"storage": {"buckett": "b"}}}, "additional properties 'buckett' not allowed"),
    ({"config": {"listen": {"admin": "0.0.0.0:1"}}}, "additional properties 'listen' not allowed"),
    ({"config": {"degrade": {"state_dir": "/tmp"}}}, "additional properties 'state_dir' not allowed"),
    ({"namespaces": {"shop": {"cache": {"values": {"soft": "soon"}}}}}, "'/namespaces/shop/cache/values/soft'"),
    ({"namespaces": {"Not A Name": {}}}, "Not A Name"),
    (SHOP, "namespaces.shop, merged over config, has no storage.kind"),
    (merged(SHOP, {"config": {"storage": {"kind": "memory"}}}), "has no keys.kind"),
    (merged(SHOP, {"config": {"storage": {"kind": "s3", "region": "r"}, "keys": {"kind": "local"}}}), "no storage.bucket"),
    (merged(SHOP, {"config": {"storage": {"kind": "memory"}, "keys": {"kind": "kms", "key_id": "k"}}}), "no keys.region"),
    (merged(SHOP, {"config": {**AWS, "clients": []}}), "has no clients"),
    ({"sweep": {"enabled": True, "namespaces": {"shop": {}}}}, "namespaces has no shop"),
    (merged(SHOP, {"config": {**AWS, "storage": {"kind": "memory"}}, "sweep": {"enabled": True}}), "only s3 is swept from outside"),
    (merged(EPHEMERAL, {"config": JOURNAL}), "acknowledgeLoss"),
    (merged(EPHEMERAL, {"journal": {"acknowledgeLoss": False}, "config": JOURNAL}), "'/journal/acknowledgeLoss'"),
    (ACKNOWLEDGED, "'/config/degrade/on_storage_outage'"),
    (merged(ACKNOWLEDGED, {"config": JOURNAL, "namespaces": {"shop": {"degrade": {"on_storage_outage": "reject"}}}}), "'/namespaces/shop/degrade"),
    ({"image": {"sidecar": {"repository": ""}}}, "image.sidecar.repository is empty, and nobody publishes the images: build and push them"),
    ({"image": {"injector": {"repository": ""}}}, "image.injector.repository is empty"),
    *(({"networkPolicy": {"injector": {"apiServerCidrs": [cidr]}}}, f"'/networkPolicy/injector/apiServerCidrs/0': '{cidr}' does not match pattern")
      for cidr in ("everywhere", "1.2.3.4/99", "1.2.3.4/33", "1.2.3/8", "1.2.3.256/32", "2001:db8::/129", "beef/8")),
    *(({"sweep": {"schedule": cron}}, f"'/sweep/schedule': '{cron}' does not match pattern") for cron in ("99 99 99 99 99", "60 3 * * *", "17 3 * *", "0 0 0 * *", "daily")),
    ({"sweep": {"awsRoleArn": "lunasec-shop-sweep"}}, "'/sweep/awsRoleArn'"),
    ({"injector": {"podDisruptionBudget": {"maxUnavailable": 0}}}, "'/injector/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1"),
    ({"injector": {"certificateLifetime": "0s"}}, "'/injector/certificateLifetime'"),
    ({"injector": {"certificateLifetime": "400d"}}, "injector.certificateLifetime is 400d: with five minutes more that is above a third of injector.authorityLifetime, 365d"),
    ({"injector": {"adminPort": 9000}, "webhook": {"port": 9000}}, "webhook.port and injector.adminPort are both 9000"),
    ({"sidecar": {"memRequest": "1.5Gi"}}, "sidecar.memRequest is 1.5Gi, more than sidecar.memLimit, 448Mi"),
    ({"sidecar": {"cpuRequest": "1", "cpuLimit": "500m"}}, "sidecar.cpuRequest is 1, more than sidecar.cpuLimit, 500m"),
    ({"alerts": {"enabled": True, "ruleLabels": {"severity": "page"}}}, "alerts.ruleLabels.severity"),
    ({"alerts": {"enabled": True}, "injector": {"certificateLifetime": "24h"}}, "certificates of 24h are renewed 28800 seconds before they end"),
    (merged(SHOP, {"alerts": {"enabled": True}, "config": {**AWS, "degrade": {"journal_age": "2d"}}}), "after degrade.journal_age, 2d: the alert would come too late"),
    ({"alerts": {"enabled": True, "thresholds": {"errorRatio": None}}}, "--reset-then-reuse-values"),
    ({"caBundle": "/etc/ca.pem"}, "'/caBundle'"),
    ({"alerts": {"kind": "Rules"}}, "'/alerts/kind': value must be one of"),
]


@pytest.mark.parametrize(("values", "words"), WRONG, ids=[words for _, words in WRONG])
def test_wrong_values_are_refused_with_words(values, words):
    assert words in refusal(values)


TAKEN = [
    {"networkPolicy": {"injector": {"apiServerCidrs": ["10.0.0.0/8", "0.0.0.0/0", "255.255.255.255/32", "::/0", "2001:db8::1/128", "::ffff:10.0.0.1/128"]}}},
    *({"sweep": {"schedule": cron}} for cron in ("*/15 * * * *", "0 0 1 jan sun", "5,10-20/2 0-23 * * 1-5", "@hourly")),
    {"sidecar": {"memRequest": "0.5Gi", "memLimit": "1Ti"}},
    {"injector": {"resources": {"limits": {"ephemeral-storage": "1.5Gi"}}}},
    {"podMonitor": {"enabled": True, "interval": "1m30s"}},
    {"injector": {"certificateLifetime": "24h"}, "alerts": {"enabled": True, "thresholds": {"certificateSeconds": 3600}}},
]


@pytest.mark.parametrize("values", TAKEN, ids=map(str, TAKEN))
def test_right_values_are_taken(values):
    assert text(values)


def test_without_an_image_of_ones_own_nothing_is_rendered():
    with pytest.raises(helm_python.HelmError, match="repository is empty"):
        CHART.render({}, name="lunasec", namespace="lunasec")


BLOCKS = [
    ("alerts",), ("check",), ("commonLabels",), ("dashboard",), ("injector", "podAnnotations"), ("injector", "podDisruptionBudget"), ("journal",),
    ("networkPolicy", "dnsPorts"), ("networkPolicy", "injector"), ("networkPolicy", "sidecars"), ("networkPolicy", "sweeps"), ("podMonitor",),
    ("sidecar", "adminPort"), ("sweep",), ("sweep", "namespaces"), ("webhook", "port"),
]  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS, ids=map(".".join, BLOCKS))
def test_a_block_that_kept_values_do_not_have_is_no_error(block):
    """`helm upgrade --reuse-values` knows nothing of what the older chart did not have."""
    values = copy.deepcopy(BASE)
    values["namespaces"].pop("probe")
    put(values, block, None)
    assert text(values)


def test_a_journal_is_refused_by_default_and_taken_on_a_volume_or_acknowledged():
    assert 'on_storage_outage = "reject"' in text({"config": AWS}, SHOP)
    for told in ({}, ACKNOWLEDGED):
        toml = find(objects(merged({"config": merged(AWS, JOURNAL)}, SHOP, told)), "ConfigMap", "lunasec")["data"]["lunasec.toml"]
        assert 'on_storage_outage = "journal"' in toml and check_toml(toml).returncode == 0


def test_no_sample_is_the_value_that_is_there():
    for path, field, now in LEAVES:
        assert another(SCHEMA, resolve(SCHEMA, field), now) != now, path
