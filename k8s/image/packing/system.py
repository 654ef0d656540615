"""What comes from the machine's packages: the certificate bundle, and the C that is linked in."""

from __future__ import annotations

import dataclasses
import pathlib
import urllib.parse

from emulators.trouble import Trouble
from supply import bom

from .binary import said

BUNDLE = "ca-certificates"


@dataclasses.dataclass(frozen=True)
class Part:
    """A package of Debian's, of which the image has something."""

    name: str
    package: str
    version: str
    licence: str
    what: str

    def component(self) -> dict:
        version = urllib.parse.quote(self.version, safe="")
        return {
            "type": "library",
            "bom-ref": f"{self.name}@{self.version}",
            "name": self.name,
            "version": self.version,
            "description": self.what,
            "licenses": bom.licences(self.licence),
            "purl": f"pkg:deb/debian/{self.package}@{version}",
        }


def certificates() -> bytes:
    """The package's own, and none that somebody added to this machine."""
    if changed := said("dpkg", "--verify", BUNDLE).strip():
        raise Trouble(f"files of the package {BUNDLE} were changed on this machine; reinstall it\n{changed}")
    paths = said("dpkg", "--listfiles", BUNDLE).split("\n")
    found = sorted(path for path in paths if path.startswith("/usr/share/ca-certificates/") and path.endswith(".crt"))
    if not found:
        raise Trouble(f"the package {BUNDLE} has no certificates; apt-get install {BUNDLE}")
    return b"".join(pathlib.Path(path).read_bytes().strip() + b"\n" for path in found)


def parts() -> list[Part]:
    return [
        linked("glibc", "libc.a", "LGPL-2.1-or-later", "the C library, linked in"),
        linked("libgcc", "libgcc_eh.a", "GPL-3.0-or-later WITH GCC-exception-3.1", "unwinds a panic, linked in"),
        Part(BUNDLE, BUNDLE, version(BUNDLE), "MPL-2.0", "Mozilla's certificate authorities"),
    ]


def linked(name: str, archive: str, licence: str, what: str) -> Part:
    """By the archive that the linker takes it from."""
    path = pathlib.Path(said("cc", f"-print-file-name={archive}").strip()).resolve()
    if not path.exists():
        raise Trouble(f"{archive} is not there; apt-get install libc6-dev gcc")
    package = said("dpkg", "--search", str(path)).split(":")[0]
    return Part(name, package, version(package), licence, what)


def version(package: str) -> str:
    # A package of several architectures is here once: what is built is for this machine.
    return said("dpkg-query", "--show", "--showformat=${Version}\n", package).split("\n")[0]
