"""The bill of materials of an image: the binary with its crates, the C that is linked in, Rust's library, the bundle."""

from __future__ import annotations

import hashlib

from supply import bom, crates

from . import system

RUST = "rust-std"


def of(image: str, package: str, name: str, target: str, binary: bytes, bundle: bytes) -> dict:
    inside = bom.of_binary(target, package, name)
    program = inside["metadata"]["component"]
    program["hashes"] = hashed(binary)
    parts = [part.component() for part in system.parts()]
    [certificates] = [part for part in parts if part["name"] == system.BUNDLE]
    certificates["hashes"] = hashed(bundle)
    parts.append(rust())
    version = program["version"]
    whole = {
        "type": "container",
        "bom-ref": f"{image}@{version}",
        "name": image,
        "version": version,
        "licenses": program["licenses"],
        "purl": f"pkg:generic/{image.replace('/', '-')}-image@{version}",
    }
    linked = sorted(part["bom-ref"] for part in parts if part is not certificates)
    return bom.finished(
        {
            "metadata": {"component": whole, "properties": inside["metadata"]["properties"]},
            "components": [program, *inside["components"], *parts],
            "dependencies": [
                {"ref": whole["bom-ref"], "dependsOn": [certificates["bom-ref"], program["bom-ref"]]},
                *[leads(edge, program["bom-ref"], linked) for edge in inside["dependencies"]],
                *[{"ref": part["bom-ref"], "dependsOn": []} for part in parts],
            ],
        }
    )


def leads(edge: dict, program: str, linked: list[str]) -> dict:
    """The program is made of what is linked in, too."""
    if edge["ref"] != program:
        return edge
    return {"ref": program, "dependsOn": sorted([*edge["dependsOn"], *linked])}


def rust() -> dict:
    version = crates.toolchain()
    return {
        "type": "library",
        "bom-ref": f"{RUST}@{version}",
        "name": RUST,
        "version": version,
        "licenses": bom.licences("MIT OR Apache-2.0"),
        "purl": f"pkg:generic/{RUST}@{version}",
    }


def hashed(content: bytes) -> list[dict]:
    return [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}]
