"""A sidecar as a process, and requests to it."""

import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time

from . import cloud

CONFIG = """
[listen]
socket = "{place}/lunasec.sock"
admin = "127.0.0.1:0"

[storage]
kind = "s3"
bucket = "lunasec"
region = "eu-central-1"
endpoint = "{storage}"
path_style = true

[keys]
kind = "kms"
key_id = "alias/lunasec"
region = "eu-central-1"
endpoint = "{keys}"

[degrade]
state_dir = "{place}/state"
"""

BRIDGES = """on_storage_outage = "journal"
disk_cache = true
standby_key_file = "{place}/standby.key"
"""


def build():
    """The release binary of this checkout."""
    command = ["cargo", "build", "--release", "--locked", "--bin", "lunasec", "--message-format", "json"]
    built = subprocess.run(command, cwd=cloud.ROOT, stdout=subprocess.PIPE, check=True, text=True)
    for line in built.stdout.splitlines():
        if path := json.loads(line).get("executable"):
            return path
    sys.exit("dev/drill: cargo did not say where the binary is")


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.degraded = response.getheader("lunasec-degraded")
        self.body = json.loads(response.read())

    def code(self):
        return self.body.get("code")

    def item(self):
        return self.body["items"][0]


class Sidecar:
    """One process; `bridges` turns on all that outlives an outage."""

    def __init__(self, binary, place, storage, keys, bridges=False):
        place.mkdir(mode=0o700)
        self.place, self._binary = place, binary
        text = CONFIG.format(place=place, storage=storage, keys=keys)
        if bridges:
            key = place / "standby.key"
            key.touch(mode=0o600)
            key.write_text(f"lunasec-local-key-v1:{secrets.token_hex(32)}\n")
            text += BRIDGES.format(place=place)
        (place / "lunasec.toml").write_text(text)
        self._log = (place / "log").open("a")
        self.start()

    def start(self):
        aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
        command = [self._binary, "serve", "--config", self.place / "lunasec.toml"]
        self._process = subprocess.Popen(
            command, env=os.environ | aws, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        if not self._process.stdout.readline().startswith("serving on"):
            sys.exit(f"dev/drill: the sidecar did not start: {(self.place / 'log').read_text()}")

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()

    def ask(self, path, body=None):
        connection = http.client.HTTPConnection("localhost", timeout=30)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(self.place / "lunasec.sock"))
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer = Answer(connection.getresponse())
        connection.close()
        return answer

    def pending(self):
        return self.ask("/v1/status").body["journal"]["pending"]

    def drain(self, patience=60):
        deadline = time.monotonic() + patience
        while self.pending():
            if time.monotonic() > deadline:
                sys.exit("dev/drill: the journal is not drained")
            time.sleep(0.1)
