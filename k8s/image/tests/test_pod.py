"""A pod's containers: the sidecar, and an application beside it."""

import contextlib
import json
import pathlib
import statistics
import time
import unittest

import world
from world import Pod, docker, inspect, loaded

VALUE = "4111 1111 1111 1111"
GRACE = 30


def pod(until):
    return Pod(loaded(), until)


class APod(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.until = contextlib.ExitStack()
        cls.addClassCleanup(cls.until.close)
        cls.pod = pod(cls.until)
        cls.pod.start()

    def tokenized(self):
        done = self.pod.application("tokenize", text=VALUE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_it_runs_as_the_restricted_standard_asks(self):
        process = pathlib.Path("/proc") / inspect(self.pod.sidecar, ".State.Pid")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
        self.assertEqual(status["Uid"].split(), ["64733"] * 4)
        self.assertEqual(status["Gid"].split(), ["64733"] * 4)
        self.assertEqual({status[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}, {"0" * 16})
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
        [root] = [line.split() for line in (process / "mounts").read_text().splitlines() if line.split()[1] == "/"]
        self.assertIn("ro", root[3].split(","))

    def test_its_own_sandbox_is_in_force(self):
        code, body = self.pod.answer("/status")
        self.assertEqual(code, 200)
        said = json.loads(body)["sandbox"]
        self.assertEqual((said["mode"], said["seccomp"], said["no_new_privileges"]), ("required", True, True))
        self.assertGreaterEqual(said["landlock_abi"], 1)
        self.assertEqual(said["capabilities_left"], [])

    def test_the_probes_answer_at_the_pods_address(self):
        self.assertEqual({self.pod.ask(path) for path in ("/ready", "/live", "/metrics")}, {200})

    def test_an_application_in_the_group_tokenizes_and_detokenizes(self):
        token = self.tokenized()
        self.assertTrue(token.startswith("lunasec-"))
        done = self.pod.application("detokenize", text=token)
        self.assertEqual((done.returncode, done.stdout.strip()), (0, VALUE), done.stderr)

    def test_one_that_is_not_in_it_cannot_open_the_socket(self):
        done = self.pod.application("tokenize", group=False, text=VALUE)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Permission denied", done.stderr)

    def test_one_that_is_no_client_is_forbidden(self):
        done = self.pod.application("tokenize", uid=10002, text=VALUE)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("forbidden", done.stderr)

    def test_an_application_cannot_replace_the_socket(self):
        done = self.pod.application("tokenize", "--force", "--output", world.SOCKET, text=VALUE)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Read-only file system", done.stderr)
        self.tokenized()

    def test_another_pod_reaches_neither_its_socket_nor_its_records(self):
        token = self.tokenized()
        with contextlib.ExitStack() as until:
            other = pod(until)
            other.start()
            done = other.application("detokenize", text=token)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("not_found", done.stderr)
            self.assertNotEqual(other.volume, self.pod.volume)
            # A pod that has the network of the first, and a volume of its own, finds no socket.
            empty = docker("volume", "create")
            until.callback(docker, "volume", "rm", empty)
            done = self.pod.application("detokenize", volume=empty, text=token)
            self.assertIn("No such file", done.stderr)


class Life(unittest.TestCase):
    def test_it_is_ready_soon_and_ends_well_when_it_is_told_to(self):
        times = []
        for _ in range(5):
            with contextlib.ExitStack() as until:
                one = pod(until)
                times.append(one.start())
                began = time.monotonic()
                docker("stop", "--time", GRACE, one.sidecar)
                self.assertLess(time.monotonic() - began, GRACE)
                self.assertEqual(inspect(one.sidecar, ".State.ExitCode"), "0", one.log())
        world.FIGURES.append(
            f"container's start to /ready: median {statistics.median(times) * 1000:.0f} ms of {len(times)}"
        )
