"""dev/sbom: nothing is missing from the bills of materials, nothing is too much, and two runs give the same."""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest
from unittest import mock

from emulators.trouble import Trouble
from supply import bom, crates
from world import DEV, World

BINARY = {target: f"-{target}.cdx.json" for target in crates.TARGETS}
WRITTEN = {}


def setUpModule():
    WRITTEN.update(bom.all_of_them())


def of(target):
    [found] = [each for name, each in WRITTEN.items() if name.endswith(BINARY[target])]
    return found


def every(each):
    """What cargo knows by these names: the binary goes by its package's."""
    parts = [each["metadata"]["component"], *each["components"]]
    return {(part["bom-ref"].split("@")[0], part["version"]) for part in parts}


def cargo_tree(target):
    """Each crate by each road, without any reading of depths."""
    text = crates.cargo(
        *("tree", "--package", crates.PACKAGE, "--target", target, "--edges", "normal,no-proc-macro"),
        *("--prefix", "none", "--no-dedupe"),
    )
    return {(name, version) for name, version in re.findall(r"^(\S+) v(\S+)", text, re.MULTILINE)}


def compiled(target):
    """What cargo would hand to the compiler for the binary, and who uses whom: another part of cargo says it."""
    command = ["cargo", "build", "--unit-graph", "-Zunstable-options", "--release", "--locked", "--offline"]
    command += ["--package", crates.PACKAGE, "--bin", "lunasec", "--target", target]
    done = subprocess.run(
        command, cwd=crates.ROOT, env={**os.environ, "RUSTC_BOOTSTRAP": "1"}, stdout=subprocess.PIPE, check=True
    )
    units = json.loads(done.stdout)["units"]
    names = {}
    for at, unit in enumerate(units):
        if unit["platform"] == target and unit["mode"] == "build":
            place, _, name = unit["pkg_id"].partition("#")
            names[at] = tuple(name.split("@")) if "@" in name else (place.rsplit("/", 1)[1], name)
    edges = {name: set() for name in names.values()}
    for at, name in names.items():
        below = {names[each["index"]] for each in units[at]["dependencies"] if each["index"] in names}
        edges[name] |= below - {name}
    return edges


class TheBinary(unittest.TestCase):
    def test_it_has_what_cargo_tree_has_no_more_and_no_less(self):
        for target in crates.TARGETS:
            self.assertEqual(every(of(target)), cargo_tree(target))

    def test_it_has_what_the_compiler_is_given_and_who_uses_whom(self):
        for target in crates.TARGETS:
            split = {
                tuple(each["ref"].split("@")): {tuple(head.split("@")) for head in each["dependsOn"]}
                for each in of(target)["dependencies"]
            }
            self.assertEqual(split, compiled(target))

    def test_hashes_are_those_of_the_lock_file_and_licences_those_that_are_allowed(self):
        lock = (crates.ROOT / "Cargo.lock").read_text()
        allowing = (crates.ROOT / "deny.toml").read_text().split("allow = [")[1].split("]")[0]
        allowed = set(re.findall(r'"([^"]+)"', allowing))
        for part in of(crates.TARGETS[0])["components"]:
            name = f'name = "{part["name"]}"\nversion = "{part["version"]}"\n'
            if part["name"] in crates.SHIPPED:
                self.assertNotIn("hashes", part)
                self.assertNotIn("checksum", lock.split(name)[1].split("[[package]]")[0])
                continue
            [sum_] = part["hashes"]
            self.assertIn(f'checksum = "{sum_["content"]}"', lock.split(name)[1].split("[[package]]")[0])
            [licence] = part["licenses"]
            said = licence.get("expression") or licence["license"]["id"]
            for either in said.replace("(", "").replace(")", "").split(" AND "):
                self.assertTrue(allowed & set(either.split(" OR ")), said)


class TheNodeSdk(unittest.TestCase):
    def test_it_has_what_an_installation_brings(self):
        [found] = [each for name, each in WRITTEN.items() if "node" in name]
        packages = json.loads((bom.NODE / "package-lock.json").read_text())["packages"]
        wanted = {
            (place.rsplit("node_modules/", 1)[1], each["version"])
            for place, each in packages.items()
            if place and not {"dev", "peer", "devOptional", "optional"} & set(each)
        }
        self.assertEqual({(part["name"], part["version"]) for part in found["components"]}, wanted)
        self.assertEqual(set(json.loads((bom.NODE / "package.json").read_text())["dependencies"]), {"undici"})
        self.assertEqual(found["metadata"]["component"]["purl"].split("@")[0], "pkg:npm/%40lunasec/node")


class OfEach(unittest.TestCase):
    def test_it_says_who_supplies_it_what_made_it_and_of_which_commit(self):
        command = ["git", "rev-parse", "HEAD"]
        head = subprocess.run(command, cwd=crates.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        changed = ["git", "diff", "--quiet", "HEAD"]
        dirty = "-dirty" if subprocess.run(changed, cwd=crates.ROOT).returncode else ""
        for name, each in WRITTEN.items():
            about = each["metadata"]
            self.assertEqual(about["supplier"], {"name": "LunaSec contributors"}, name)
            [tool] = about["tools"]["components"]
            self.assertEqual((tool["name"], tool["version"]), ("dev/sbom", about["component"]["version"]), name)
            properties = {one["name"]: one["value"] for one in about["properties"]}
            self.assertEqual(properties["lunasec:commit"], head + dirty, name)

    def test_outside_of_a_checkout_there_is_no_commit_and_no_time(self):
        elsewhere = World(self).directory
        outside = {"GIT_CEILING_DIRECTORIES": str(elsewhere.parent), "GIT_DIR": str(elsewhere / "none")}
        with mock.patch.dict(os.environ, outside):
            self.assertEqual(bom.commit(), [])
            with self.assertRaisesRegex(Trouble, "no commit to take the time from"):
                bom.stamp()


class Faults(unittest.TestCase):
    """Each way to break one is found."""

    def setUp(self):
        self.bom = copy.deepcopy(of(crates.TARGETS[0]))

    def found(self, words):
        complaints = bom.faults(self.bom)
        self.assertTrue(any(words in each for each in complaints), complaints)

    def test_whole_ones_have_none(self):
        for each in WRITTEN.values():
            self.assertEqual(bom.faults(each), [])

    def test_format(self):
        self.bom.update(specVersion="1.2", serialNumber="urn:uuid:1")
        self.bom["metadata"]["timestamp"] = "yesterday"
        for words in ("specVersion is not", "serial number", "timestamp"):
            self.found(words)

    def test_who_and_what_made_it(self):
        [commit] = [one for one in self.bom["metadata"]["properties"] if one["name"] == "lunasec:commit"]
        commit["value"] = "main"
        del self.bom["metadata"]["supplier"]
        del self.bom["metadata"]["tools"]["components"][0]["version"]
        for words in ("the commit is none", "nobody is named as the supplier", "no tool is named with its version"):
            self.found(words)

    def test_a_component_is_gone_or_there_twice(self):
        gone = self.bom["components"].pop()["bom-ref"]
        self.found(f"leads to {gone}, which is not there")
        self.bom["components"].append(self.bom["components"][0])
        self.found("is there more than once")

    def test_a_component_that_nothing_leads_to(self):
        self.bom["components"].append({**self.bom["components"][0], "bom-ref": "stray@1.0.0"})
        self.found("stray@1.0.0 has not one entry")
        self.bom["dependencies"].append({"ref": "stray@1.0.0", "dependsOn": []})
        self.found("nothing leads to stray@1.0.0")

    def test_parts_of_a_component(self):
        one, two, three, four, five = self.bom["components"][:5]
        del one["version"]
        two["purl"] = two["purl"].split("@")[0]
        three["hashes"][0]["content"] = "0" * 63
        del four["hashes"]
        five["licenses"] = [{"expression": "MIT/Apache-2.0"}]
        for words in ("has no version", "the purl of", "a hash of", "has no hash", "the licence of"):
            self.found(words)

    def test_a_place_of_this_machine(self):
        for place in (str(crates.ROOT / "sidecar"), "file:///anywhere"):
            self.bom["metadata"]["properties"][0]["value"] = place
            self.found("it says ")


class TheCommand(unittest.TestCase):
    def setUp(self):
        self.world = World(self)

    def written(self, name, **environment):
        directory = self.world.directory / name
        done = self.world.run(
            sys.executable, DEV / "sbom", directory, env={**self.world.environment, **environment}, cwd="/"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        names = [pathlib.Path(line).name for line in done.stdout.splitlines()]
        return {each: (directory / each).read_bytes() for each in names}

    def test_two_runs_write_the_same_bytes_and_another_time_another(self):
        first = self.written("first")
        self.assertEqual(set(first), set(WRITTEN))
        self.assertEqual(first, {name: bom.text(each).encode() for name, each in WRITTEN.items()})
        self.assertEqual(first, self.written("second"))
        other = self.written("other", SOURCE_DATE_EPOCH="86400")
        for name, content in other.items():
            self.assertIn(b'"timestamp": "1970-01-02T00:00:00Z"', content)
            self.assertNotEqual(content, first[name])

    def test_a_time_that_is_none_is_refused(self):
        done = self.world.run(
            sys.executable, DEV / "sbom", self.world.directory, env={**os.environ, "SOURCE_DATE_EPOCH": "now"}
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn("seconds since 1970", done.stderr)

