"""What runs, as files in one directory, so that `down` stops that and nothing else.

The server holds a lock on one of them for as long as it lives: the kernel gives it back however the
server ends, and a process id is believed only while the lock is held."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import signal
import time

from . import cloud

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
DEFAULT = REPOSITORY / ".lunasec" / "aws"
PATIENCE = 20


class State:
    def __init__(self, directory: pathlib.Path):
        self.directory = directory.resolve()
        self.lock = self.directory / "lock"
        self.pid = self.directory / "pid"
        self.engine = self.directory / "engine"
        self.endpoint = self.directory / "endpoint"
        self.log = self.directory / "server.log"
        self.config = self.directory / "lunasec.toml"
        self.environment = self.directory / "env"

    def take(self) -> int | None:
        """The lock, as a descriptor that a child can inherit; nothing if a server holds it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def read(self, path: pathlib.Path) -> str:
        try:
            return path.read_text()
        except FileNotFoundError:
            return ""

    def forget(self) -> None:
        for path in (self.pid, self.engine, self.endpoint, self.config, self.environment):
            path.unlink(missing_ok=True)

    def stop_process(self) -> bool:
        """Whether the server that holds the lock has ended."""
        pid = int(self.read(self.pid) or 0)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if pid:
                signal_process(pid, number)
            if self.is_free_within(PATIENCE):
                return True
        return False

    def is_free_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            descriptor = self.take()
            if descriptor is not None:
                os.close(descriptor)
                return True
            time.sleep(0.05)
        return False

    def write_for_sidecar(self, endpoint: str) -> None:
        self.config.write_text(config(endpoint, self.directory))
        lines = {**cloud.CREDENTIALS, "AWS_ENDPOINT_URL": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
        self.environment.write_text("".join(f"export {name}={value}\n" for name, value in lines.items()))


def signal_process(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def quoted(path: pathlib.Path) -> str:
    return json.dumps(str(path), ensure_ascii=False)


def config(endpoint: str, directory: pathlib.Path) -> str:
    return f"""\
# Written by dev/up for the S3 and KMS that it started. The file `env` beside it gives the credentials.

[listen]
socket = {quoted(directory / "lunasec.sock")}

[storage]
kind = "s3"
bucket = "{cloud.BUCKET}"
prefix = ""
region = "{cloud.REGION}"
endpoint = "{endpoint}"
path_style = true

[keys]
kind = "kms"
key_id = "{cloud.ALIAS}"
region = "{cloud.REGION}"
endpoint = "{endpoint}"

[degrade]
state_dir = {quoted(directory / "state")}
"""
