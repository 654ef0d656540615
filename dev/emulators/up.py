"""dev/up."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time

from . import cloud, compose, server, venvs
from .state import REPOSITORY, State
from .trouble import Trouble

ENGINES = ("docker", *server.ENGINES)
WHAT = {
    "docker": "LocalStack in Docker",
    "localstack": "LocalStack, in a network namespace of its own",
    "moto": "moto",
}


def up(state: State, engine: str | None, port: int, versioned: bool) -> None:
    lock = state.take()
    if lock is None or (state.read(state.engine) == "docker" and compose.is_running()):
        return print_running(state)
    state.forget()
    engine = engine or choose()
    state.engine.write_text(engine)
    if engine == "docker":
        endpoint = start_docker(port, versioned)
    else:
        endpoint = start_server(state, lock, engine, port, versioned)
    state.write_for_sidecar(endpoint)
    state.endpoint.write_text(endpoint)
    print_hello(state, f"S3 and KMS run at {endpoint}: {WHAT[engine]}.")


def choose() -> str:
    if compose.is_available():
        return "docker"
    return "localstack" if sys.platform == "linux" else "moto"


def start_docker(port: int, versioned: bool) -> str:
    port = port or free_port()
    compose.up(port)
    endpoint = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + server.PATIENCE
    while True:
        try:
            cloud.prepare(endpoint, versioned)
            return endpoint
        except cloud.NOT_READY as error:
            if time.monotonic() > deadline or not compose.is_running():
                raise Trouble(
                    f"the container is not ready ({error}); dev/down removes it. It said:\n{compose.logs()}"
                ) from None
        time.sleep(0.2)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def start_server(state: State, lock: int, engine: str, port: int, versioned: bool) -> str:
    venvs.ensure(engine)  # here, where the user sees that it takes a while
    command = [
        sys.executable,
        str(REPOSITORY / "dev" / "server"),
        engine,
        "--stay",
        "--port",
        str(port),
        "--port-file",
        str(state.endpoint),
        "--log",
        str(state.log),
        *(["--versioned"] if versioned else []),
    ]
    # Only the lock is handed on. What the server says is read if it ends before it is ready.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[lock],
        start_new_session=True,
    )
    os.close(lock)
    state.pid.write_text(str(child.pid))
    return wait_for(child, state)


def wait_for(child: subprocess.Popen, state: State) -> str:
    try:
        while child.poll() is None:
            if endpoint := state.read(state.endpoint):
                return endpoint
            time.sleep(0.05)
    except BaseException:
        child.terminate()
        child.wait()
        raise
    state.forget()
    raise Trouble(child.stderr.read().strip().removeprefix("dev/server: "))


def print_running(state: State) -> None:
    endpoint = state.read(state.endpoint)
    if not endpoint:
        raise Trouble("another dev/up is at work in this directory; wait for it, or dev/down")
    print_hello(state, f"S3 and KMS already run at {endpoint}: {WHAT[state.read(state.engine)]}.")


def print_hello(state: State, first: str) -> None:
    print(f"""{first}

  bucket   {cloud.BUCKET} ({cloud.REGION})
  key      {cloud.ALIAS}
  config   {state.config}
  env      {state.environment}

{state.read(state.environment)}
Point a sidecar at them:

  . {shlex.quote(str(state.environment))}
  cargo run --release --locked -- serve --config {shlex.quote(str(state.config))}

dev/down stops them; what was stored is gone then.""")
