"""A static C library finds names as the pod says, and TLS trusts what the image's bundle does."""

import contextlib
import ipaddress
import pathlib
import tempfile
import unittest

import network
from world import CONFIG, RESTRICTED, docker, loaded, tried

ISSUER = f"""
[[sessions]]
issuer = "https://{network.NAME}"
audience = "shop"
jwks = "https://{network.NAME}:{network.PORT}/jwks.json"
session_claim = "sid"
"""
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


class Names(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        until = contextlib.ExitStack()
        cls.addClassCleanup(until.close)
        cls.directory = pathlib.Path(until.enter_context(tempfile.TemporaryDirectory()))
        cls.directory.chmod(0o755)
        (cls.directory / "lunasec.toml").write_text(CONFIG + ISSUER)
        cls.authority, server = network.certificate(cls.directory)
        for path in cls.directory.iterdir():
            path.chmod(0o644)
        # The engine's own address there is the first one, and is not always said.
        subnet = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
        cls.address = str(next(ipaddress.ip_network(subnet, strict=False).hosts()))
        cls.asked = until.enter_context(network.names(cls.address))
        until.enter_context(network.issuer(cls.address, server))

    def check(self, *options):
        return tried(
            *("run", "--rm", *RESTRICTED, "--tmpfs", "/var/lib/lunasec:mode=777"),
            *("--volume", f"{self.directory}:/etc/lunasec:ro", *options, loaded()),
            *("check", "--connect", "--config", "/etc/lunasec/lunasec.toml"),
        )

    def trusting(self, *options):
        """The authority is the only one of the bundle."""
        return self.check("--volume", f"{self.authority}:{BUNDLE}:ro", *options)

    def test_a_name_of_the_pods_name_server_is_found_and_its_certificate_verified(self):
        done = self.trusting("--dns", self.address)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(network.NAME, self.asked)

    def test_a_name_in_etc_hosts_is_found_and_no_server_is_asked(self):
        self.asked.clear()
        done = self.trusting("--dns", self.address, "--add-host", f"{network.NAME}:{self.address}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.asked, [])

    def test_a_name_that_nobody_knows_is_said_to_be_unknown(self):
        done = self.trusting("--dns", "127.0.0.1")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("dns error", done.stdout + done.stderr)

    def test_an_authority_that_is_not_in_the_bundle_is_not_trusted(self):
        done = self.check("--dns", self.address)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("UnknownIssuer", done.stdout + done.stderr)

    def test_ssl_cert_file_names_another_bundle(self):
        done = self.check("--dns", self.address, "--env", "SSL_CERT_FILE=/etc/lunasec/ca.pem")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
