"""What a registry is given: built, installed in a clean place, and used there."""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

import lunasec
from sidecar import Sidecar

ROOT = Path(__file__).parent.parent
USE = """
import asyncio, lunasec, pathlib, sys
assert "site-packages" in lunasec.__file__, lunasec.__file__
async def use():
    async with lunasec.AsyncLunaSec() as client:
        made = await client.tokenize("4111")
        return made.token
token = asyncio.run(use())
with lunasec.LunaSec() as client:
    assert client.detokenize(token).value.reveal() == "4111"
for lacking in ("fastapi", "grpc", "pydantic", "sqlalchemy"):
    try:
        __import__(f"lunasec.{lacking}")
    except ModuleNotFoundError as error:
        assert not error.name.startswith("lunasec"), error.name
    else:
        raise AssertionError(f"{lacking} is installed")
print("used")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_what_is_in_it(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    assert wheel.name == f"lunasec-{lunasec.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(archive.read(f"lunasec-{lunasec.__version__}.dist-info/METADATA"))
    sources = {f"lunasec/{path.relative_to(ROOT / 'src/lunasec')}" for path in (ROOT / "src/lunasec").rglob("*.py")}
    assert sources <= names
    assert {"lunasec/py.typed", "lunasec/grpc/proto/lunasec/options.proto"} <= names
    assert not [name for name in names if "test" in name or "__pycache__" in name]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Quick start" in str(metadata.get_payload())
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert sorted(metadata.get_all("Provides-Extra", [])) == [
        "fastapi",
        "grpc",
        "opentelemetry",
        "pydantic",
        "sqlalchemy",
        "trio",
    ]
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/lunasec/client.py", "docs/grpc.md"} <= inside


def test_it_is_installed_in_a_clean_place_and_used(built: Path, tmp_path: Path, sidecar: Sidecar) -> None:
    (wheel,) = built.glob("*.whl")
    pins = re.findall(
        r"^(?:anyio|httpcore|httpx|typing_extensions)==\S+$", (ROOT / "test/requirements.txt").read_text(), re.M
    )
    assert len(pins) == 4
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel), *pins], check=True, cwd=tmp_path)
    subprocess.run([python, "-m", "pip", "check"], check=True, cwd=tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["LUNASEC_SOCKET"] = sidecar.socket
    done = subprocess.run(
        [python, "-W", "error", "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("used\n", "", 0)
