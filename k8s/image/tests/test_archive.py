"""What is in an image, before it runs."""

import io
import json
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

import world
from engine_of_its_own import containerd
from world import archive, docker, inside, inspect, loaded, tried

LIMIT = 30 * 2**20
USERS = {"sidecar": 64733, "injector": 64734}
PROGRAMS = {"sidecar": "lunasec", "injector": "lunasec-injector"}


def files(name):
    return {
        PROGRAMS[name],
        "etc/ssl/certs/ca-certificates.crt",
        f"usr/share/licenses/lunasec-{name}.txt",
        f"usr/share/sbom/lunasec-{name}.cdx.json",
    }


def layers(saved):
    """Entries of all the layers of what `docker save` wrote."""
    content = inside(saved)
    for path in json.loads(content["manifest.json"])[0]["Layers"]:
        with tarfile.open(fileobj=io.BytesIO(content[path])) as layer:
            yield from layer


class Archive(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)

    def test_docker_loads_it_under_its_name_with_nothing_but_the_named_files(self):
        for name in PROGRAMS:
            saved = self.directory / f"{name}.tar"
            docker("save", "--output", saved, loaded(name))
            entries = [entry for entry in layers(saved) if not entry.isdir()]
            self.assertEqual({entry.name for entry in entries}, files(name))
            self.assertTrue(all(entry.isfile() and entry.uid == entry.gid == 0 for entry in entries))
            self.assertEqual({entry.mode & 0o7022 for entry in entries}, {0}, "nobody may write, nothing is setuid")
            size = int(inspect(loaded(name), ".Size"))
            self.assertLessEqual(size, LIMIT)
            world.FIGURES.append(
                f"lunasec/{name}: {size / 2**20:.1f} MiB, archive {archive(name).stat().st_size / 2**20:.1f} MiB"
            )

    def test_the_image_is_what_the_archive_says(self):
        for name in PROGRAMS:
            config = json.loads(inside(archive(name))["manifest.json"])[0]["Config"]
            self.assertEqual(inspect(loaded(name), ".Id"), f"sha256:{config.split('/')[-1]}")
            self.assertEqual(inspect(loaded(name), ".Config.User"), f"{USERS[name]}:{USERS[name]}")
            self.assertEqual(inspect(loaded(name), "json .Config.Entrypoint"), f'["/{PROGRAMS[name]}"]')

    def test_containerd_takes_it_and_finds_it_whole(self):
        with containerd(self.directory) as ctr:
            for name in PROGRAMS:
                ctr("images", "import", "--no-unpack", archive(name))
                wanted = f"docker.io/{loaded(name)}"
                [line] = ctr("images", "check", f"name=={wanted}").splitlines()[1:]
                self.assertIn("complete", line)

    def test_there_is_no_shell(self):
        for shell in ("/bin/sh", "sh", "/bin/bash", "/busybox"):
            done = tried("run", "--rm", "--entrypoint", shell, loaded(), "-c", "true")
            self.assertEqual(done.returncode, 127, done.stderr)

    def test_the_bill_beside_it_is_the_one_in_it_and_names_each_part(self):
        for name in PROGRAMS:
            beside = archive(name).with_suffix(".cdx.json").read_bytes()
            content = inside(archive(name))
            [path] = json.loads(content["manifest.json"])[0]["Layers"]
            with tarfile.open(fileobj=io.BytesIO(content[path])) as layer:
                self.assertEqual(layer.extractfile(f"usr/share/sbom/lunasec-{name}.cdx.json").read(), beside)
            licences = {part["name"]: part["licenses"][0] for part in json.loads(beside)["components"]}
            self.assertEqual(licences["glibc"]["license"]["id"], "LGPL-2.1-or-later")
            self.assertEqual(licences["ca-certificates"]["license"]["id"], "MPL-2.0")
            self.assertIn(PROGRAMS[name], licences)
            self.assertIn("tokio", licences)

    def test_the_program_is_static_and_loaded_anywhere(self):
        for name in PROGRAMS:
            content = inside(archive(name))
            [path] = json.loads(content["manifest.json"])[0]["Layers"]
            with tarfile.open(fileobj=io.BytesIO(content[path])) as layer:
                program = self.directory / PROGRAMS[name]
                program.write_bytes(layer.extractfile(PROGRAMS[name]).read())
            said = subprocess.run(
                ["readelf", "--wide", "--file-header", "--program-headers", program],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            self.assertNotIn("INTERP", said)
            self.assertRegex(said, r"Type: +DYN", "at an address that nobody can foretell")
            self.assertRegex(said, r"GNU_STACK .* RW ")
