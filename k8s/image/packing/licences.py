"""The texts that go with what is in an image: most licences ask that they do."""

from __future__ import annotations

import pathlib
import re

from emulators.trouble import Trouble
from supply import crates

from . import ROOT, system

TEXTS = re.compile(r"(LICEN[CS]E|COPYING|COPYRIGHT|NOTICE)([-_.].*)?", re.IGNORECASE)
COMMON = pathlib.Path("/usr/share/common-licenses")
LINKED = """\
The binary is linked statically with the GNU C library, {version}, under the GNU Lesser General Public License, version
2.1 or later, whose text follows. All of the rest of it is open: with the sources of this commit and the other crates
named here anyone can link it with another build of the C library (k8s/image/build), and its source is that of the
Debian package named in the bill of materials.
"""


def text(package: str, target: str) -> bytes:
    """One text is written once, under the names of all that come with it."""
    under: dict[str, list[str]] = {}
    for crate in sorted(crates.in_binary(target, package)):
        known = crates.packages()[crate]
        # What is ours is under the first text.
        if known["source"] is not None:
            for found in texts(pathlib.Path(known["manifest_path"]).parent):
                under.setdefault(found, []).append(f"{crate.name} {crate.version}")
    parts = [headed("LunaSec", [(ROOT / "LICENSE").read_text()])]
    parts += [headed(", ".join(sorted(set(names))), [found]) for found, names in under.items()]
    return "\n".join([*parts, *of_system()]).encode()


def texts(home: pathlib.Path) -> list[str]:
    """A crate of a workspace sometimes leaves its text at home; its licence is in the bill of materials all the same."""
    paths = sorted(path for path in home.iterdir() if path.is_file() and TEXTS.fullmatch(path.name))
    return ["\n".join(line.rstrip() for line in crates.text(path).strip().splitlines()) for path in paths]


def of_system() -> list[str]:
    found = []
    for part in system.parts():
        copyright = pathlib.Path("/usr/share/doc") / part.package / "copyright"
        if not copyright.exists():
            raise Trouble(f"{copyright} is not there: the package {part.package} was installed without its documents")
        said = [copyright.read_text(encoding="utf-8", errors="replace")]
        if part.licence.startswith("LGPL"):
            said = [LINKED.format(version=part.version), (COMMON / "LGPL-2.1").read_text(), *said]
        if part.licence.startswith("GPL"):
            said += [(COMMON / "GPL-3").read_text()]
        found.append(headed(f"{part.name} {part.version}", said))
    return found


def headed(name: str, texts: list[str]) -> str:
    line = "=" * 80
    return "\n".join([line, name, line, *texts, ""])
