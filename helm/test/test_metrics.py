"""Every query of the dashboard and of the alerts runs in a real Prometheus that has scraped a real sidecar."""

import json
import re

import pytest
import yaml
from chart import ROOT, find, objects
from fleet import fleet

RULES = [
    rule
    for group in find(objects({"alerts": {"enabled": True}, "sweep": {"enabled": True}}), "PrometheusRule", "lunasec")["spec"]["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads(find(objects({"dashboard": {"enabled": True}}), "ConfigMap", "lunasec-dashboard")["data"]["lunasec.json"])
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
CODES = set(re.findall(r'^    \w+ = "(\w+)",', (ROOT / "sidecar/api/src/code.rs").read_text(), re.M)) | {"ok", "cancelled"}
# What Prometheus itself says.
OF_PROMETHEUS = {"up"}
# Values that no series has on a healthy day, and where the code says that they are.
UNSEEN = {("code", code) for code in CODES} | {("result", "refused"), ("result", "hit"), ("result", "stale"), ("operation", "sweep")}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


def filled(query: str) -> str:
    return query.replace("$namespace", ".*").replace("$pod", ".*").replace("$__rate_interval", "1m")


def names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:lunasec_\w+|kube_\w+|up)\b", re.sub(r'"[^"]*"', "", query)))


def unknown(server, query: str) -> list[str]:
    """Metrics, labels and values of a query that nothing exposes."""
    query = filled(query)
    series = {name: server.series(name) for name in names(query)}
    wrong = [name for name, found in series.items() if not found]
    labels = {label for found in series.values() for each in found for label in each}
    grouped = {label.strip() for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(",")}
    wrong += sorted(grouped - labels)
    for name, matchers in re.findall(r"\b(lunasec_\w+|kube_\w+|up)\{([^}]*)\}", query):
        for label, operator, text in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            values = {each.get(label) for each in series[name]}
            wanted = set(text.split("|")) if operator in ("=~", "!~") and ".*" not in text else {text}
            if values == {None}:
                wrong.append(f"{name}{{{label}}}")
            elif ".*" not in text and ".+" not in text:
                wrong += [f"{label}={each}" for each in sorted(wanted - values) if (label, each) not in UNSEEN]
    return wrong


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_has_data(server, panel):
    for target in panel["targets"]:
        assert unknown(server, target["expr"]) == []
        found = server.query(filled(target["expr"]))
        assert found, "no data"
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert all(each["metric"].get(label) for each in found), f"no {label}"


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_asks_for_what_is_there(server, rule):
    assert unknown(server, rule["expr"]) == []
    server.query(rule["expr"])
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", rule["expr"]))))
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= grouped


def test_on_a_healthy_day_only_the_canary_and_the_denied_pod_count(server):
    fire = {rule["alert"] for rule in RULES if server.query(rule["expr"])}
    # Both were there from the first scrape on, which is news, too.
    assert fire == {"LunasecCanaryUsed", "LunasecPodsDenied"}


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("rate(lunasec_request_total[5m])", ["lunasec_request_total"]),
        ("sum by (op) (lunasec_requests_total)", ["op"]),
        ('lunasec_dependency_up{dependency="s3"}', ["dependency=s3"]),
        ('lunasec_build_info{dependency="storage"}', ["lunasec_build_info{dependency}"]),
    ],
)
def test_a_name_that_nothing_exposes_is_seen(server, query, wrong):
    assert unknown(server, query) == wrong


def test_the_dashboard_has_its_rows_and_no_panel_lies_on_another():
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [row["title"] for row in yaml.safe_load((ROOT / "helm/lunasec/files/dashboard.yaml").read_text())["rows"]] and len(rows) == 8
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_metric_of_the_sidecar_is_on_the_dashboard(server):
    shown = set().union(*(names(target["expr"]) for panel in PANELS for target in panel["targets"]))
    exposed = {each["metric"]["__name__"] for each in server.query('{__name__=~"lunasec_.+"}')}
    parts = {name.removesuffix(end) + "_bucket" for name in exposed for end in ("_sum", "_count") if name.endswith(end)}
    assert {name for name in exposed if not name.endswith(("_sum", "_count"))} | parts == {name for name in shown if not name.endswith(("_sum", "_count"))}
