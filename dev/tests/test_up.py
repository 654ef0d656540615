"""dev/up and dev/down."""

import os
import pathlib
import signal
import unittest

from world import World, clients, listening, loopback, round_trip


class UpAndDown(unittest.TestCase):
    def setUp(self):
        self.world = World(self)

    def test_localstack(self):
        self.goes_up_and_down("localstack")

    def test_moto(self):
        self.goes_up_and_down("moto")

    def goes_up_and_down(self, engine):
        first = self.world.up("--with", engine, "--port", "0")
        self.assertEqual(first.returncode, 0, first.stderr)
        endpoint = self.world.endpoint()
        self.assertIn(f"S3 and KMS run at {endpoint}", first.stdout)
        round_trip(endpoint)
        self.assertEqual(self.world.listeners(), [loopback(endpoint)], "loopback, and nothing else")

        running = self.world.processes()
        second = self.world.up("--with", engine, "--port", "0")
        self.assertEqual(second.returncode, 0, second.stderr)
        self.assertIn(f"already run at {endpoint}", second.stdout)
        self.assertEqual(self.world.processes(), running)

        down = self.world.down()
        self.assertEqual((down.returncode, down.stderr), (0, ""))
        self.assertEqual(self.world.processes(), {})
        self.assertNotIn(loopback(endpoint), [address for address, _ in listening()])
        self.assertIn("Nothing to stop", self.world.down().stdout)

    def test_what_it_writes_points_a_sidecar_at_it(self):
        self.world.up("--with", "moto", "--port", "0")
        directory = self.world.directory / "aws"
        endpoint = self.world.endpoint()
        config = parse((directory / "lunasec.toml").read_text())
        self.assertEqual(
            config["storage"],
            {
                "kind": "s3",
                "bucket": "lunasec",
                "prefix": "",
                "region": "eu-central-1",
                "endpoint": endpoint,
                "path_style": True,
            },
        )
        self.assertEqual(
            config["keys"],
            {
                "kind": "kms",
                "key_id": "alias/lunasec",
                "region": "eu-central-1",
                "endpoint": endpoint,
            },
        )
        for path in (config["listen"]["socket"], config["degrade"]["state_dir"]):
            self.assertEqual(pathlib.Path(path).parent, directory)
        seen = self.world.run(
            "sh", "-c", '. "$0" && env', directory / "env", env={"PATH": os.environ["PATH"]}
        ).stdout.split()
        for line in (
            "AWS_ACCESS_KEY_ID=test",
            "AWS_SECRET_ACCESS_KEY=test",
            "AWS_REGION=eu-central-1",
            f"AWS_ENDPOINT_URL={endpoint}",
        ):
            self.assertIn(line, seen)

    def test_versioning_is_off_unless_asked_for(self):
        for arguments, status in (([], None), (["--versioned"], "Enabled")):
            self.world.up("--with", "moto", "--port", "0", *arguments)
            s3, _ = clients(self.world.endpoint())
            self.assertEqual(s3.get_bucket_versioning(Bucket="lunasec").get("Status"), status)
            self.world.down()

    def test_a_taken_port_is_named(self):
        self.world.up("--with", "moto", "--port", "0")
        port = self.world.endpoint().rsplit(":", 1)[1]
        other = World(self)
        refused = other.up("--with", "moto", "--port", port)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(f"cannot listen on 127.0.0.1:{port}", refused.stderr)
        self.assertIn("--port 0", refused.stderr)
        self.assertNotIn("Traceback", refused.stderr)
        self.assertEqual(other.processes(), {})

    def test_after_a_crash_it_starts_anew(self):
        self.world.up("--with", "moto", "--port", "0")
        os.kill(self.world.process("dev/server"), signal.SIGKILL)
        self.assertIn("Nothing to stop", self.world.down().stdout)
        again = self.world.up("--with", "moto", "--port", "0")
        self.assertEqual(again.returncode, 0, again.stderr)
        round_trip(self.world.endpoint())

    def test_down_stops_only_its_own(self):
        other = World(self)
        for world in (self.world, other):
            world.up("--with", "moto", "--port", "0")
        self.world.down()
        self.assertEqual(self.world.processes(), {})
        round_trip(other.endpoint())


def parse(text):
    """Enough TOML for the file that we write; the standard library's parser is younger than some Pythons."""
    sections, fields = {}, {}
    for line in text.splitlines():
        if line.startswith("["):
            fields = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, value = line.partition(" = ")
            fields[name] = value == "true" if value in ("true", "false") else value.strip('"')
    return sections
