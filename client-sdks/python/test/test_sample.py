"""The sample, run as it is, beside a real sidecar that goes away and comes back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sidecar import Sidecar

ROOT = Path(__file__).parent.parent
VALUES = {"name": "Alice Liddell", "phone": "+49 30 901820", "card": "4111 1111 1111 1111"}


class Service:
    def __init__(self, sidecar: Sidecar) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="sv-")
        self.directory = Path(self._directory.name)
        self.socket = str(self.directory / "web.sock")
        path = os.pathsep.join([str(ROOT / "samples/service"), str(ROOT / "src")])
        environment = {
            **os.environ,
            "LUNASEC_SOCKET": sidecar.socket,
            "SERVICE_DATABASE": str(self.directory / "db"),
            "PYTHONPATH": path,
        }
        with open(self.directory / "log", "wb") as log:
            command = [sys.executable, "-m", "service", self.socket]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(self.socket) == 0

    def log(self) -> str:
        return (self.directory / "log").read_text()

    @contextmanager
    def browser(self, agent: str | None) -> Iterator[httpx.Client]:
        transport = httpx.HTTPTransport(uds=self.socket)
        with httpx.Client(transport=transport, base_url="http://service") as client:
            if agent is not None:
                assert client.post("/log-in", json={"agent": agent}).status_code == 200
            yield client

    def stored(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.directory.glob("db*"))

    def end(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(30)
        self._directory.cleanup()
        return code


@pytest.fixture
def service(own_sidecar: Sidecar) -> Iterator[Service]:
    running = Service(own_sidecar)
    yield running
    running.end()


def test_a_day_at_the_customer_service(service: Service, own_sidecar: Sidecar) -> None:
    with service.browser("ann") as ann, service.browser("bob") as bob, service.browser(None) as nobody:
        assert nobody.get("/customers").status_code == 401
        assert ann.post("/customers", json=VALUES).json() == {"id": 1}
        assert ann.get("/customers").json() == [{"id": 1, "name": VALUES["name"]}]
        shown = ann.get("/customers/1").json()
        assert (shown["name"], shown["phone"]) == (VALUES["name"], VALUES["phone"])
        card = shown["card"]
        assert card.startswith("lunasec-")

        order = {"card": card, "article": "a pocket watch"}
        assert bob.post("/customers/1/orders", json=order).status_code == 403
        assert ann.post("/customers/1/orders", json=order).json() == {"id": 1, "article": "a pocket watch"}
        assert ann.post("/customers/1/orders", json={**order, "card": VALUES["card"]}).status_code == 422
        assert ann.post("/customers", json={**VALUES, "name": card}).status_code == 400

        own_sidecar.kill()
        page = ann.get("/customers")
        assert (page.status_code, page.json()) == (200, [{"id": 1, "name": "••••"}])
        assert page.headers["lunasec-degraded"] == "sidecar_unreachable"
        for refused in (ann.get("/customers/1"), ann.post("/customers", json=VALUES), ann.delete("/customers/1")):
            assert refused.status_code == 503
            assert refused.headers["content-type"] == "application/problem+json"
        own_sidecar.start()

        assert ann.get("/customers").json() == [{"id": 1, "name": VALUES["name"]}]
        assert ann.post("/customers/1/orders", json=order).status_code == 201
        assert ann.post("/log-out").json() == {"bye": True}
        assert ann.get("/customers").status_code == 401

        assert bob.delete("/customers/1").status_code == 204
        assert bob.get("/customers/1").status_code == 404
        for value in VALUES.values():
            assert value.encode() not in service.stored()
            assert value not in service.log()


def test_it_starts_before_its_sidecar_and_ends_when_it_is_told() -> None:
    late = Sidecar(start=False)
    service = Service(late)
    try:
        with service.browser("ann") as ann:
            late.start()
            assert ann.post("/customers", json=VALUES).status_code == 201
        assert b"lunasec-" in service.stored()
    finally:
        assert service.end() in (0, -signal.SIGTERM)
        late.end()
