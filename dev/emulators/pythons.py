"""Finds a Python that is new enough. A name on PATH proves nothing (version managers put shims there
for versions that are not active), so each candidate is run."""

from __future__ import annotations

import glob
import os
import subprocess
import sys

from .trouble import Trouble

# ensurepip is what Debian leaves out of its python3 package.
PROBE = "import ensurepip, ssl, sys, venv; print(sys.version_info[0], sys.version_info[1])"

# By how sure it is that every pinned package has a wheel for it.
VERSIONS = ("3.13", "3.14", "3.12")


def find(oldest: tuple[int, int]) -> str:
    for candidate in candidates():
        version = version_of(candidate)
        if version is not None and version >= oldest:
            return candidate
    wanted = ".".join(map(str, oldest))
    raise Trouble(
        f"this needs Python {wanted} or newer with its venv module. Tried python{', python'.join(VERSIONS)} and python3 "
        f"on PATH, and what is in {versions_directory()}. Install one (Debian 13: apt install python3-venv; "
        f"pyenv: pyenv install {wanted}; macOS: brew install python@{wanted}), or, if that was for LocalStack, "
        "take moto: dev/up --with moto"
    )


def candidates() -> list[str]:
    managed = [
        glob.glob(os.path.join(versions_directory(), f"{version}[.-]*", "bin", "python3"))
        for version in VERSIONS
    ]
    named = [f"python{version}" for version in VERSIONS]
    return [*named, *(path for paths in managed for path in sorted(paths)), sys.executable, "python3"]


def versions_directory() -> str:
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    return os.path.join(root, "versions")


def version_of(candidate: str) -> tuple[int, int] | None:
    try:
        answer = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=30)
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
