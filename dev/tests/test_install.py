"""Finding a Python, and installing once."""

import fcntl
import os
import pathlib
import subprocess
import sys
import unittest
from unittest import mock

from emulators import pythons, trouble
from world import DEV, World, eventually

ENSURE = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from emulators import venvs
print(venvs.ensure_from(pathlib.Path(sys.argv[2]), (3, 8)))
"""


HOLD = """
import pathlib, sys
sys.path.insert(0, sys.argv[1])
from emulators import venvs
with venvs.only_one(pathlib.Path(sys.argv[2])) as lock:
    venvs.run(["cat", sys.argv[3]], "waiting", lock)
"""


class Pythons(unittest.TestCase):
    def setUp(self):
        self.directory = World(self).directory
        patched = mock.patch.dict(
            os.environ, PATH=str(self.directory), PYENV_ROOT=str(self.directory / "pyenv")
        )
        patched.start()
        self.addCleanup(patched.stop)

    def script(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return str(path)

    def test_a_shim_that_does_not_run_is_passed_over(self):
        self.script("python3.13", "echo 'no such version' >&2; exit 127")
        self.script("python3.14", f'exec "{sys.executable}" "$@"')
        self.assertEqual(pythons.find((3, 8)), "python3.14")

    def test_a_version_manager_is_searched(self):
        managed = self.script("pyenv/versions/3.13.99/bin/python3", "echo 3 99")
        self.assertEqual(pythons.find((3, 99)), managed)

    def test_where_there_is_none_it_says_how_to_get_one(self):
        with self.assertRaises(trouble.Trouble) as caught:
            pythons.find((4, 0))
        for words in ("Python 4.0 or newer", "python3.13", "pyenv install", "apt install python3-venv"):
            self.assertIn(words, str(caught.exception))


class Install(unittest.TestCase):
    def setUp(self):
        self.world = World(self)
        self.world.environment["LUNASEC_CACHE"] = str(self.world.directory / "cache")
        self.requirements = self.world.directory / "nothing.txt"
        self.requirements.write_text("# no requirement\n")

    def start(self):
        command = [sys.executable, "-B", "-c", ENSURE, str(DEV), str(self.requirements)]
        return subprocess.Popen(
            command, env=self.world.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ends(self, processes):
        answers = [process.communicate() for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * len(processes), answers)
        [python] = {out.strip() for out, _ in answers}
        return pathlib.Path(python), sum("installing" in err for _, err in answers)

    def test_many_at_once_install_once_and_half_an_installation_is_done_again(self):
        python, installed = self.ends([self.start() for _ in range(4)])
        self.assertEqual(installed, 1)
        self.assertTrue(python.exists())
        self.assertEqual(self.ends([self.start()]), (python, 0))

        home = python.parent.parent
        (home / "complete").unlink()
        (home / "bin" / "pip").unlink()
        self.assertEqual(self.ends([self.start()]), (python, 1))
        self.assertTrue((home / "bin" / "pip").exists())

    def test_what_a_killed_installation_left_running_is_waited_for(self):
        home, busy = self.world.directory / "home", self.world.directory / "busy"
        os.mkfifo(busy)
        command = [sys.executable, "-B", "-c", HOLD, str(DEV), str(home), str(busy)]
        installation = subprocess.Popen(command, env=self.world.environment)
        with open(busy, "w"):  # returns once the command is at work
            installation.kill()
            installation.wait()
            self.assertFalse(is_free(home))
        eventually("the lock is free", lambda: is_free(home))

    def test_a_failed_installation_is_told_and_other_requirements_are_another_environment(self):
        self.requirements.write_text("--no-index\nlunasec-no-such-package\n")
        failed = self.start()
        _, err = failed.communicate()
        self.assertNotEqual(failed.returncode, 0)
        self.assertIn("installing from PyPI failed", err)
        self.assertIn("lunasec-no-such-package", err)
        [left] = (self.world.directory / "cache" / "python").glob("nothing-*[!k]")

        self.requirements.write_text("# still no requirement\n")
        python, installed = self.ends([self.start()])
        self.assertEqual(installed, 1)
        self.assertNotEqual(python.parent.parent, left)
        self.assertFalse((left / "complete").exists(), "a failed installation must not be taken for one")


def is_free(home):
    with open(f"{home}.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
