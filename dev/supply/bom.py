"""Bills of materials in CycloneDX: of the binary for each platform, and of the Node SDK."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import time
import urllib.parse
import uuid

from emulators.trouble import Trouble

from . import crates
from .crates import Crate, Graph, Id

FORMAT = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}
SCHEMA = "http://cyclonedx.org/schema/bom-1.5.schema.json"
SPACE = uuid.UUID("6f0cbd0a-7d8c-5c51-9a3c-6b0f6d1d7f3e")
SUPPLIER = {"name": "LunaSec contributors"}
NODE = crates.ROOT / "client-sdks" / "node"
NPM = ["npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only"]
NPM += [word for kind in ("dev", "optional", "peer") for word in ("--omit", kind)]


def all_of_them() -> dict[str, dict]:
    """By the name of the file that each is written to."""
    found = {}
    for target in crates.TARGETS:
        bom = of_binary(target)
        found[f"lunasec-{bom['metadata']['component']['version']}-{target}.cdx.json"] = bom
    bom = of_node()
    found[f"lunasec-node-{bom['metadata']['component']['version']}.cdx.json"] = bom
    return found


def of_binary(target: str, package: str = crates.PACKAGE, name: str = "lunasec") -> dict:
    graph = crates.in_binary(target, package)
    known = crates.described(graph)
    sums = crates.checksums()
    refs = {crate: ref(known[crate]) for crate in graph}
    [binary] = [crate for crate in graph if crate.name == package]
    return finished(
        {
            "metadata": {
                "component": {
                    **component(known[binary], sums),
                    "type": "application",
                    "name": name,
                    "purl": f"pkg:generic/{name}@{binary.version}",
                },
                "properties": [
                    *commit(),
                    {"name": "lunasec:target", "value": target},
                    {"name": "lunasec:rust", "value": crates.toolchain()},
                ],
            },
            "components": [component(known[crate], sums) for crate in sorted(graph) if crate != binary],
            "dependencies": edges(graph, refs),
        }
    )


def component(crate: Crate, sums: dict[Id, str]) -> dict:
    found = {
        "type": "library",
        "bom-ref": ref(crate),
        "name": crate.id.name,
        "version": crate.id.version,
        "licenses": licences(crate.licence),
        "purl": purl(crate),
    }
    if not crate.ours:
        if crate.id not in sums:
            raise Trouble(f"Cargo.lock has no checksum of {crate.id.name} {crate.id.version}")
        found["hashes"] = [{"alg": "SHA-256", "content": sums[crate.id]}]
    return found


def ref(crate: Crate) -> str:
    return f"{crate.id.name}@{crate.id.version}"


def purl(crate: Crate) -> str:
    """What is ours is in no registry: a scanner must not take another crate of that name for it."""
    kind = "generic" if crate.ours else "cargo"
    return f"pkg:{kind}/{crate.id.name}@{urllib.parse.quote(crate.id.version, safe='')}"


def licences(expression: str) -> list[dict]:
    single = re.fullmatch(r"[\w.-]+", expression)
    return [{"license": {"id": expression}}] if single else [{"expression": expression}]


def edges(graph: Graph, refs: dict[Id, str]) -> list[dict]:
    return [{"ref": refs[crate], "dependsOn": sorted(refs[each] for each in graph[crate])} for crate in sorted(graph)]


def of_node() -> dict:
    """As npm says it from the lock file, without what no two runs have in common."""
    done = subprocess.run(NPM, cwd=NODE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(NPM)} failed\n{done.stderr}")
    said = json.loads(done.stdout)
    return finished(
        {
            "metadata": {
                "component": {**said["metadata"]["component"], "name": "@lunasec/node"},
                "properties": commit(),
            },
            "components": said["components"],
            "dependencies": said["dependencies"],
        }
    )


def finished(content: dict) -> dict:
    """The time is the commit's, and the serial number the content's: the same commit gives the same bytes."""
    tool = {"type": "application", "name": "dev/sbom", "version": content["metadata"]["component"]["version"]}
    about = {"timestamp": stamp(), "tools": {"components": [tool]}, "supplier": SUPPLIER}
    content["metadata"] = {**about, **content["metadata"]}
    serial = uuid.uuid5(SPACE, json.dumps(content, sort_keys=True))
    return {"$schema": SCHEMA, **FORMAT, "serialNumber": f"urn:uuid:{serial}", **content}


def stamp() -> str:
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    if seconds is None:
        seconds = git("log", "-1", "--format=%ct")
    if not seconds.isdecimal():
        raise Trouble("there is no commit to take the time from; set SOURCE_DATE_EPOCH to seconds since 1970")
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))


def commit() -> list[dict]:
    """Which one it was made of, with `-dirty` where something was changed since; nothing outside of a checkout."""
    name = git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return [{"name": "lunasec:commit", "value": name}] if name else []


def git(*arguments: str) -> str:
    """Nothing where there is no commit, or no git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=crates.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def text(bom: dict) -> str:
    return json.dumps(bom, indent=2) + "\n"


def write(directory: pathlib.Path) -> list[pathlib.Path]:
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, bom in all_of_them().items():
        if found := faults(bom):
            raise Trouble("\n  ".join([f"{name} would not hold:", *found]))
        path = directory / name
        path.write_text(text(bom))
        written.append(path)
    return written


def faults(bom: dict) -> list[str]:
    """What a reader of the format would stumble over, and what would tell of the machine it was made on."""
    found = [f"{key} is not {value}" for key, value in FORMAT.items() if bom.get(key) != value]
    if not re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bom.get("serialNumber", "")):
        found.append("the serial number is no UUID")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bom["metadata"].get("timestamp", "")):
        found.append("the timestamp is none")
    if not bom["metadata"].get("supplier", {}).get("name"):
        found.append("nobody is named as the supplier")
    tools = bom["metadata"].get("tools", {}).get("components", [])
    if not tools or any(not each.get("name") or not each.get("version") for each in tools):
        found.append("no tool is named with its version")
    for each in bom["metadata"].get("properties", []):
        if each["name"] == "lunasec:commit" and not re.fullmatch(r"[0-9a-f]{40}(-dirty)?", each["value"]):
            found.append("the commit is none")
    every = [bom["metadata"]["component"], *bom["components"]]
    for each in every:
        found += faults_of_component(each)
    refs = [each.get("bom-ref") for each in every]
    found += [f"{each} is there more than once" for each in sorted({ref for ref in refs if refs.count(ref) > 1})]
    found += faults_of_edges(bom["dependencies"], refs)
    for place in {str(crates.ROOT), str(pathlib.Path.home()), "file:"}:
        if len(place) > 1 and place in text(bom):
            found.append(f"it says {place}")
    return found


def faults_of_component(component: dict) -> list[str]:
    name = component.get("bom-ref", "a component")
    needed = ("name", "version", "purl", "licenses", "bom-ref")
    found = [f"{name} has no {key}" for key in needed if not component.get(key)]
    if component.get("type") not in {"application", "container", "library"}:
        found.append(f"{name} is of no type")
    kind = re.match(r"pkg:(cargo|npm|generic|deb/debian)/[^@?#\s]+@[^@?#\s+]+$", component.get("purl", ""))
    if not kind:
        found.append(f"the purl of {name} is none")
    published = kind and kind[1] in {"cargo", "npm"} and component.get("type") == "library" and "@lunasec/" not in name
    sums = component.get("hashes", [])
    if published and not sums:
        found.append(f"{name} has no hash")
    lengths = {"SHA-256": 64, "SHA-512": 128}
    if any(not re.fullmatch(r"[0-9a-f]{%d}" % lengths.get(each["alg"], 0), each["content"]) for each in sums):
        found.append(f"a hash of {name} is none")
    for each in component.get("licenses", []):
        if not re.fullmatch(r"[\w. ()-]+", each.get("expression") or each.get("license", {}).get("id", "")):
            found.append(f"the licence of {name} is not as SPDX writes it")
    return found


def faults_of_edges(edges: list[dict], refs: list) -> list[str]:
    known, tails = set(refs), [each["ref"] for each in edges]
    found = [f"{each} has not one entry among the dependencies" for each in sorted(known) if tails.count(each) != 1]
    for each in edges:
        gone = [head for head in each["dependsOn"] if head not in known]
        found += [f"{each['ref']} leads to {head}, which is not there" for head in gone]
    reached = {refs[0]}.union(*(each["dependsOn"] for each in edges))
    found += [f"nothing leads to {each}" for each in sorted(known - reached)]
    return found
