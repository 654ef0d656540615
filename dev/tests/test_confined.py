"""Without root, without a network, and without the namespaces that LocalStack needs."""

import os
import pathlib
import sys
import unittest

from emulators import venvs
from world import DEV, World

NOBODY = 65534

# Bind mounts keep the needed directories reachable below one that is closed to others (a home, mostly).
SHOW = """
set -eu
closed=$1; shift; hold=$1; shift; count=$1; shift
if [ "$closed" != none ]; then
    mount -t tmpfs tmpfs "$hold"
    n=0; for path; do [ $n -lt $count ] || break; mkdir "$hold/$n"; mount --bind "$path" "$hold/$n"; n=$((n+1)); done
    mount -t tmpfs -o mode=0755 tmpfs "$closed"
    n=0; for path; do [ $n -lt $count ] || break; mkdir -p "$path"; mount --bind "$hold/$n" "$path"; n=$((n+1)); done
fi
shift $count
exec "$@"
"""
# In the order of a developer's day; any step that fails ends it.
DAY = """
set -eu
"$1" -B -c 'import sys; sys.path.insert(0, sys.argv[1]); import run_localstack; run_localstack.raise_loopback()' "$2/emulators"
drop="$5"
$drop "$2/up" --with localstack --dir "$3" --port 0
$drop "$1" -B "$2/tests/world.py" "$(cat "$3/endpoint")"
$drop id -u
$drop "$2/down" --dir "$3"
"""


class Confined(unittest.TestCase):
    def setUp(self):
        self.world = World(self)

    def test_without_root_and_without_a_network(self):
        state = self.world.directory / "aws"
        state.mkdir()
        done = self.without_a_network(
            "sh", "-c", DAY, "day", sys.executable, DEV, state, "-", self.drop(state)
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("in a network namespace of its own", done.stdout)
        self.assertNotIn("\n0\n", done.stdout, "this was to run without root")
        self.assertIn("Stopped.", done.stdout)
        self.assertEqual(self.world.processes(), {})

    def drop(self, state):
        """What runs a command as somebody who is nobody."""
        if os.geteuid() != 0:
            return f"setpriv --reuid {os.geteuid()}"
        for path in (self.world.directory, state):
            os.chown(path, NOBODY, NOBODY)
        return f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups --bounding-set=-all --no-new-privs"

    def without_a_network(self, *command):
        """In a network namespace with nothing but loopback, to be raised by the command."""
        python = sys.base_prefix, *(str(base_of(venvs.ensure(name))) for name in venvs.OLDEST)
        needed = {str(DEV.parent), str(venvs.cache() / "python"), *python}
        closed = {str(top) for path in needed if (top := closed_above(path))} if os.geteuid() == 0 else set()
        self.assertLessEqual(len(closed), 1, "one closed directory is all that this test can open")
        below = [path for path in sorted(needed) if closed and path.startswith(f"{min(closed)}/")]
        hold = self.world.directory / "hold"
        hold.mkdir()
        spaces = [
            "--mount",
            "--net",
            *([] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]),
        ]
        environment = {
            **self.world.environment,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/nonexistent",
            "LUNASEC_CACHE": str(venvs.cache()),
        }
        return self.world.run(
            "unshare",
            *spaces,
            "sh",
            "-c",
            SHOW,
            "show",
            min(closed, default="none"),
            hold,
            len(below),
            *below,
            *command,
            env=environment,
            cwd="/",
        )

    def test_where_namespaces_are_refused_it_says_what_helps(self):
        port_file = self.world.directory / "endpoint"
        forbid = 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"'
        done = self.world.run(
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            forbid,
            "forbid",
            DEV / "server",
            "localstack",
            "--stay",
            "--port-file",
            port_file,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        for words in ("not allowed here", "user.max_user_namespaces", "--with docker", "--with moto"):
            self.assertIn(words, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse(port_file.exists())
        self.assertEqual(self.world.processes(), {})


def base_of(python):
    """Where the Python lies that an environment was made from."""
    return pathlib.Path(python).resolve().parent.parent


def closed_above(path):
    """The topmost directory on the way to `path` that others may not enter."""
    ways = [*reversed(pathlib.Path(path).parents), pathlib.Path(path)]
    return next((way for way in ways if not way.stat().st_mode & 0o001), None)
