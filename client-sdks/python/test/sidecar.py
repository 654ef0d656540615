"""The release binary as a process: what `LUNASEC_BIN` names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PATIENCE = 30


def binary() -> str:
    path = os.environ.get("LUNASEC_BIN")
    if not path:
        raise RuntimeError("LUNASEC_BIN names no sidecar: build one with `cargo build --release`, and export its path")
    return path


class Sidecar:
    """`lunasec dev`, or `serve` with a configuration, in a directory of its own with a short path."""

    def __init__(self, config: str | None = None, start: bool = True) -> None:
        self.directory = tempfile.mkdtemp(prefix="ls-")
        self.socket = os.path.join(self.directory, "s.sock")
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        if start:
            self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> list[str]:
        if self._config is None:
            return [binary(), "dev", "--dir", self.directory, "--socket", self.socket, "--admin", "127.0.0.1:0"]
        path = Path(self.directory, "lunasec.toml")
        path.write_text(self._config.replace("{dir}", self.directory).replace("{socket}", self.socket))
        return [binary(), "serve", "--config", str(path)]

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNASEC_")}
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self._process = subprocess.Popen(self.command(), env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the sidecar does not start:\n{self.log()}")
            # There is nothing that would say it.
            time.sleep(0.005)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(self.socket)
            except OSError:
                return False
        return True

    def log(self) -> str:
        return Path(self.directory, "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(timeout=PATIENCE)
            self._process = None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
