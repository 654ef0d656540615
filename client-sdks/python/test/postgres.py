"""A PostgreSQL of the test's own, on a Unix socket only."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any


def programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    if found:
        return found[-1]
    if on_path is None:
        raise RuntimeError("there is no PostgreSQL: install it, such as by `apt-get install postgresql`")
    return Path(on_path).parent


class Postgres:
    def __init__(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="pg-")
        # It refuses to be run by root.
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
        if self._as:
            shutil.chown(self.directory, "postgres", "postgres")
        bin_ = programs()
        data = f"{self.directory}/data"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.directory}
        subprocess.run(
            [bin_ / "initdb", "-D", data, "-A", "trust", "-U", "test", "-N"], check=True, **quiet, **self._as
        )
        options = ["-k", self.directory, "-c", "listen_addresses=", "-c", "fsync=off"]
        self._process = subprocess.Popen([bin_ / "postgres", "-D", data, *options], **quiet, **self._as)
        deadline = time.monotonic() + 30
        ready = [bin_ / "pg_isready", "-q", "-h", self.directory, "-U", "test"]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL does not start")
            time.sleep(0.02)

    def url(self, driver: str) -> str:
        return f"postgresql+{driver}://test@/postgres?host={self.directory}"

    def end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        shutil.rmtree(self.directory, ignore_errors=True)
