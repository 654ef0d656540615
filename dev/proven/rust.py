"""The tests of the Rust crates, by the paths that cargo gives them, without building anything."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

from supply import rust

# A path that a macro or an attribute needs is more than its words.
PIECE = re.compile(rust.ASIDE % r"(?:r\#)?\w+|::|[{}()\[\]\#!;:,]", re.VERBOSE | re.DOTALL)
OPENS, CLOSES = {"{", "(", "["}, {"}", ")", "]"}


@dataclasses.dataclass(frozen=True)
class Test:
    path: tuple[str, ...]
    ignored: bool = False


def tests(root: pathlib.Path, path: tuple[str, ...] = ()) -> Iterator[Test]:
    """Those of a crate, from the file that it begins with: what no `mod` leads to is not compiled, and no proof."""
    yield from of_module(root, path, root.parent)


def of_module(file: pathlib.Path, path: tuple[str, ...], below: pathlib.Path) -> Iterator[Test]:
    reader = Reader(list(rust.walk(PIECE, file.read_text())), path)
    reader.read()
    yield from reader.tests
    for child in reader.files:
        place = below.joinpath(*child[len(path) :])
        found = next((one for one in (place.with_suffix(".rs"), place / "mod.rs") if one.is_file()), None)
        if found:
            yield from of_module(found, child, place)


class Reader:
    """Goes through the pieces of one file, and knows in which module it is."""

    def __init__(self, pieces: list[str], path: tuple[str, ...]):
        self.pieces = pieces
        self.modules: list[tuple[int, tuple[str, ...]]] = [(0, path)]
        self.depth = 0
        self.makers: set[str] = set()  # macros that make a test of each of their lines
        self.tests: list[Test] = []
        self.files: list[tuple[str, ...]] = []

    def read(self):
        test = ignored = False
        at = 0
        while at < len(self.pieces):
            now, rest = self.pieces[at], self.pieces[at + 1 : at + 4]
            if now == "#" and rest[:1] == ["["]:
                end = self.end(at + 1)
                attribute = self.pieces[at + 2 : end]
                test = test or attribute[:1] == ["test"] or attribute[:3] == ["tokio", "::", "test"]
                ignored = ignored or attribute[:1] == ["ignore"]
                at = end
            elif now == "macro_rules" and rest[:1] == ["!"]:
                at = self.definition(rest[1], at + 3)
            elif now in self.makers and rest[:1] == ["!"]:
                at = self.made(at + 2)
            elif now == "mod" and rest[1:2] == ["{"]:
                self.modules.append((self.depth, self.inside(rest[0])))
            elif now == "mod" and rest[1:2] == [";"]:
                self.files.append(self.inside(rest[0]))
            elif now == "fn" and rest:
                if test:
                    self.tests.append(Test(self.inside(rest[0]), ignored))
                test = ignored = False
            elif now == "{":
                self.depth += 1
            elif now == "}":
                self.depth -= 1
                if len(self.modules) > 1 and self.modules[-1][0] == self.depth:
                    self.modules.pop()
            at += 1

    def inside(self, name: str) -> tuple[str, ...]:
        return (*self.modules[-1][1], name)

    def end(self, at: int) -> int:
        """Where what opens there closes."""
        depth = 0
        for place in range(at, len(self.pieces)):
            depth += (self.pieces[place] in OPENS) - (self.pieces[place] in CLOSES)
            if depth == 0:
                return place
        return len(self.pieces) - 1

    def definition(self, name: str, at: int) -> int:
        end = self.end(at)
        body = self.pieces[at:end]
        marks = (["#", "[", "test", "]"], ["#", "[", "tokio", "::", "test"])
        if any(body[place : place + len(mark)] == mark for mark in marks for place in range(len(body))):
            self.makers.add(name)
        return end

    def made(self, at: int) -> int:
        """`name: what it takes,` one after the other."""
        end = self.end(at)
        depth = 0
        for place in range(at, end):
            before, now, after = self.pieces[place - 1], self.pieces[place], self.pieces[place + 1]
            if depth == 1 and before in {"{", ","} and after == ":":
                self.tests.append(Test(self.inside(now)))
            depth += (now in OPENS) - (now in CLOSES)
        return end


def functions(files: list[pathlib.Path]) -> set[str]:
    """Those that something in these files calls: a function that nobody calls proves nothing."""
    words = [word for file in files for word in rust.words(file.read_text())]
    made = {after for word, after in zip(words, words[1:]) if word == "fn"}
    return {name for name in made if words.count(name) > 1}
