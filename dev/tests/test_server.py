"""dev/server, as tests use it."""

import os
import signal
import unittest

from world import DEV, World, clients, eventually, listening, loopback, refusal, round_trip


class Server(unittest.TestCase):
    def setUp(self):
        self.world = World(self)

    def test_it_ends_with_its_standard_input(self):
        for engine in ("localstack", "moto"):
            with self.subTest(engine):
                server = self.world.server(engine, engine)
                endpoint = server.endpoint()
                self.assertEqual(self.world.listeners(), [loopback(endpoint)])
                self.assertEqual(server.let_go(), 0)
                self.is_gone(endpoint)
                self.assertFalse(server.port_file.exists())

    def test_killed_at_any_point_it_leaves_nothing(self):
        """The server, and what it runs in the middle: the rest must follow, whoever is killed."""
        for engine, victims in (
            ("moto", ("dev/server", "run_moto.py")),
            ("localstack", ("dev/server", "run_localstack.py")),
        ):
            for victim in victims:
                with self.subTest(engine=engine, victim=victim):
                    server = self.world.server(engine, f"endpoint-{engine}-{victims.index(victim)}")
                    endpoint = server.endpoint()
                    os.kill(self.world.process(victim), signal.SIGKILL)
                    self.assertNotEqual(server.wait(), 0)
                    self.is_gone(endpoint)

    def test_stopped_while_it_starts_it_leaves_nothing(self):
        server = self.world.server("localstack")
        eventually(
            "LocalStack is being started",
            lambda: any("localstack.runtime" in each for each in self.world.processes().values()),
        )
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(self.world.processes(), {})
        self.assertFalse(server.port_file.exists())

    def test_many_at_once_have_ports_and_data_of_their_own(self):
        names = [f"endpoint-{number}" for number in range(4)]
        servers = [self.world.server("localstack" if name == names[0] else "moto", name) for name in names]
        endpoints = [server.endpoint() for server in servers]
        self.assertEqual(len(set(endpoints)), len(servers))
        for endpoint in endpoints:
            round_trip(endpoint)
        clients(endpoints[0])[0].put_object(Bucket="lunasec", Key="only-here", Body=b"")
        for endpoint in endpoints[1:]:
            missing = refusal(lambda: clients(endpoint)[0].get_object(Bucket="lunasec", Key="only-here"))
            self.assertEqual(missing["Error"]["Code"], "NoSuchKey")
        self.assertEqual([server.let_go() for server in servers], [0] * len(servers))

    def test_without_a_standard_input_it_says_why_it_ends(self):
        done = self.world.run(DEV / "server", "moto", "--port-file", self.world.directory / "endpoint")
        self.assertEqual(done.returncode, 1)
        self.assertIn("standard input", done.stderr)
        self.assertIn("--stay", done.stderr)
        self.assertEqual(self.world.processes(), {})

    def test_the_port_file_means_ready(self):
        """The first request after it appears is answered, by a client that does not try again."""
        server = self.world.server("moto", "endpoint", "--versioned")
        s3, kms = clients(server.endpoint())
        self.assertEqual(s3.get_bucket_versioning(Bucket="lunasec")["Status"], "Enabled")
        self.assertEqual(kms.describe_key(KeyId="alias/lunasec")["KeyMetadata"]["KeyState"], "Enabled")
        server.let_go()

    def is_gone(self, endpoint):
        eventually("no process is left", lambda: not self.world.processes())
        # A process that is dying loses its name before its sockets.
        eventually(
            "nothing listens", lambda: loopback(endpoint) not in [address for address, _ in listening()]
        )
