"""The Containerfile says of each image what the archives do. It is read, not built: its first stage takes a registry."""

import json
import re
import subprocess
import sys
import unittest

from world import ROOT

sys.path.insert(0, str(ROOT / "k8s/image"))
from packing import contents  # noqa: E402

FILE = ROOT / "k8s/image/Containerfile"


def stages():
    """The instructions of each stage by its name; lines that go on are one."""
    text = re.sub(r"\\\n\s*", "", FILE.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found, current = {}, []
    for line in lines:
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            current = found.setdefault(start[2], [("FROM", start[1])])
        else:
            current.append(tuple(line.split(" ", 1)))
    return found


class Containerfile(unittest.TestCase):
    def test_each_image_is_from_scratch_and_says_what_the_archive_does(self):
        found = stages()
        self.assertEqual(set(found), {"build", *contents.KINDS})
        for name, kind in contents.KINDS.items():
            wanted = contents.config(kind)
            said = [(word, value) for word, value in found[name] if word not in {"ARG", "LABEL"}]
            for at, (word, value) in enumerate(said):
                if word in {"ENTRYPOINT", "CMD"}:
                    said[at] = (word, json.loads(value))
            self.assertEqual(
                said,
                [
                    ("FROM", "scratch"),
                    ("COPY", f"--from=build /images/{name}/ /"),
                    ("USER", wanted["User"]),
                    ("STOPSIGNAL", wanted["StopSignal"]),
                    ("ENTRYPOINT", wanted["Entrypoint"]),
                    ("CMD", wanted["Cmd"]),
                ],
            )

    def test_its_labels_are_those_of_the_archive_but_for_the_time(self):
        for name, kind in contents.KINDS.items():
            [text] = [value for word, value in stages()[name] if word == "LABEL"]
            said = dict(re.findall(r'(\S+?)="(.*?)"', text))
            wanted = contents.labels(kind)
            del wanted["org.opencontainers.image.created"]
            fixed = {"version": "${VERSION}", "revision": "${REVISION}"}
            wanted |= {f"org.opencontainers.image.{key}": value for key, value in fixed.items()}
            self.assertEqual(said, wanted)

    def test_the_first_stage_builds_what_the_last_ones_copy(self):
        first = stages()["build"]
        self.assertEqual(first[0], ("FROM", "${BUILD_IMAGE}"))
        self.assertIn(("RUN", "k8s/image/build --files ${ONLY} /images"), first)
        self.assertFalse([value for word, value in first if word == "RUN" and "--mount" in value])

    def test_what_the_builder_does_not_get_is_no_part_of_the_commit(self):
        """Or else the bill would say that the checkout was changed."""
        words = ["git", "ls-files", "--cached", "--ignored", f"--exclude-from={FILE}.dockerignore"]
        self.assertEqual(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout, "")

    def test_it_has_the_workspaces_version_and_toolchain(self):
        text = FILE.read_text()
        channel = re.search(r'^channel = "(.*)"$', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE)[1]
        self.assertEqual(set(re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE)), {contents.version()})
        self.assertEqual(set(re.findall(r"^ARG RUST_VERSION=(.*)$", text, re.MULTILINE)), {channel})
