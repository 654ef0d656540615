"""The release binary as a process: `LUNASEC_BIN`, or built by cargo, so that it is never an old one."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PATIENCE = 60


def binary():
    if "LUNASEC_BIN" in os.environ:
        return os.environ["LUNASEC_BIN"]
    command = ["cargo", "build", "--release", "--locked", "-p", "lunasec-sidecar", "--message-format=json"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = (json.loads(line).get("executable") for line in lines if line.startswith("{"))
    return next(executable for executable in found if executable)


class Sidecar:
    """A running `lunasec dev` in a directory of its own."""

    def __init__(self, directory):
        self.binary = binary()
        self.directory = directory
        self.socket = os.path.join(directory, "lunasec.sock")
        self.start()

    def start(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LUNASEC_")}
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.process = subprocess.Popen(self.command(), env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the sidecar does not start:\n{self.log()}")
            time.sleep(0.005)

    def command(self):
        return [self.binary, "dev", "--dir", self.directory, "--socket", self.socket, "--admin", "127.0.0.1:0"]

    def answers(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(self.socket)
            except OSError:
                return False
        return True

    def log(self):
        return Path(self.directory, "log").read_text(errors="replace")[-2_000:]

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(timeout=PATIENCE)

    def restart(self):
        """As an operator does it."""
        self.stop()
        self.start()

    def kill(self):
        """As a crash does it, and what starts it again."""
        self.stop(signal.SIGKILL)
        self.start()
