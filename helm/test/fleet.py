"""A real sidecar that has worked, a real Prometheus that has scraped it, and what the injector and kube-state-metrics expose."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator

from chart import BINARY

PATIENCE = 90
# What the injector exposes: test_injector.py compares it with k8s/injector.
INJECTOR = """\
# TYPE lunasec_injector_decisions counter
lunasec_injector_decisions_total{result="injected"} 7
lunasec_injector_decisions_total{result="skipped"} 1
lunasec_injector_decisions_total{result="denied"} 1
lunasec_injector_decisions_total{result="invalid"} 0
lunasec_injector_decisions_total{result="overloaded"} 0
lunasec_injector_decisions_total{result="failed"} 0
# TYPE lunasec_injector_decision_duration_seconds histogram
lunasec_injector_decision_duration_seconds_sum 0.01
lunasec_injector_decision_duration_seconds_count 9
lunasec_injector_decision_duration_seconds_bucket{le="0.00005"} 0
lunasec_injector_decision_duration_seconds_bucket{le="0.0001"} 2
lunasec_injector_decision_duration_seconds_bucket{le="0.00025"} 5
lunasec_injector_decision_duration_seconds_bucket{le="0.0005"} 7
lunasec_injector_decision_duration_seconds_bucket{le="0.001"} 8
lunasec_injector_decision_duration_seconds_bucket{le="0.0025"} 8
lunasec_injector_decision_duration_seconds_bucket{le="0.01"} 9
lunasec_injector_decision_duration_seconds_bucket{le="0.05"} 9
lunasec_injector_decision_duration_seconds_bucket{le="0.25"} 9
lunasec_injector_decision_duration_seconds_bucket{le="1.0"} 9
lunasec_injector_decision_duration_seconds_bucket{le="2.5"} 9
lunasec_injector_decision_duration_seconds_bucket{le="+Inf"} 9
# TYPE lunasec_injector_certificate_expiry_seconds gauge
lunasec_injector_certificate_expiry_seconds{what="serving"} 2592000
lunasec_injector_certificate_expiry_seconds{what="authority"} 31536000
# TYPE lunasec_injector_missed_pods gauge
lunasec_injector_missed_pods 0
# TYPE lunasec_injector_restarts counter
lunasec_injector_restarts_total{result="evicted"} 0
lunasec_injector_restarts_total{result="waiting"} 0
lunasec_injector_restarts_total{result="failed"} 0
# TYPE lunasec_injector_leader gauge
lunasec_injector_leader 1
# TYPE lunasec_injector_webhook_in_order gauge
lunasec_injector_webhook_in_order 1
# TYPE lunasec_injector_build info
lunasec_injector_build_info{version="0.1.0"} 1
# EOF
"""
# What kube-state-metrics exposes of a sweep that went well, and of a sidecar.
KUBE = """\
# TYPE kube_cronjob_created gauge
kube_cronjob_created{namespace="shop",cronjob="lunasec-sweep"} 100
# TYPE kube_cronjob_status_last_successful_time gauge
kube_cronjob_status_last_successful_time{namespace="shop",cronjob="lunasec-sweep"} NOW
# TYPE kube_job_created gauge
kube_job_created{namespace="shop",job_name="lunasec-sweep-29"} 200
# TYPE kube_job_failed gauge
kube_job_failed{namespace="shop",job_name="lunasec-sweep-29",condition="true"} 0
kube_job_failed{namespace="shop",job_name="lunasec-sweep-29",condition="false"} 1
# TYPE kube_pod_init_container_status_restarts counter
kube_pod_init_container_status_restarts_total{namespace="shop",pod="shop-0",container="lunasec"} 0
# EOF
"""


def eventually(what: str, condition, process: subprocess.Popen | None = None):
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert process is None or process.poll() is None, f"it ended: {what}"
        assert time.monotonic() < deadline, f"never: {what}"
        # There is nothing that would say it.
        time.sleep(0.05)
    return answer


@contextlib.contextmanager
def process(command: list[str], log: pathlib.Path, **environment: str) -> Iterator[subprocess.Popen]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUNASEC_")}
    with log.open("wb") as output:
        started = subprocess.Popen(command, env={**clean, **environment}, stdout=output, stderr=output)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(PATIENCE)


class Unix(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path):
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))

    def ask(self, route: str, **body: object) -> dict:
        self.request("POST", f"/v1/{route}", json.dumps(body), {"content-type": "application/json", "lunasec-session": "s1"})
        return json.loads(self.getresponse().read())


def work(connection: Unix) -> None:
    """Something of everything: each operation, an error, and a canary that is used."""
    token = connection.ask("tokenize", value="4111 1111 1111 1111")["token"]
    connection.ask("tokenize:batch", items=[{"value": "a"}])
    for _ in range(5):
        assert connection.ask("detokenize", token=token)["value"]
    connection.ask("detokenize:batch", tokens=[token])
    connection.ask("metadata/set", token=token, metadata={"a": "b"})
    connection.ask("metadata/get", token=token)
    connection.ask("grants/create", session="s1", tokens=[token])
    connection.ask("grants/verify", session="s1", tokens=[token])
    assert connection.ask("detokenize", token="lunasec-" + "00000000-0000-4000-8000-000000000000")["code"] == "not_found"
    canary = connection.ask("canaries/create", note="probe")
    assert connection.ask("detokenize", token=canary["token"])["code"] == "not_found", canary


@contextlib.contextmanager
def sidecar(directory: pathlib.Path) -> Iterator[tuple[str, Unix]]:
    place = directory / "sidecar"
    command = [BINARY, "dev", "--dir", str(place), "--admin", "127.0.0.1:0"]
    audit = {"LUNASEC_AUDIT__SINK": "file", "LUNASEC_AUDIT__PATH": str(directory / "audit.jsonl"), "LUNASEC_DEGRADE__STATE_DIR": str(place / "state")}
    log = directory / "sidecar.log"
    with process(command, log, **audit) as started:
        eventually(f"the sidecar serves: {log}", lambda: "serving" in log.read_text(), started)
        admin = re.search(r"http://(127\.0\.0\.1:\d+)/", log.read_text())[1]
        yield admin, Unix(place / "lunasec.sock")


@contextlib.contextmanager
def exposed(text: str) -> Iterator[str]:
    """A server that says it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def configuration(admin: str, its: str, state: str) -> str:
    def job(name: str, target: str, **labels: str) -> dict:
        return {"job_name": name, "static_configs": [{"targets": [target], "labels": labels}]}

    jobs = [job("lunasec/lunasec-sidecars", admin, namespace="shop", pod="shop-0"), job("lunasec/lunasec-injector", its, namespace="lunasec", pod="i-0")]
    jobs.append({**job("kube-state-metrics", state), "honor_labels": True})
    return json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs})


class Prometheus:
    def __init__(self, address: str):
        self._at = f"http://{address}/api/v1/"

    def api(self, path: str, **parameters: str) -> dict:
        with urllib.request.urlopen(self._at + path + "?" + urllib.parse.urlencode(parameters), timeout=PATIENCE) as answer:
            return json.load(answer)

    def query(self, text: str) -> list[dict]:
        answer = self.api("query", query=text)
        assert answer["status"] == "success" and not answer.get("warnings")
        return answer["data"]["result"]

    def series(self, name: str) -> list[dict[str, str]]:
        return [each["metric"] for each in self.query(name)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def prometheus(directory: pathlib.Path, *targets: str) -> Iterator[Prometheus]:
    (directory / "prometheus.yml").write_text(configuration(*targets))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={directory / 'prometheus.yml'}", f"--storage.tsdb.path={directory / 'tsdb'}", f"--web.listen-address={address}"]
    log = directory / "prometheus.log"
    with process(command, log) as started:
        eventually(f"Prometheus is ready: {log}", lambda: "Server is ready" in log.read_text(), started)
        yield Prometheus(address)


@contextlib.contextmanager
def fleet(directory: pathlib.Path) -> Iterator[Prometheus]:
    state = KUBE.replace("NOW", str(int(time.time())))
    with (
        sidecar(directory) as (admin, connection),
        exposed(INJECTOR) as its,
        exposed(state) as kube,
        prometheus(directory, admin, its, kube) as server,
    ):
        work(connection)
        ready = 'min(count_over_time(up[1m])) >= 4 and min(up) == 1 and count(lunasec_canaries_used_total) == 1'
        eventually("some scrapes", lambda: server.query(ready))
        yield server
