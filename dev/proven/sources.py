"""What can be named as a proof: every test that there is, by the name that the documents give it."""

from __future__ import annotations

import ast
import functools
import pathlib
import re

from . import rust

ROOT = pathlib.Path(__file__).resolve().parents[2]
Path = tuple[str, ...]

# Tests of the whole are named from the module that their binary begins with, those of a crate from any module.
WHOLE = ("adversarial", "end_to_end", "faults", "grpc", "simulation", "vault")
CRATES = {"api": "sidecar/api", "client": "client-sdks/rust", "core": "sidecar/core", "server": "sidecar/server"}
SDK = {
    "node": "client-sdks/node/test",
    "express": "client-sdks/node/test/express",
    "graphql": "client-sdks/node/test/graphql",
    "shop": "client-sdks/node/samples/shop/test",
}
RUST = (*WHOLE, *CRATES)
TITLED = (*SDK, "contract")
CASES = pathlib.Path("tests", "contract")
# A test, or what makes some of one title: those are called at the beginning of a line.
TITLE = re.compile(
    r"""(?:^\w+|\b(?:test|it|describe)(?:\.\w+)?)\(\s*"""
    r"""(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)""",
    re.MULTILINE,
)


class Sources:
    """The sources of one checkout."""

    def __init__(self, root: pathlib.Path = ROOT):
        self.root = root

    @functools.lru_cache(maxsize=None)
    def rust(self, family: str) -> list[rust.Test]:
        if family in WHOLE:
            return list(rust.tests(self.root / "tests" / family / "main.rs"))
        crate = self.root / CRATES[family]
        found = list(rust.tests(crate / "src" / "lib.rs"))
        for file in sorted((crate / "tests").glob("*.rs")):
            found += rust.tests(file, (file.stem,))
        return found

    def has_rust(self, family: str, names: Path) -> bool:
        """Whether a test, or a module with tests, is called so. `tests`, of a module's own, may be left out."""
        for test in self.rust(family):
            if test.ignored:
                continue
            for path in (test.path, tuple(part for part in test.path if part != "tests")):
                starts = [0] if family in WHOLE else range(len(path))
                if any(fits(names, path[start : start + len(names)]) for start in starts):
                    return True
        return False

    @functools.lru_cache(maxsize=None)
    def functions_of(self, file: str) -> set[str]:
        """The tests in a file, and of conformance the functions that each of them calls."""
        place = self.root / file
        names = {test.path[-1] for test in rust.tests(place)}
        if file == "tests/conformance.rs":
            source = self.root / "tests" / "src"
            names |= rust.functions([source / "conformance.rs", *sorted((source / "conformance").glob("*.rs"))])
        return names

    @functools.lru_cache(maxsize=None)
    def python(self, file: str) -> set[str]:
        """Test classes and test functions of a file."""
        names = set()
        for node in ast.walk(ast.parse((self.root / file).read_text())):
            if isinstance(node, ast.ClassDef) and any(test(child) for child in node.body):
                names.add(node.name)
            elif test(node):
                names.add(node.name)
        return names

    def sdk_file(self, family: str, name: str) -> pathlib.Path | None:
        if family == "contract":
            places = [self.root / "tests" / "contract" / "sdk" / f"{name}.json"]
        else:
            base = self.root / SDK[family]
            places = [base / f"{name}.test.ts", base / name / f"{name}.test.ts"]
        return next((place for place in places if place.is_file()), None)

    def has_title(self, file: pathlib.Path, title: str) -> bool:
        """A title, or its beginning, its end or its middle: `…` stands for what is left out."""
        wanted = plain(title)
        inner = ".*".join(re.escape(part) for part in wanted.split("…"))
        # What several versions run has the version in front, which is no part of the name.
        pattern = re.compile(rf"(?:.*: )?{inner}")
        return any(pattern.fullmatch(plain(one)) for one in titles(file))

    def is_file(self, path: str) -> bool:
        return (self.root / path).exists()

    def holds_tests(self, path: str) -> bool:
        """That a file is there proves nothing: it holds tests or cases, or is a script that can be run and fail."""
        place = self.root / path
        if place.is_dir():
            return self.holds_tests(f"{path}/run")
        if not place.is_file() or place.suffix == ".md":
            return False
        if place.suffix == ".rs":
            return bool(self.functions_of(path))
        if place.suffix == ".json":
            return self.root / CASES in place.parents
        return place.read_text().startswith("#!") or place.suffix == ".py" and bool(self.python(path))


def test(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test")


def titles(file: pathlib.Path) -> list[str]:
    return [re.sub(r"\\(.)", r"\1", one or other or third) for one, other, third in TITLE.findall(file.read_text())]


def plain(title: str) -> str:
    return title.replace("_", " ").replace("’", "'").strip()


def fits(names: Path, path: Path) -> bool:
    return len(names) == len(path) and all(map(like, names, path))


def like(name: str, whole: str) -> bool:
    """`…` stands for something that is left out."""
    return bool(re.fullmatch(".+".join(map(re.escape, name.split("…"))), whole))
