"""The engine that containers are run by: one that answers, or one of the test's own."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

from emulators.trouble import Trouble

INSIDE = "LUNASEC_IMAGE_TEST_INSIDE"
# With its own processes, mounts and network nothing of it is left, whichever way the test ends.
APART = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
PACKAGE = ["apt-get", "install", "-qq", "--no-install-recommends", "docker.io"]


def answers() -> bool:
    try:
        return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def installed() -> None:
    """What it takes to start one, or words."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        raise Trouble(
            "no Docker engine answers; start one, or run this as root on Linux, where it starts one by itself"
        )
    wanted = ("dockerd", "docker", "ctr", "containerd", "unshare", "ip", "iptables")
    if all(shutil.which(each) for each in wanted):
        return
    if not shutil.which("apt-get"):
        raise Trouble(f"no Docker engine answers, and to start one {', '.join(wanted)} have to be there")
    with not_started():
        for command in (["apt-get", "update", "-qq"], [*PACKAGE, "iproute2", "iptables"]):
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            )
            if done.returncode != 0:
                raise Trouble(f"{' '.join(command)} failed\n{done.stderr}")


@contextlib.contextmanager
def not_started():
    """The test starts an engine of its own; the package is not to start one on this machine."""
    policy = pathlib.Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def apart(script: pathlib.Path, images: pathlib.Path, arguments: list[str]) -> int:
    """The whole test goes into the namespaces, where containers' addresses can be reached."""
    probe = subprocess.run([*APART, "true"], check=False, capture_output=True, text=True)
    if probe.returncode != 0:
        raise Trouble(f"an engine needs namespaces of its own, and they were refused: {probe.stderr.strip()}")
    environment = {**os.environ, INSIDE: str(images.resolve())}
    return subprocess.run([*APART, str(script), *arguments], env=environment, check=False).returncode


@contextlib.contextmanager
def running(directory: pathlib.Path):
    if INSIDE not in os.environ:
        yield
        return
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    socket = directory / "docker.sock"
    command = [
        "dockerd",
        "--host",
        f"unix://{socket}",
        "--data-root",
        directory / "data",
        "--exec-root",
        directory / "exec",
    ]
    command += ["--pidfile", directory / "docker.pid", "--config-file", directory / "docker.json"]
    (directory / "docker.json").write_text("{}")
    log = directory / "docker.log"
    with log.open("w") as stream:
        engine = subprocess.Popen([str(word) for word in command], stdout=stream, stderr=stream)
    try:
        os.environ["DOCKER_HOST"] = f"unix://{socket}"
        await_(engine, log)
        yield
    finally:
        engine.terminate()
        engine.wait(timeout=60)


def await_(engine: subprocess.Popen, log: pathlib.Path) -> None:
    """An engine says nothing when it is ready: it is asked until it answers or ends."""
    until = time.monotonic() + 60
    while not answers():
        if engine.poll() is not None or time.monotonic() > until:
            raise Trouble(f"dockerd did not start\n{log.read_text()[-3000:]}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(0.05)
