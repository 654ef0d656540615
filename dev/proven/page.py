"""A document, and each name in it that must be one of a test."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from .sources import RUST, TITLED, Path, Sources, like

CODE = re.compile(r"`([^`]+)`")
COLUMNS = ("proof", "test")
# In prose only what cannot be anything else.
NAMED = re.compile(rf"(?:{'|'.join(RUST)})(?:::| [a-z_]+(?:::|$)).*|[pvw]::.+")
FILE = re.compile(r"[\w./-]*[\w-]/[\w./-]+|[\w-]+\.(?:rs|py|md|json)")
NO_TEST = "no test: "
SAME = "the same"


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a document owes."""

    whole: bool = False  # names are written out
    bare: frozenset[str] | None = None  # headings of tables that claim nothing; without it any may
    letters: dict[str, str] = dataclasses.field(default_factory=dict)  # that stand for test files
    family: str = ""  # of names that say none


def strict(*bare: str) -> Rules:
    return Rules(whole=True, bare=frozenset(bare))


PAGES = {
    "SECURITY.md": strict("when | what you get", "document | what it answers"),
    "PROOFS.md": Rules(),
    "docs/threat-model.md": strict("asset | where it is | what would be lost", "of | that | where it is not so"),
    # Below each of these is one of statements.
    "docs/cryptography.md": strict(
        "key | bits | made by | lives | held by", "what | from | for", "what | how | what it does not do"
    ),
    "docs/compliance.md": strict("part | what it has | so"),
    "sidecar/core/CRYPTOGRAPHY.md": Rules(
        letters={"p": "properties", "v": "vectors", "w": "wycheproof"}, family="core"
    ),
}


@dataclasses.dataclass
class Place:
    """What the names before this one in its cell were about."""

    family: str = ""
    names: Path = ()
    module: Path = ()
    file: str = ""
    proves: bool = True  # else a file need not hold tests: it is where something was measured, say


class Page:
    def __init__(self, sources: Sources, rules: Rules):
        self.sources = sources
        self.rules = rules

    def complaints(self, text: str) -> list[str]:
        found = []
        column = None
        above = ""  # the proofs of the row above
        for number, line in enumerate(text.splitlines(), 1):
            cells = row(line)
            if not cells:
                column = None
            elif column is None:
                column = next((place for place, cell in enumerate(cells) if cell.lower() in COLUMNS), -1)
                above = ""
                if column < 0 and self.rules.bare is not None and " | ".join(cells) not in self.rules.bare:
                    found.append(f"{number}: a table without a column of tests")
                continue
            proof = cells[column] if column is not None and 0 <= column < len(cells) else None
            prose = [line] if proof is None else cells[:column] + cells[column + 1 :]
            found += [f"{number}: {why}" for why in self.of_prose(prose)]
            if proof is not None and not re.fullmatch(":?-+:?", proof):
                found += [f"{number}: {why}" for why in self.of_cell(proof, above)]
                above = proof
        return found

    def of_prose(self, texts: list[str]) -> list[str]:
        place = Place()
        names = [name for text in texts for name in CODE.findall(text) if NAMED.fullmatch(name)]
        return [why for name in names for why in self.of(name, place)]

    def of_cell(self, cell: str, above: str) -> list[str]:
        names = CODE.findall(cell)
        if cell.startswith(SAME) and (above.startswith(NO_TEST) or not (CODE.search(above) or above.startswith(SAME))):
            return ["nothing is named above that could be the same"]
        if not names and not cell.startswith((SAME, NO_TEST)):
            return ["a row without a test"]
        place = Place(proves=not cell.startswith(NO_TEST))
        return [why for name in names for why in self.of(name, place)]

    def of(self, name: str, place: Place) -> list[str]:
        if self.rules.whole and "…" in name:
            return [f"`{name}` is not written out"]
        return [] if self.known(name, place) else [f"`{name}` is no test"]

    def known(self, name: str, place: Place) -> bool:
        family, _, rest = name.partition(" ") if " " in name else name.partition("::")
        if family in self.rules.letters and "::" in name:
            return self.by_path("core", (self.rules.letters[family], *rest.split("::")), place)
        if family in TITLED:
            return self.by_title(family, rest, place)
        if family in RUST and rest:
            return self.by_path(family, tuple(rest.split("::")), place)
        if name.startswith("::"):
            return self.continued(name[2:], place)
        if place.family in TITLED and re.fullmatch(r"[a-z]+/[a-z]+", name):
            return self.by_title(place.family, name, place)
        if FILE.fullmatch(name.split()[0]):
            return self.by_file(name, place)
        return self.shortened(name, place)

    def by_path(self, family: str, names: Path, place: Place) -> bool:
        if not self.sources.has_rust(family, names):
            return False
        place.family, place.names, place.file = family, names, ""
        # Names that follow are in it if it is a module, and beside it if it is a test.
        module = self.sources.has_rust(family, (*names, "…"))
        place.module = names if module else names[:-1]
        return True

    def by_title(self, family: str, rest: str, place: Place) -> bool:
        file, _, title = rest.partition("::")
        found = self.sources.sdk_file(family, file)
        if not found or title and not self.sources.has_title(found, title):
            return False
        place.family, place.names, place.file = family, (file,), ""
        return True

    def continued(self, rest: str, place: Place) -> bool:
        """`::name` stands in the place of the last parts of the name before it."""
        if place.family in TITLED:
            return self.by_title(place.family, f"{place.names[0]}::{rest}", place)
        names = tuple(rest.split("::"))
        return bool(place.names) and self.by_path(place.family, (*place.names[: -len(names)], *names), place)

    def by_file(self, name: str, place: Place) -> bool:
        """A file of tests or a directory of them; a script, and options behind it that it knows."""
        path, *options = name.split()
        if not (self.sources.holds_tests(path) if place.proves else self.sources.is_file(path)):
            return False
        place.family, place.names, place.file = "", (), path
        text = (self.sources.root / path).read_text() if options else ""
        return all(f'"{option}"' in text for option in options)

    def shortened(self, name: str, place: Place) -> bool:
        """A name in the file, the module or the directory that was named before it."""
        names = tuple(name.split("::"))
        if len(names) > 1:
            family = place.family or self.rules.family
            return family in RUST and self.by_path(family, names, place)
        if place.file == "tests/fuzz":
            return self.sources.is_file(f"tests/fuzz/targets/{name}.rs")
        if place.file.endswith(".rs"):
            return any(like(name, one) for one in self.sources.functions_of(place.file))
        if self.sources.is_file(f"dev/tests/{name}.py"):
            place.family, place.names, place.file = "", (), f"dev/tests/{name}.py"
            return True
        if place.file.endswith(".py"):
            return name in self.sources.python(place.file)
        return place.family in RUST and self.sources.has_rust(place.family, (*place.module, name))


def row(line: str) -> list[str]:
    """The cells of a row of a table; none where the line is none."""
    if not line.startswith("|"):
        return []
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def complaints(root: pathlib.Path) -> list[str]:
    sources = Sources(root)
    found = []
    for path, rules in PAGES.items():
        if not (root / path).is_file():
            found.append(f"{path} is missing")
            continue
        found += [f"{path}:{why}" for why in Page(sources, rules).complaints((root / path).read_text())]
    return found
