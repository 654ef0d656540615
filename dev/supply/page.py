"""docs/dependencies.md: its tables that are counted, and what its prose owes."""

from __future__ import annotations

import json
import re

from emulators.trouble import Trouble

from . import crates
from .crates import Crate, Graph, Id

PAGE = crates.ROOT / "docs" / "dependencies.md"
NODE = crates.ROOT / "client-sdks" / "node" / "package.json"
PROSE = "dependency"  # the heading of the column that names direct dependencies
# Through these goes a value or a token in the clear, and through the second ones a key or the credentials of AWS.
VALUES = {
    "aes-gcm", "base64", "bytes", "getrandom", "hkdf", "http-body-util", "hyper", "hyper-util", "prost", "serde",
    "serde_json", "sha2", "subtle", "tokio", "tonic", "zeroize",
}  # fmt: skip
KEYS = {"aws-config", "aws-sdk-kms", "aws-sdk-s3", "aws-smithy-http-client", "hmac"}


class Review:
    """All that the page counts, taken once."""

    def __init__(self):
        self.graphs: dict[str, Graph] = {target: crates.in_binary(target) for target in crates.TARGETS}
        self.built: Graph = {}
        for target in crates.TARGETS:
            for crate, below in crates.with_builders(target).items():
                self.built.setdefault(crate, set()).update(below)
        self.crates = crates.described(self.built)
        self.sources = {crate: crates.source(crate) for crate in self.built}
        self.binary = merged(self.graphs.values())
        values = crates.closure(self.binary, VALUES)
        keys = crates.closure(self.binary, KEYS)
        self.sees = {
            crate: "values" if crate in values else "keys" if crate in keys else "" for crate in self.binary
        }

    def theirs(self) -> list[Crate]:
        return [self.crates[crate] for crate in self.binary if not self.crates[crate].ours]

    def compiles(self, crate: Id) -> bool:
        """C or assembly: its build asks for a compiler, or it says that it links something."""
        asks = any(below.name in crates.COMPILERS for below in self.built[crate])
        return asks or self.crates[crate].links is not None

    def blocks(self) -> dict[str, str]:
        return {"sums": self.sums(), "binary": self.table(), "building": self.building()}

    def sums(self) -> str:
        # Of ours no lines: they change every day, and the page need not.
        ours = [self.sources[crate] for crate in self.binary if self.crates[crate].ours]
        rows = []
        for sees, title in (
            ("values", "see values or tokens, or are what those are built on"),
            ("keys", "see keys or AWS credentials, or are what those are built on, and are not above"),
            ("", "the others"),
        ):
            rows.append((title, [crate for crate in self.theirs() if self.sees[crate.id] == sees]))
        rows.append(("all but ours", self.theirs()))
        lines = ["| crates in the binary | number | lines | `unsafe` | without any |", "| --- | --: | --: | --: | --: |"]
        bare = sum(not each.unsafe for each in ours)
        lines.append(f"| ours | {len(ours)} | | {sum(each.unsafe for each in ours)} | {bare} |")
        for title, found in rows:
            texts = [self.sources[crate.id] for crate in found]
            lines.append(
                f"| {title} | {len(found)} | {sum(each.lines for each in texts):,} | "
                f"{sum(each.unsafe for each in texts):,} | {sum(not each.unsafe for each in texts)} |"
            )
        return "\n".join(lines)

    def table(self) -> str:
        lines = [
            "| crate | version | licence | lines | `unsafe` | sees | built with |",
            "| --- | --- | --- | --: | --: | --- | --- |",
        ]
        for crate in sorted(self.theirs(), key=lambda each: (-self.sources[each.id].unsafe, each.id)):
            only = [target for target, graph in self.graphs.items() if crate.id in graph]
            where = "" if len(only) == len(self.graphs) else f" ({only[0].split('-')[0]} only)"
            with_ = ", ".join(
                word
                for word, is_so in (
                    ("a build script", crate.build_script),
                    ("C, assembly", self.compiles(crate.id)),
                )
                if is_so
            )
            text = self.sources[crate.id]
            lines.append(
                f"| {crate.id.name}{where} | {crate.id.version} | {crate.licence} | {text.lines:,} | "
                f"{text.unsafe:,} | {self.sees[crate.id]} | {with_} |"
            )
        return "\n".join(lines)

    def building(self) -> str:
        lines = ["| crate | version | runs as | starts programs |", "| --- | --- | --- | --- |"]
        for crate in sorted(self.runs(), key=lambda each: each.id):
            kinds = [
                word for word, is_so in (("macro", crate.proc_macro), ("build script", crate.build_script)) if is_so
            ]
            starts = "yes" if self.sources[crate.id].starts_programs or self.compiles(crate.id) else ""
            lines.append(f"| {crate.id.name} | {crate.id.version} | {', '.join(kinds)} | {starts} |")
        helpers = len([crate for crate in self.built if crate not in self.binary]) - sum(
            crate.proc_macro for crate in self.crates.values()
        )
        lines += ["", f"{helpers} more crates are compiled for these alone, and run only inside of them."]
        return "\n".join(lines)

    def runs(self) -> list[Crate]:
        return [crate for crate in self.crates.values() if crate.proc_macro or crate.build_script]

    def complaints(self, page: str) -> list[str]:
        """What is wrong with the page, or with what it says that there is not."""
        found = [
            f"the table `{name}` is not what is counted now; dev/dependencies --write renews it"
            for name, block in self.blocks().items()
            if between(page, name) != block
        ]
        found += owed(page, self.wanted())
        for crate, text in self.sources.items():
            if text.unsafe and self.crates[crate].ours:
                found.append(f"{crate.name} is ours and has unsafe code")
            if text.names_a_network:
                found.append(f"the build script of {crate.name} {crate.version} may use a network; look at it")
        seen = {crate.name for crate in self.binary}
        found += [f"supply/page.py names {name}, which is not in the binary" for name in sorted((VALUES | KEYS) - seen)]
        return found

    def wanted(self) -> dict[str, str | None]:
        """Direct dependencies and their licences; those of npm packages are not in their manifests here."""
        licences = {crate.id.name: crate.licence for crate in self.crates.values()}
        wanted = {name: licences.get(name) for name in crates.direct()}
        manifest = json.loads(NODE.read_text())
        for name in [*manifest["dependencies"], *manifest["peerDependencies"]]:
            wanted[name] = None
        return wanted


def merged(graphs) -> Graph:
    found: Graph = {}
    for graph in graphs:
        for crate, below in graph.items():
            found.setdefault(crate, set()).update(below)
    return found


def owed(page: str, wanted: dict[str, str | None]) -> list[str]:
    """A row of prose for each direct dependency, no row for what is none, and licences as they are declared."""
    rows = prose(page)
    found = [f"{name} is a direct dependency and has no row of prose" for name in sorted(set(wanted) - set(rows))]
    found += [f"{name} has a row of prose and is no direct dependency" for name in sorted(set(rows) - set(wanted))]
    for name, cells in sorted(rows.items()):
        if not all(cells):
            found.append(f"the row of {name} has an empty cell")
        licence = wanted.get(name)
        if licence and licence not in cells:
            found.append(f"the licence of {name} is {licence}, and its row says something else")
    return found


def prose(page: str) -> dict[str, list[str]]:
    """The rows of the tables whose first column is headed so. A row may be about several crates."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in page.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        inside = bool(cells) and (inside or cells[0] == PROSE)
        if inside and cells[0] != PROSE and not re.fullmatch(r"[-:]+", cells[0]):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                found[name] = cells[1:]
    return found


def marks(name: str) -> tuple[str, str]:
    return f"<!-- counted by dev/dependencies: {name} -->\n", f"\n<!-- end of {name} -->"


def between(page: str, name: str) -> str:
    start, end = marks(name)
    if page.count(start) != 1 or page.count(end) != 1:
        raise Trouble(f"docs/dependencies.md must have each of the two marks of `{name}` once")
    return page.split(start)[1].split(end)[0]


def renewed(page: str, blocks: dict[str, str]) -> str:
    for name, block in blocks.items():
        between(page, name)
        start, end = marks(name)
        before, rest = page.split(start)
        page = before + start + block + end + rest.split(end)[1]
    return page
