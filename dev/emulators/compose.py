"""LocalStack in Docker, by dev/compose.yaml."""

from __future__ import annotations

import os
import pathlib
import subprocess

from .trouble import Trouble

FILE = pathlib.Path(__file__).resolve().parent.parent / "compose.yaml"


def is_available() -> bool:
    """The client alone proves nothing: the engine must answer, and know compose."""
    return all(
        quietly(question)
        for question in (["version", "--format", "{{.Server.Version}}"], ["compose", "version"])
    )


def quietly(arguments: list[str]) -> bool:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def is_running() -> bool:
    return bool(compose(["ps", "--quiet", "--status", "running"], 0).strip())


def up(port: int) -> None:
    compose(["up", "--detach"], port)


def down() -> None:
    compose(["down", "--volumes"], 0)


def logs() -> str:
    return compose(["logs", "--tail", "40"], 0)


def compose(arguments: list[str], port: int) -> str:
    command = ["docker", "compose", "--file", str(FILE), *arguments]
    environment = {**os.environ, "LUNASEC_DEV_PORT": str(port or 4566)}
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except OSError as error:
        raise Trouble(
            f"docker cannot be run ({error.strerror}); install Docker, or: dev/up --with localstack"
        ) from None
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed; without Docker: dev/up --with localstack\n{done.stderr}")
    return done.stdout
