"""What cargo puts into the binary, and what it runs to build it."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
import subprocess

from emulators.trouble import Trouble

from . import rust

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGE = "lunasec-sidecar"
SHIPPED = ("lunasec-api", "lunasec-core", "lunasec-sidecar", "lunasec-client")
#: Packages of workspaces of their own.
ELSEWHERE = {"lunasec-injector": ROOT / "k8s" / "injector"}
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
# What a build script uses that compiles C, or looks for a library that is there.
COMPILERS = {"autotools", "bindgen", "cc", "cmake", "pkg-config", "vcpkg"}
# Words of code that speaks to a network, or of a program that does.
NETWORK = {"TcpStream", "UdpSocket", "ToSocketAddrs", "curl", "git2", "hyper", "minreq", "reqwest", "ureq", "wget"}


@dataclasses.dataclass(frozen=True, order=True)
class Id:
    name: str
    version: str


@dataclasses.dataclass(frozen=True)
class Crate:
    """What the manifest of one version of a crate says."""

    id: Id
    licence: str
    ours: bool
    build_script: bool
    proc_macro: bool
    links: str | None


@dataclasses.dataclass(frozen=True)
class Source:
    """What its text says, and that of its build script."""

    lines: int
    unsafe: int
    starts_programs: bool
    names_a_network: bool


Graph = dict[Id, set[Id]]


def workspace(package: str) -> pathlib.Path:
    return ELSEWHERE.get(package, ROOT)


def tree(target: str, edges: str, package: str = PACKAGE) -> Graph:
    """Who depends on whom below a binary's package, with the features that a build of it alone has."""
    text = cargo(
        "tree", "--package", package, "--edges", edges, "--target", target, "--prefix", "depth", "--format", " {p}",
        workspace=workspace(package),
    )
    graph: Graph = {}
    above: list[Id] = []
    for line in text.splitlines():
        # Headings of build dependencies have no depth, and belong to whom the lines below them do.
        if found := re.match(r"(\d+) (\S+) v(\S+)", line):
            depth, crate = int(found[1]), Id(found[2], found[3])
            del above[depth:]
            graph.setdefault(crate, set())
            if above:
                graph[above[-1]].add(crate)
            above.append(crate)
    return graph


def in_binary(target: str, package: str = PACKAGE) -> Graph:
    return tree(target, "normal,no-proc-macro", package)


def with_builders(target: str) -> Graph:
    """The same with macros, build scripts and all that these are made of."""
    return tree(target, "normal,build")


def closure(graph: Graph, names) -> set[Id]:
    """What our crates ask for by these names, and all that those bring."""
    ours = [below for crate, below in graph.items() if crate.name in SHIPPED]
    found, open_ = set(), [crate for below in ours for crate in below if crate.name in names]
    while open_:
        crate = open_.pop()
        if crate not in found:
            found.add(crate)
            open_ += graph[crate]
    return found


def described(ids) -> dict[Id, Crate]:
    return {crate: describe(crate) for crate in ids}


def describe(crate: Id) -> Crate:
    package = packages().get(crate)
    if not package:
        raise Trouble(f"cargo metadata does not know {crate.name} {crate.version}")
    kinds = {kind for target in package["targets"] for kind in target["kind"]}
    return Crate(
        id=crate,
        licence=licence(package["license"]),
        ours=package["source"] is None,
        build_script="custom-build" in kinds,
        proc_macro="proc-macro" in kinds,
        links=package["links"],
    )


def source(crate: Id) -> Source:
    package = packages()[crate]
    if not pathlib.Path(package["manifest_path"]).exists():
        raise Trouble(f"the source of {crate.name} is not here; `cargo fetch --locked` brings it")
    counts = [rust.count(text(path)) for path in sources(package)]
    scripts = [target["src_path"] for target in package["targets"] if "custom-build" in target["kind"]]
    script = {word for path in scripts for word in rust.words(text(path))}
    return Source(
        lines=sum(count.lines for count in counts),
        unsafe=sum(count.unsafe for count in counts),
        starts_programs="Command" in script,
        names_a_network=not NETWORK.isdisjoint(script),
    )


def sources(package: dict) -> list[pathlib.Path]:
    """The library's and the binary's files, whatever the platform; nothing that only cargo's tests build."""
    home = pathlib.Path(package["manifest_path"]).parent
    roots = {
        pathlib.Path(target["src_path"]).parent
        for target in package["targets"]
        if not {"custom-build", "test", "bench", "example"} & set(target["kind"])
    }
    aside = {home / "tests", home / "benches", home / "examples"}
    files = {path for root in roots for path in root.rglob("*.rs") if aside.isdisjoint(path.parents)}
    return sorted(files - {home / "build.rs"})


def licence(expression: str | None) -> str:
    """As SPDX writes it; a slash is how it was written once."""
    if not expression:
        raise Trouble("a crate names no licence")
    return re.sub(r"\s*/\s*", " OR ", expression)


def direct() -> set[str]:
    """Names of what the shipped crates ask for themselves, to be built with too."""
    found = set()
    for crate, package in packages().items():
        if crate.name in SHIPPED:
            for wanted in package["dependencies"]:
                if wanted["kind"] != "dev" and wanted["name"] not in SHIPPED:
                    found.add(wanted["name"])
    return found


def checksums() -> dict[Id, str]:
    """SHA-256 of each crate's archive, from each Cargo.lock."""
    found = {}
    for place in (ROOT, *ELSEWHERE.values()):
        for part in (place / "Cargo.lock").read_text().split("[[package]]")[1:]:
            fields = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', part, re.MULTILINE))
            if "checksum" in fields:
                found[Id(fields["name"], fields["version"])] = fields["checksum"]
    return found


def libraries(binary: pathlib.Path) -> list[str]:
    """What the binary needs of the machine that runs it: a loader, shared libraries. A static one needs none."""
    command = ["readelf", "--wide", "--program-headers", "--dynamic", str(binary)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    # What has nothing that is loaded is no program, and says nothing of what it needs.
    if done.returncode != 0 or not re.search(r"^ +LOAD +0x", done.stdout, re.MULTILINE):
        raise Trouble(f"{' '.join(command)} shows no program\n{done.stdout}")
    return re.findall(r"(?:program interpreter: |\(NEEDED\).*\[)(.*)\]", done.stdout)


def toolchain() -> str:
    [version] = re.findall(r'^channel = "(.*)"$', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE)
    return version


@functools.lru_cache(maxsize=None)
def packages() -> dict[Id, dict]:
    platforms = [word for target in TARGETS for word in ("--filter-platform", target)]
    words = ("metadata", "--format-version", "1", *platforms)
    # What both know is the same crate of the registry.
    known = [each for place in (*ELSEWHERE.values(), ROOT) for each in json.loads(cargo(*words, workspace=place))["packages"]]
    return {Id(package["name"], package["version"]): package for package in known}


def cargo(*words: str, workspace: pathlib.Path = ROOT) -> str:
    command = ["cargo", words[0], "--locked", "--offline", *words[1:]]
    done = subprocess.run(command, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Trouble(f"{' '.join(command)} failed; `cargo fetch --locked` may help\n{done.stderr}")
    return done.stdout


def text(path) -> str:
    return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
