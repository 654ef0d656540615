"""promtool plays each alert: a case in which it fires and one in which it does not."""

import re
import subprocess

import pytest
import yaml
from chart import find, objects

RULES = find(objects({"alerts": {"enabled": True, "kind": "ConfigMap"}, "sweep": {"enabled": True}}), "ConfigMap", "lunasec-alerts")["data"]["lunasec.rules.yaml"]
ALERTS = [rule["alert"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]]
POD = 'namespace="shop",pod="shop-0"'


def dependency(name: str) -> tuple:
    series = f'lunasec_dependency_up{{{POD},dependency="{name}"}}'
    # A blip of two minutes is none.
    return {series: "1x5 0x30"}, {series: "1x5 0x1 1x30"}


def asked(name: str) -> tuple:
    """The same of one that is asked over the network: it counts while it is asked in vain."""
    up = f'lunasec_dependency_up{{{POD},dependency="{name}"}}'
    calls = f'lunasec_dependency_requests_total{{{POD},dependency="{name}",operation="get",result="unavailable"}}'
    return {up: "1x5 0x30", calls: "_x5 1+1x30"}, {up: "1x5 0x1 1x30", calls: "_x5 1x60"}


def requests(code: str, bad: str, good: str) -> tuple:
    """Answers with that code, beside 100 that are well each minute."""
    well = f'lunasec_requests_total{{{POD},operation="tokenize",code="ok"}}'
    ill = f'lunasec_requests_total{{{POD},operation="tokenize",code="{code}"}}'
    return {well: "0+100x60", ill: bad}, {well: "0+100x60", ill: good}


def gauge(name: str, bad: str, good: str, labels: str = POD) -> tuple:
    return {f"{name}{{{labels}}}": bad}, {f"{name}{{{labels}}}": good}


def histogram(name: str, labels: str, middle: str) -> tuple:
    """All within `middle` seconds, or all above."""
    parts = [f'{name}_bucket{{{labels}le="{le}"}}' for le in (middle, "10", "+Inf")]
    return dict(zip(parts, ("0x60", "0+60x60", "0+60x60"), strict=True)), dict(zip(parts, ("0+60x60",) * 3, strict=True))


SWEEP = 'namespace="shop",cronjob="lunasec-sweep"'


def swept(bad: str, good: str) -> tuple:
    """A Job that was made at 100, and whether it failed."""
    job = 'namespace="shop",job_name="lunasec-sweep-29"'
    there = {f"kube_job_created{{{job}}}": "100x60", f"kube_cronjob_created{{{SWEEP}}}": "10x60"}
    failed = f'kube_job_failed{{{job},condition="true"}}'
    return {**there, failed: bad}, {**there, failed: good}


# What is there when it fires, and what is there when it does not; minute by minute, for half an hour.
CASES = {
    "LunasecSidecarAway": gauge("up", "1x5 0x30", "1x60", f'job="lunasec/lunasec-sidecars",{POD}'),
    # One that a node has killed is none, nor are two.
    "LunasecSidecarRestarts": gauge("kube_pod_init_container_status_restarts_total", "0x10 1x4 2x4 3x4 4x30", "0x10 1x5 2x40", f'{POD},container="lunasec"'),
    "LunasecStorageAway": asked("storage"),
    "LunasecKeysAway": asked("keys"),
    "LunasecStateAway": dependency("state"),
    "LunasecAuditAway": dependency("audit"),
    "LunasecErrors": requests("storage_unavailable", "0+5x60", "0+0.5x60"),
    "LunasecCorrupted": requests("corrupted", "0x25 1x30", "1x60"),
    "LunasecSlow": histogram("lunasec_request_duration_seconds", f'{POD},operation="tokenize",', "1"),
    "LunasecDegraded": tuple(
        {f'lunasec_requests_total{{{POD},operation="detokenize",code="ok"}}': "0+100x60", f'lunasec_degraded_answers_total{{{POD},reason="storage"}}': each}
        for each in ("0+20x60", "0+2x60")
    ),
    "LunasecJournalWaits": gauge("lunasec_journal_oldest_seconds", "3601+60x60", "0+60x60"),
    "LunasecJournalExpires": gauge("lunasec_journal_oldest_seconds", "432001x60", "431999x60"),
    "LunasecJournalFull": requests("journal_full", "0x28 3x30", "3x60"),
    "LunasecReplayRefused": gauge("lunasec_journal_replayed_total", "0x25 1x30", "1x60", f'{POD},result="refused"'),
    "LunasecDataKeyOld": tuple(
        {f"lunasec_data_key_age_seconds{{{POD}}}": age, f'lunasec_requests_total{{{POD},operation="tokenize",code="ok"}}': "0+1x60"}
        for age in ("172801x60", "86399x60")
    ),
    "LunasecClockSkew": gauge("lunasec_clock_skew_seconds", "-61x60", "59x60"),
    "LunasecCanaryUsed": gauge("lunasec_canaries_used_total", "_x25 1x30", "_x60", f'{POD},operation="detokenize"'),
    "LunasecInjectorAway": gauge("lunasec_injector_build_info", "1x5 _x60", "1x60", 'version="0.1.0"'),
    "LunasecInjectorNoLeader": tuple({'lunasec_injector_leader{pod="i-0"}': "0x60", 'lunasec_injector_leader{pod="i-1"}': each} for each in ("0x60", "1x60")),
    "LunasecWebhookNotInOrder": tuple({'lunasec_injector_webhook_in_order{pod="i-0"}': "0x60", 'lunasec_injector_webhook_in_order{pod="i-1"}': each} for each in ("0x60", "1x60")),
    "LunasecPodsWithoutSidecar": gauge("lunasec_injector_missed_pods", "0x5 1x30", "0x5 1x5 0x30", 'pod="i-0"'),
    "LunasecRestartsFail": gauge("lunasec_injector_restarts_total", "0x25 1x30", "1x60", 'result="failed"'),
    "LunasecPodsDenied": gauge("lunasec_injector_decisions_total", "0x25 1x30", "1x60", 'result="denied"'),
    "LunasecInjectorSlow": histogram("lunasec_injector_decision_duration_seconds", "", "1"),
    "LunasecCertificateExpires": gauge("lunasec_injector_certificate_expiry_seconds", "259199x60", "259201x60", 'what="serving"'),
    "LunasecSweepFailed": swept("1x60", "0x60"),
    "LunasecSweepAway": gauge("kube_cronjob_status_last_successful_time", "-180000x60", "-170000x60", SWEEP),
}

# More of what there is when one fires: sidecars and injectors make series when the first such thing happens, and restart.
FIRE_TOO = {
    "LunasecStorageAway": {**asked("storage")[0], 'lunasec_dependency_up{namespace="shop",pod="shop-1",dependency="storage"}': "1x60"},
    "LunasecErrors": requests("storage_unavailable", "_x10 5+5x60", "")[0],
    "LunasecCorrupted": requests("corrupted", "_x25 1x30", "")[0],
    "LunasecJournalFull": requests("journal_full", "_x27 50x40", "")[0],
    "LunasecReplayRefused": gauge("lunasec_journal_replayed_total", "_x25 1x30", "", f'{POD},result="refused"')[0],
    "LunasecCanaryUsed": gauge("lunasec_canaries_used_total", "0x25 1x30", "", f'{POD},operation="detokenize"')[0],
    "LunasecRestartsFail": gauge("lunasec_injector_restarts_total", "_x25 1x30", "", 'pod="i-1",result="failed"')[0],
    "LunasecPodsDenied": gauge("lunasec_injector_decisions_total", "_x25 1x30", "", 'pod="i-1",result="denied"')[0],
    # None has gone well since it was made, two days and two hours ago.
    "LunasecSweepAway": gauge("kube_cronjob_created", "-180000x60", "", SWEEP)[0],
}
# And when one does not.
SILENT_TOO = {
    # Storage is back, or away: nobody asks, so that nobody fails.
    "LunasecStorageAway": {
        f'lunasec_dependency_up{{{POD},dependency="storage"}}': "1x5 0x60",
        f'lunasec_dependency_requests_total{{{POD},dependency="storage",operation="get",result="unavailable"}}': "_x5 1 2 3x60",
    },
    # It failed, and nobody asked a second time.
    "LunasecKeysAway": {
        f'lunasec_dependency_up{{{POD},dependency="keys"}}': "1x27 0x60",
        f'lunasec_dependency_requests_total{{{POD},dependency="keys",operation="make",result="unavailable"}}': "_x27 1x60",
    },
    # Nothing was tokenized since Friday.
    "LunasecDataKeyOld": {f"lunasec_data_key_age_seconds{{{POD}}}": "172801x60", f'lunasec_requests_total{{{POD},operation="tokenize",code="ok"}}': "9x60"},
    # There once, and long ago.
    "LunasecCorrupted": requests("corrupted", "_x5 1x60", "")[0],
    "LunasecJournalFull": requests("journal_full", "_x5 1x60", "")[0],
    "LunasecPodsDenied": gauge("lunasec_injector_decisions_total", "0x60", "", 'pod="i-1",result="denied"')[0],
    # One failed, and the next one went well.
    "LunasecSweepFailed": {**swept("1x60", "")[0], f"kube_cronjob_status_last_successful_time{{{SWEEP}}}": "200x60"},
}


def case(name: str, series: dict, fires: bool) -> dict:
    firing = f'count(count by (alertname) (ALERTS{{alertname="{name}",alertstate="firing"}}))'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": "30m", "exp_samples": expected}],
    }


def play(tmp_path, tests: list[dict]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}))
    return subprocess.run(["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True)


def test_promtool_takes_the_rules(tmp_path):
    (tmp_path / "rules.yaml").write_text(RULES)
    said = subprocess.run(["promtool", "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0 and f"{len(ALERTS)} rules found" in said.stdout, said.stdout + said.stderr


def test_each_alert_has_its_cases():
    assert list(CASES) == ALERTS


@pytest.mark.parametrize("fires", [True, False], ids=["fires", "does not"])
def test_each_alert(tmp_path, fires):
    said = play(tmp_path, [case(name, series[not fires], fires) for name, series in CASES.items()])
    assert said.returncode == 0, said.stdout + said.stderr


def test_they_fire_also_of_series_that_are_born_at_one_and_not_of_what_nobody_asks(tmp_path):
    more = [case(name, series, fires) for of, fires in ((FIRE_TOO, True), (SILENT_TOO, False)) for name, series in of.items()]
    said = play(tmp_path, more)
    assert said.returncode == 0, said.stdout + said.stderr


# kube-state-metrics makes its series with the pod.
def test_each_that_counts_what_should_not_happen_once_is_tried_with_a_series_that_is_born_at_one():
    rules = {rule["alert"]: rule["expr"] for group in yaml.safe_load(RULES)["groups"] for rule in group["rules"]}
    once = {name for name, expression in rules.items() if re.search(r"\bincrease\((?!kube_)", expression) and "dependency_up" not in expression}
    assert once <= {*FIRE_TOO} and len(once) == 6
    for name in once:
        assert re.search(r"unless lunasec_\w+(\{[^}]*\})? offset", rules[name]), name


def test_each_case_would_fail_if_it_came_out_otherwise(tmp_path):
    said = play(tmp_path, [case(name, series[0], False) for name, series in CASES.items()])
    failed = re.findall(r'alertname=\\"(\w+)\\"', said.stdout + said.stderr)
    assert failed == list(CASES)
