"""Programs that speak gRPC by grpcio, in a directory beside the contract's stubs."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..sidecar import ROOT
from ..wires import needs

HERE = Path(__file__).resolve().parent
# grpcio, as the server's own tests have it.
REQUIREMENTS = ROOT / "tests/grpc/python/requirements.txt"
ALL = ("client.py", "around.py", "spoken.py", "differential.py")


@functools.cache
def python():
    return needs.environment(REQUIREMENTS)


@functools.cache
def stubs():
    """Made once; gone with this process."""
    directory = tempfile.TemporaryDirectory(prefix="lunasec-grpc-")
    out = directory.name
    command = [python(), "-m", "grpc_tools.protoc", "-I", ROOT / "sidecar/api/proto", f"--python_out={out}"]
    subprocess.run([*command, "lunasec/v1/tokenizer.proto"], check=True)
    return directory


def made(directory, name, changes=None):
    """One of them in a directory of its own, as an executable. `changes`: a file, a text in it and another instead."""
    for each in ALL:
        shutil.copy(HERE / each, directory)
    if changes:
        file, old, new = changes
        text = (HERE / file).read_text()
        assert text.count(old) == 1, f"{old} is there {text.count(old)} times"
        Path(directory, file).write_text(text.replace(old, new))
    path = Path(directory, "run")
    path.write_text(
        f"#!/bin/sh\nexport PYTHONDONTWRITEBYTECODE=1 PYTHONPATH='{stubs().name}'\n"
        f"exec '{python()}' '{directory}/{name}' \"$@\"\n"
    )
    path.chmod(0o755)
    return str(path)
