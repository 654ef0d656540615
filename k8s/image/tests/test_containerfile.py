"""The Containerfile's final stages, on the archive's own files: the first stage takes a registry, and is replaced."""

import io
import json
import pathlib
import re
import tarfile
import tempfile
import unittest

from test_archive import PROGRAMS, images
from world import ROOT, archive, docker, inside, inspect, tag

FILE = ROOT / "k8s/image/Containerfile"
CONFIG = ("User", "Entrypoint", "Cmd", "StopSignal")


def layer(name):
    content = inside(archive(name))
    [path] = json.loads(content["manifest.json"])[0]["Layers"]
    return tarfile.open(fileobj=io.BytesIO(content[path]))


def built(name, directory):
    """With the stage `build` made of the archive's files."""
    with layer(name) as files:
        files.extractall(directory / "images" / name)
    text, replaced = re.subn(
        r"^FROM \$\{BUILD_IMAGE\} AS build$.*?(?=^FROM )",
        "FROM scratch AS build\nCOPY images /images\n",
        FILE.read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    if replaced != 1:
        raise AssertionError("the Containerfile has no first stage by the name of build")
    # The classic builder makes every stage before the one that is asked for.
    others = [other for other in PROGRAMS if other != name]
    for other in others:
        text = re.sub(rf"^FROM scratch AS {other}$.*?(?=^FROM |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)
    (directory / "Containerfile").write_text(text)
    wanted = f"lunasec-test-containerfile-{name}"
    docker("build", "--target", name, "--tag", wanted, "--file", directory / "Containerfile", directory)
    return wanted


class Containerfile(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def test_its_images_are_those_of_the_archives(self):
        for name in images():
            docker("load", "--input", archive(name))
            image = built(name, self.directory)
            self.addCleanup(docker, "rmi", image)
            for key in CONFIG:
                said = inspect(image, f"json .Config.{key}")
                self.assertEqual(said, inspect(tag(archive(name)), f"json .Config.{key}"), key)
            self.assertEqual(self.labels(image) | {"created", "revision"}, self.labels(tag(archive(name))))
            self.assertEqual(self.files(image), self.files(tag(archive(name))))

    def labels(self, image):
        said = json.loads(inspect(image, "json .Config.Labels"))
        return {name.removeprefix("org.opencontainers.image.") for name in said}

    def files(self, image):
        saved = self.directory / "saved.tar"
        docker("save", "--output", saved, image)
        content = inside(saved)
        found = {}
        for path in json.loads(content["manifest.json"])[0]["Layers"]:
            with tarfile.open(fileobj=io.BytesIO(content[path])) as entries:
                for entry in entries:
                    if entry.isfile():
                        what = (entry.mode, entry.uid, entry.gid, int(entry.mtime), entries.extractfile(entry).read())
                        found[entry.name] = what
        return found

    def test_it_has_the_workspaces_version_and_toolchain(self):
        text = FILE.read_text()
        version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
        channel = re.search(r'^channel = "(.*)"$', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE)[1]
        self.assertEqual(set(re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE)), {version})
        self.assertEqual(set(re.findall(r"^ARG RUST_VERSION=(.*)$", text, re.MULTILINE)), {channel})
