"""The Docker way, as far as it can be proven without an engine: a stand-in answers in its place."""

import unittest

import yaml
from emulators import run_localstack
from world import DEV, World, round_trip

STAND_IN = """#!/bin/sh
# Runs moto where Docker would run the container.
set -eu
echo "$@" >> "$0.calls"
case "$*" in
    version*|"compose version") [ -e "$0.up" ] || [ ! -e "$0.broken" ] ;;
    *" up --detach") "{dev}/server" moto --stay --port "$LUNASEC_DEV_PORT" --port-file "$0.up" > /dev/null 2>&1 < /dev/null & echo $! > "$0.pid" ;;
    *" ps "*) if kill -0 "$(cat "$0.pid" 2>/dev/null || echo x)" 2>/dev/null; then echo 0123456789ab; fi ;;
    *" down --volumes") kill "$(cat "$0.pid")"; while kill -0 "$(cat "$0.pid")" 2>/dev/null; do sleep 0.05; done ;;
    *) exit 64 ;;
esac
"""


class Docker(unittest.TestCase):
    def setUp(self):
        self.world = World(self)
        self.docker = self.world.directory / "docker"
        self.docker.write_text(STAND_IN.replace("{dev}", str(DEV)))
        self.docker.chmod(0o755)
        self.world.environment["PATH"] = f"{self.world.directory}:{self.world.environment['PATH']}"

    def test_an_engine_that_answers_is_taken(self):
        first = self.world.up("--port", "0")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertIn("LocalStack in Docker", first.stdout)
        round_trip(self.world.endpoint())
        self.assertIn("already run", self.world.up("--port", "0").stdout)
        calls = self.docker.with_name("docker.calls").read_text()
        self.assertEqual(calls.count(" up --detach"), 1)
        self.assertIn(f"compose --file {DEV / 'compose.yaml'} up --detach", calls)
        self.assertIn("Stopped.", self.world.down().stdout)
        self.assertEqual(self.world.processes(), {})
        self.assertIn("Nothing to stop", self.world.down().stdout)

    def test_a_client_without_an_engine_is_passed_over(self):
        self.docker.with_name("docker.broken").touch()
        up = self.world.up("--port", "0")
        self.assertEqual(up.returncode, 0, up.stderr)
        self.assertNotIn("Docker", up.stdout)
        self.world.down()

    def test_the_container_is_pinned_and_on_loopback(self):
        service = yaml.safe_load((DEV / "compose.yaml").read_text())["services"]["aws"]
        wanted = [
            line
            for line in (DEV / "localstack.txt").read_text().splitlines()
            if line.startswith("localstack-core==")
        ]
        self.assertEqual([f"localstack-core=={service['image'].split(':')[1]}"], wanted)
        self.assertEqual(service["ports"], ["127.0.0.1:${LUNASEC_DEV_PORT:-4566}:4566"])
        self.assertEqual({**service["environment"], "LS_LOG": "warning"}, run_localstack.SETTINGS)
