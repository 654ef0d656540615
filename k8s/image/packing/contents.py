"""What is in each image, and what a runtime is told about it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re

from emulators.trouble import Trouble
from supply import bom

from . import ROOT, bill, binary, licences, oci, system

LIMIT = 30 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Kind:
    package: str
    binary: str
    user: int
    arguments: list[str]
    title: str
    description: str


KINDS = {
    "sidecar": Kind(
        "lunasec-sidecar",
        "lunasec",
        64733,
        ["serve", "--config", "/etc/lunasec/lunasec.toml"],
        "LunaSec sidecar",
        "Tokenization beside your application: one process, one Unix socket",
    ),
    "injector": Kind(
        "lunasec-injector",
        "lunasec-injector",
        64734,
        ["serve", "--config", "/etc/lunasec-injector/injector.toml"],
        "LunaSec injector",
        "Adds LunaSec's sidecar to the pods that ask for one",
    ),
}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version() -> str:
    text = (ROOT / "Cargo.toml").read_text().split("[workspace.package]")[1]
    return re.findall(r'^version = "(.*)"$', text, re.MULTILINE)[0]


def seconds() -> int:
    """Of the commit, or SOURCE_DATE_EPOCH."""
    said = os.environ.get("SOURCE_DATE_EPOCH") or bom.git("log", "-1", "--format=%ct")
    if not said.isdecimal():
        raise Trouble("there is no commit to take the time from; set SOURCE_DATE_EPOCH to seconds since 1970")
    return int(said)


def program(name: str) -> pathlib.Path:
    """Builds it."""
    # What the linker would not find is named here.
    system.parts()
    path = binary.built(KINDS[name].package, KINDS[name].binary)
    binary.checked(path)
    return path


def given(name: str, path: pathlib.Path) -> pathlib.Path:
    """One that was built before, if it is of this version; the rest of what the bill says is the word of whoever gives it."""
    wanted = f"{KINDS[name].binary} {version()}"
    if (said := binary.said(str(path.resolve()), "--version").strip()) != wanted:
        raise Trouble(f"{path} says that it is {said}, and not {wanted}")
    return path


def image(name: str, path: pathlib.Path | None = None) -> oci.Image:
    """Of a program that is there, or is built."""
    kind = KINDS[name]
    target = binary.target()
    content, bundle = binary.checked(given(name, path) if path else program(name)), system.certificates()
    called = f"lunasec/{name}"
    bill_ = bill.of(called, kind.package, kind.binary, target, content, bundle)
    if faults := bom.faults(bill_):
        raise Trouble("\n  ".join(["the bill of materials would not hold:", *faults]))
    files = {
        kind.binary: oci.File(content, 0o755),
        "etc/ssl/certs/ca-certificates.crt": oci.File(bundle),
        # By this name scanners of images find it, and an archive cannot lose it.
        f"usr/share/sbom/lunasec-{name}.cdx.json": oci.File(bom.text(bill_).encode()),
        f"usr/share/licenses/lunasec-{name}.txt": oci.File(licences.text(kind.package, target)),
    }
    architecture = ARCHITECTURES[target.split("-")[0]]
    found = oci.Image(called, version(), architecture, config(kind), files, seconds())
    if found.size > LIMIT:
        raise Trouble(f"{called} has {found.size / 2**20:.1f} MiB unpacked; {LIMIT / 2**20:.0f} are allowed")
    return found


def config(kind: Kind) -> dict:
    return {
        "User": f"{kind.user}:{kind.user}",
        "Entrypoint": [f"/{kind.binary}"],
        "Cmd": kind.arguments,
        "WorkingDir": "/",
        "StopSignal": "SIGTERM",
        "Labels": labels(kind),
    }


def labels(kind: Kind) -> dict[str, str]:
    about = {
        "title": kind.title,
        "description": kind.description,
        "version": version(),
        "licenses": "Apache-2.0",
        "vendor": bom.SUPPLIER["name"],
        "created": oci.stamp(seconds()),
    }
    for commit in bom.commit():
        about["revision"] = commit["value"]
    return {f"org.opencontainers.image.{key}": value for key, value in sorted(about.items())}
