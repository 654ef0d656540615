"""Virtual environments outside of the checkout: installed once for each list of requirements."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

from . import pythons
from .trouble import Trouble

LISTS = pathlib.Path(__file__).resolve().parent.parent
OLDEST = {"localstack": (3, 13), "moto": (3, 10)}


def ensure(name: str) -> str:
    """The Python of the environment `name`, which is installed first if it is not there."""
    return ensure_from(LISTS / f"{name}.txt", OLDEST[name])


def ensure_from(requirements: pathlib.Path, oldest: tuple[int, int]) -> str:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    home = cache() / "python" / f"{requirements.stem}-{digest}"
    if not is_complete(home):
        with only_one(home) as lock:
            if not is_complete(home):
                install(home, requirements, oldest, lock)
    return str(python_of(home))


def cache() -> pathlib.Path:
    return pathlib.Path(os.environ.get("LUNASEC_CACHE") or "~/.cache/lunasec-sidecar").expanduser()


def is_complete(home: pathlib.Path) -> bool:
    """The mark is written last, so that an interrupted installation does not look like one; and the
    Python that it was made from may have gone since."""
    return (home / "complete").exists() and python_of(home).exists()


def python_of(home: pathlib.Path) -> pathlib.Path:
    return home / "bin" / "python"


@contextlib.contextmanager
def only_one(home: pathlib.Path):
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        lock = open(f"{home}.lock", "w")
    except OSError as error:
        raise Trouble(
            f"cannot install to {home.parent} ({error.strerror}); LUNASEC_CACHE names another place"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def install(home: pathlib.Path, requirements: pathlib.Path, oldest: tuple[int, int], lock: int) -> None:
    python = pythons.find(oldest)
    say(f"installing {requirements.name} to {home}, once; this takes a minute or a few")
    shutil.rmtree(home, ignore_errors=True)
    run([python, "-m", "venv", str(home)], "making a virtual environment", lock)
    pip = [str(python_of(home)), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, "install", "--requirement", str(requirements)], "installing from PyPI", lock)
    (home / "scratch").mkdir()
    (home / "complete").touch()


def run(command: list[str], what: str, lock: int) -> None:
    """The command holds the lock too: if we are killed, the next one waits until it is out of the way."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=[lock],
    )
    if done.returncode != 0:
        raise Trouble(
            f"{what} failed; the same command again goes on from the start. {' '.join(command)} said:\n{done.stdout}"
        )


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
