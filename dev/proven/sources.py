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
CRATES = {
    "api": "sidecar/api",
    "client": "client-sdks/rust",
    "core": "sidecar/core",
    "injector": "k8s/injector",
    "server": "sidecar/server",
}
SDK = {
    "node": "client-sdks/node/test",
    "express": "client-sdks/node/test/express",
    "graphql": "client-sdks/node/test/graphql",
    "shop": "client-sdks/node/samples/shop/test",
    "python": "client-sdks/python/test",
    "go": "client-sdks/go",
    "java": "client-sdks/java",
    "chart": "helm/test",
    "cluster": "tests/cluster/cases",
    "image": "k8s/image/tests",
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
        for file in sorted((crate / "tests").glob("*/main.rs")):
            found += rust.tests(file, (file.parent.name,))
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
            places = PLACES.get(family, of_node)(base, name)
        return next((place for place in places if place.is_file()), None)

    def has_title(self, file: pathlib.Path, title: str) -> bool:
        """A title, or its beginning, its end or its middle: `…` stands for what is left out."""
        wanted = plain(title.removeprefix("test_") if file.suffix == ".py" else title)
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


def of_node(base: pathlib.Path, name: str) -> list[pathlib.Path]:
    return [base / f"{name}.test.ts", base / name / f"{name}.test.ts"]


def of_python(base: pathlib.Path, name: str) -> list[pathlib.Path]:
    directory, _, last = name.rpartition("/")
    return [base / directory / f"test_{last}.py"]


def of_go(base: pathlib.Path, name: str) -> list[pathlib.Path]:
    return [base / f"{name}_test.go"]


def of_java(base: pathlib.Path, name: str) -> list[pathlib.Path]:
    return [path for path in sorted(base.rglob(f"{name}.java")) if "test" in path.parts]


PLACES = {
    "python": of_python,
    "chart": of_python,
    "cluster": of_python,
    "image": of_python,
    "go": of_go,
    "java": of_java,
}


def test(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test")


# `func TestX(`, and what is run within it by a name of its own.
GO = re.compile(r'^func ((?:Test|Fuzz|Example)\w*)\(|\.Run\("([^"]+)"', re.MULTILINE)
# A method behind one of these, and whatever else is said of it.
JAVA = re.compile(
    r"@(?:Test|ParameterizedTest|RepeatedTest|TestFactory)\b(?:\s*@\w+(?:\((?:[^()]|\([^()]*\))*\))?)*\s+(?:\w+\s+)*?void\s+(\w+)\s*\("
)


def titles(file: pathlib.Path) -> list[str]:
    text = file.read_text()
    if file.suffix == ".py":
        return [node.name.removeprefix("test_") for node in ast.walk(ast.parse(text)) if test(node)]
    if file.suffix == ".go":
        return [name or run for name, run in GO.findall(text) if name != "TestMain"]
    if file.suffix == ".java":
        return JAVA.findall(text)
    return [re.sub(r"\\(.)", r"\1", one or other or third) for one, other, third in TITLE.findall(text)]


def plain(title: str) -> str:
    return title.replace("_", " ").replace("’", "'").strip()


def fits(names: Path, path: Path) -> bool:
    return len(names) == len(path) and all(map(like, names, path))


def like(name: str, whole: str) -> bool:
    """`…` stands for something that is left out."""
    return bool(re.fullmatch(".+".join(map(re.escape, name.split("…"))), whole))
