"""How archives are written, and what is refused; nothing here takes an engine."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import sys
import tarfile
import tempfile
import unittest
from unittest import mock

from emulators.trouble import Trouble
from world import ROOT

sys.path.insert(0, str(ROOT / "k8s/image"))
from packing import binary, contents, oci  # noqa: E402

FILES = {"etc/b": oci.File(b"two"), "a": oci.File(b"one", 0o755), "etc/a/c": oci.File(b"three")}


def image(files=FILES, seconds=86400):
    return oci.Image("lunasec/test", "1.2.3", "amd64", {"User": "1:1"}, files, seconds)


def content(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened if entry.isfile()}


class Archives(unittest.TestCase):
    def test_the_same_files_are_the_same_bytes_and_others_are_not(self):
        turned = dict(reversed(FILES.items()))
        self.assertEqual(oci.archive(image()), oci.archive(image(turned)))
        self.assertNotEqual(oci.digest(image()), oci.digest(image(seconds=86401)))
        self.assertNotEqual(oci.digest(image()), oci.digest(image({**FILES, "a": oci.File(b"one", 0o644)})))

    def test_nothing_in_it_is_of_this_machine_or_of_now(self):
        for packed in (oci.archive(image()), oci.layer(FILES, 86400)):
            with tarfile.open(fileobj=io.BytesIO(packed)) as opened:
                entries = opened.getmembers()
            self.assertEqual([entry.name for entry in entries], sorted(entry.name for entry in entries))
            self.assertEqual(
                {(entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) for entry in entries},
                {(0, 0, "", "", 86400)},
            )

    def test_compression_writes_no_name_and_no_clock(self):
        squeezed = oci.squeezed(b"content")
        self.assertEqual(squeezed[:10], b"\x1f\x8b\x08\x00" + bytes(4) + b"\x02\xff")
        self.assertEqual(gzip.decompress(squeezed), b"content")

    def test_each_blob_is_what_its_descriptor_says(self):
        found = content(oci.archive(image()))
        self.assertEqual(json.loads(found["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        [manifest] = json.loads(found["index.json"])["manifests"]
        inner = json.loads(found[self.path(manifest)])
        [layer] = inner["layers"]
        for descriptor in (manifest, inner["config"], layer):
            blob = found[self.path(descriptor)]
            self.assertEqual(descriptor["digest"], f"sha256:{hashlib.sha256(blob).hexdigest()}")
            self.assertEqual(descriptor["size"], len(blob))
        kinds = [each["mediaType"].rsplit(".", 1)[1] for each in (manifest, inner["config"])]
        self.assertEqual((kinds, layer["mediaType"]), (["v1+json"] * 2, oci.LAYER))
        config = json.loads(found[self.path(inner["config"])])
        unpacked = gzip.decompress(found[self.path(layer)])
        self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"])
        [docker] = json.loads(found["manifest.json"])
        self.assertEqual(docker["Layers"], [self.path(layer)])
        self.assertEqual(docker["RepoTags"], ["lunasec/test:1.2.3"])

    def path(self, descriptor):
        return descriptor["digest"].replace("sha256:", "blobs/sha256/")


class Refused(unittest.TestCase):
    def test_a_program_that_asks_for_a_library(self):
        with self.assertRaisesRegex(Trouble, "is not static"):
            binary.checked(pathlib.Path("/bin/true"))

    def test_a_program_that_says_where_it_was_built(self):
        for place in (*binary.places(), ROOT):
            with (
                tempfile.TemporaryDirectory() as directory,
                mock.patch.object(binary.crates, "libraries", return_value=[]),
                self.subTest(place),
            ):
                program = pathlib.Path(directory) / "program"
                program.write_bytes(b"at " + str(place).encode() + b"/sidecar")
                with self.assertRaisesRegex(Trouble, "says that it was built in"):
                    binary.checked(program)

    def test_a_program_that_is_given_and_is_another_one(self):
        for says in ("lunasec 0.0.1", "lunasec-injector 0.1.0", ""):
            with self.assertRaisesRegex(Trouble, f"says that it is {says}, and not lunasec "):
                contents.image("sidecar", self.saying(says))

    def test_a_program_that_is_given_and_is_not_static(self):
        with self.assertRaises(Trouble) as refused:
            contents.image("sidecar", self.saying(f"lunasec {contents.version()}"))
        self.assertIn("shows no program", str(refused.exception))

    def saying(self, words):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        program = pathlib.Path(directory.name) / "program"
        program.write_text(f"#!/bin/sh\necho {words}\n")
        program.chmod(0o755)
        return program

    def test_an_image_that_is_too_large(self):
        large = b"\0" * (contents.LIMIT + 1)
        whole = mock.Mock(return_value={})
        with (
            mock.patch.object(contents, "program"),
            mock.patch.object(contents.binary, "checked", return_value=large),
            mock.patch.object(contents.bill, "of", whole),
            mock.patch.object(contents.bom, "faults", return_value=[]),
            mock.patch.object(contents.licences, "text", return_value=b""),
            self.assertRaisesRegex(Trouble, "30 are allowed"),
        ):
            contents.image("sidecar")

    def test_a_time_that_is_none(self):
        with mock.patch.dict(os.environ, {"SOURCE_DATE_EPOCH": "now"}), self.assertRaisesRegex(Trouble, "seconds"):
            contents.seconds()
