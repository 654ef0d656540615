"""Builds a static binary that says nothing about where it was built."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

from emulators.trouble import Trouble
from supply import crates

from . import ROOT


def target() -> str:
    """This machine's: nothing is compiled for another one."""
    [host] = re.findall(r"^host: (.*)$", said("rustc", "-vV"), re.MULTILINE)
    if host not in crates.TARGETS:
        raise Trouble(f"images are built on {' or '.join(crates.TARGETS)}; this is {host}")
    return host


def directory() -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()


def places() -> dict[str, str]:
    """What paths are called in the binary. rustc takes the last that fits.

    The checkout is not one of them: cargo names its files from there, and with flags that say where it lies, a checkout in
    another place would build all crates anew."""
    home = pathlib.Path(os.environ.get("CARGO_HOME") or pathlib.Path.home() / ".cargo").resolve()
    library = pathlib.Path(said("rustc", "--print", "sysroot").strip()) / "lib/rustlib/src/rust"
    return {str(library): "/rustc", str(home): "/cargo", str(directory()): "/target"}


def built(package: str, name: str, workspace: pathlib.Path | None = None) -> pathlib.Path:
    flags = ["-Ctarget-feature=+crt-static"]
    flags += [f"--remap-path-prefix={place}={called}" for place, called in places().items()]
    for_c = [f"-ffile-prefix-map={place}={called}" for place, called in list(places().items())[1:]]
    triple = target()
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(directory()),
        "CARGO_INCREMENTAL": "0",
        "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(flags),
        f"CFLAGS_{triple.replace('-', '_')}": " ".join(for_c),
    }
    # With a target named, macros and build scripts are built without these flags: a macro cannot be static.
    command = ["cargo", "build", "--release", "--locked", "--target", triple, "--package", package, "--bin", name]
    if subprocess.run(command, cwd=workspace or crates.workspace(package), env=environment).returncode != 0:
        raise Trouble(f"{' '.join(command)} failed")
    return directory() / triple / "release" / name


def checked(path: pathlib.Path) -> bytes:
    if wanted := crates.libraries(path):
        raise Trouble(f"{path} is not static, and an image FROM scratch has none of these: {', '.join(wanted)}")
    content = path.read_bytes()
    for place in [*places(), str(ROOT), str(pathlib.Path.home())]:
        if len(place) > 1 and place.encode() in content:
            raise Trouble(f"{path} says that it was built in {place}")
    return content


def said(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise Trouble(f"{command[0]} is not there; building an image needs it") from None
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed\n{done.stderr}")
    return done.stdout
