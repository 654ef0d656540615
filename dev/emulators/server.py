"""One emulator in the foreground, on a loopback port, until it is told to end."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time

from . import cloud, venvs
from .trouble import Trouble

ENGINES = ("localstack", "moto")
HERE = pathlib.Path(__file__).resolve().parent
PATIENCE = 120


class Stop(Exception):
    """Somebody asked for the end."""


def serve(
    engine: str,
    port: int,
    port_file: pathlib.Path,
    versioned: bool,
    log: pathlib.Path | None,
    with_parent: bool,
) -> None:
    if engine == "localstack" and sys.platform != "linux":
        raise Trouble("outside of Linux, LocalStack runs in Docker only (dev/up --with docker); or take moto")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    if with_parent:
        refuse_without_parent()
        threading.Thread(target=stop_with_standard_input, daemon=True).start()
    try:
        run(engine, port, port_file, versioned, log)
    except Stop:
        pass


def stop(*_) -> None:
    # Once is enough: a second signal must not cut the ending short.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Stop


def refuse_without_parent() -> None:
    """An input that has ended already would look like a parent that is gone."""
    kind = os.fstat(0).st_mode if sys.stdin else 0
    if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or os.isatty(0)):
        raise Trouble(
            "the server ends when its standard input does: start it with a pipe and hold that open, or with --stay"
        )


def stop_with_standard_input() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def run(engine: str, port: int, port_file: pathlib.Path, versioned: bool, log: pathlib.Path | None) -> None:
    port_file.unlink(missing_ok=True)
    python = venvs.ensure(engine)
    with bind(port) as listener, open_log(log) as output:
        endpoint = "http://127.0.0.1:%d" % listener.getsockname()[1]
        child = start(engine, python, listener, output)
        try:
            listener.close()  # the child has it
            wait_until_ready(endpoint, versioned, child, output)
            write_whole(port_file, endpoint)
            child.wait()
            raise Trouble(f"{engine} ended by itself:\n{tail(output)}")
        finally:
            end(child)
            port_file.unlink(missing_ok=True)


def bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise Trouble(
            f"cannot listen on 127.0.0.1:{port} ({error.strerror}); --port 0 takes any free port"
        ) from None
    listener.listen(1024)
    return listener


def open_log(log: pathlib.Path | None):
    return open(log, "w+b") if log else tempfile.TemporaryFile()


def start(engine: str, python: str, listener: socket.socket, output) -> subprocess.Popen:
    """The child ends when its standard input does, so it cannot outlive this process."""
    descriptor = listener.fileno()
    scratch = pathlib.Path(python).parent.parent / "scratch"
    # -I: no variable and no directory of the user's has a say in what is imported.
    command = [python, "-I", "-B", str(HERE / f"run_{engine}.py"), str(descriptor), str(scratch)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        pass_fds=[descriptor],
        start_new_session=True,
    )


def wait_until_ready(endpoint: str, versioned: bool, child: subprocess.Popen, output) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return cloud.prepare(endpoint, versioned)
        except cloud.NOT_READY as error:
            if child.poll() is not None:
                raise Trouble(tail(output)) from None
            if time.monotonic() > deadline:
                raise Trouble(f"not ready after {PATIENCE} s ({error}):\n{tail(output)}") from None
        time.sleep(0.1)


def write_whole(path: pathlib.Path, text: str) -> None:
    """A reader sees all of it or nothing."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def end(child: subprocess.Popen) -> None:
    child.stdin.close()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def tail(output) -> str:
    output.seek(0)
    return "\n".join(output.read().decode(errors="replace").strip().splitlines()[-40:])
