"""What stands in for the injector's metrics is what the injector exposes: by its source and, if it was built, by itself."""

import os
import re
import urllib.request

from chart import ROOT, find, objects
from fleet import INJECTOR, eventually, process

SOURCE = ROOT / "k8s" / "injector" / "src"
BINARY = os.environ.get("LUNASEC_INJECTOR_BIN")
# It need not be there.
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: none}}]
current-context: c
"""


def series(text: str) -> set[str]:
    """Names with their labels."""
    return {line.rsplit(" ", 1)[0] for line in text.splitlines() if line and not line.startswith("#")}


def test_every_metric_of_its_source_is_there_and_no_other():
    code = (SOURCE / "telemetry.rs").read_text()
    assert 'Registry::with_prefix("lunasec_injector")' in code
    plain = re.findall(r'\.register\(\s*"(\w+)"', code)
    timed = re.findall(r'\.register_with_unit\(\s*"(\w+)",[^;]*Unit::Seconds', code)
    assert len(plain) + len(timed) == code.count(".register(") + code.count(".register_with_unit(")
    declared = {f"lunasec_injector_{name}" for name in plain} | {f"lunasec_injector_{name}_seconds" for name in timed}
    assert declared == set(re.findall(r"^# TYPE (\w+)", INJECTOR, re.M))


def test_its_buckets_and_results_are_those_of_its_source():
    code = (SOURCE / "telemetry.rs").read_text()
    [buckets] = re.findall(r"const BUCKETS: \[f64; \d+\] =\s*\[([^\]]*)\]", code)
    told = re.findall(r'_bucket\{le="([^"]+)"\}', INJECTOR)
    assert [float(each) for each in told] == [*(float(each) for each in buckets.split(",") if each.strip()), float("inf")]
    for metric, path in (("decisions", "review.rs"), ("restarts", "telemetry.rs")):
        said = set(re.findall(r'Self::\w+ => "(\w+)",', (SOURCE / path).read_text()))
        assert set(re.findall(rf'{metric}_total\{{result="(\w+)"\}}', INJECTOR)) == said, metric


if BINARY:

    def test_the_injector_takes_the_charts_settings_and_exposes_this(tmp_path):
        settings = find(objects(), "ConfigMap", "lunasec-injector")["data"]["injector.toml"]
        (tmp_path / "kubeconfig").write_text(KUBECONFIG)
        (tmp_path / "injector.toml").write_text(re.sub(r'^listen = .*', 'listen = "127.0.0.1:0"', settings, flags=re.M))
        log = tmp_path / "log"
        with process([BINARY, "serve", "--config", str(tmp_path / "injector.toml")], log, KUBECONFIG=str(tmp_path / "kubeconfig")) as started:
            eventually(f"it serves: {log}", lambda: "admin on http://" in log.read_text(), started)
            address = re.search(r"admin on (http://\S+)", log.read_text())[1]
            with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
                assert series(answer.read().decode()) == series(INJECTOR)
