"""The tests' .proto files, as `protoc` makes Python of them."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc

from lunasec.grpc import PROTO_DIR

PROTOS = Path(__file__).parent / "protos"


def generated(name: str, text: str | None = None) -> tuple[Any, Any]:
    """The modules of messages and of stubs."""
    out = tempfile.mkdtemp(prefix="protos-")
    source = PROTOS
    if text is not None:
        source = Path(out)
        (source / f"{name}.proto").write_text(text)
    well_known = Path(protoc.__file__).parent / "_proto"
    command = [
        "protoc",
        f"-I{source}",
        f"-I{PROTO_DIR}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
    ]
    if protoc.main([*command, f"{name}.proto"]) != 0:
        raise RuntimeError(f"{name}.proto cannot be compiled")
    sys.path.insert(0, out)
    try:
        return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")
    finally:
        sys.path.remove(out)


pb, stubs = generated("shop")
