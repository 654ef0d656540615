"""Images, containers, and pods made of them."""

from __future__ import annotations

import contextlib
import datetime
import functools
import http.client
import json
import pathlib
import subprocess
import tarfile
import tempfile
import time

from emulators.trouble import Trouble

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
IMAGES = pathlib.Path()
FIGURES: list[str] = []
PORT = 9464
SOCKET = "/run/lunasec/lunasec.sock"
CONFIG = """\
[storage]
kind = "memory"
[keys]
kind = "local"
path = "/var/lib/lunasec/local.key"
[sandbox]
mode = "required"
[[clients]]
name = "shop"
uid = 10001
namespaces = ["default"]
operations = ["tokenize", "detokenize"]
"""
ENVIRONMENT = {
    "LUNASEC_LISTEN__SOCKET": SOCKET,
    "LUNASEC_LISTEN__GROUP": "64733",
    "LUNASEC_LISTEN__ADMIN": f"0.0.0.0:{PORT}",
    "LUNASEC_LOG__FORMAT": "json",
    "LUNASEC_DEGRADE__STATE_DIR": "/var/lib/lunasec/state",
    "LUNASEC_DEGRADE__ON_STORAGE_OUTAGE": "reject",
}
# What the restricted Pod Security Standard asks for; the engine's own seccomp profile is its default.
RESTRICTED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


def built(directory: pathlib.Path, *options: str | pathlib.Path) -> pathlib.Path:
    done = subprocess.run([ROOT / "k8s/image/build", directory, *options], check=False)
    if done.returncode != 0:
        raise Trouble("the images could not be built")
    return directory


def archive(name: str = "sidecar") -> pathlib.Path:
    found = sorted(IMAGES.glob(f"lunasec-{name}-*.tar"))
    if len(found) != 1:
        raise Trouble(f"{IMAGES} has {len(found)} archives lunasec-{name}-VERSION.tar; one is wanted")
    return found[0]


def inside(path: pathlib.Path) -> dict[str, bytes]:
    with tarfile.open(path) as opened:
        return {entry.name: opened.extractfile(entry).read() for entry in opened if entry.isfile()}


@functools.lru_cache(maxsize=None)
def loaded(name: str = "sidecar") -> str:
    """Once for all tests; what it is called then."""
    docker("load", "--input", archive(name))
    return tag(archive(name))


def tag(path: pathlib.Path) -> str:
    return json.loads(inside(path)["manifest.json"])[0]["RepoTags"][0]


def tried(*words, **options) -> subprocess.CompletedProcess:
    command = ["docker", *map(str, words)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, **options)


def docker(*words, **options) -> str:
    done = tried(*words, **options)
    if done.returncode != 0:
        raise AssertionError(f"docker {' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def inspect(container: str, template: str) -> str:
    return docker("inspect", "--format", "{{" + template + "}}", container)


class Pod:
    """A sidecar, and what runs beside it; the volume and the network are those of this pod alone."""

    def __init__(self, image: str, until: contextlib.ExitStack, config: str = CONFIG):
        self.image = image
        self.volume = docker("volume", "create", *options("type=tmpfs", "device=tmpfs", "o=size=1m,mode=777"))
        until.callback(docker, "volume", "rm", self.volume)
        directory = until.enter_context(tempfile.TemporaryDirectory(prefix="lunasec-config-"))
        pathlib.Path(directory).chmod(0o755)
        (pathlib.Path(directory) / "lunasec.toml").write_text(config)
        variables = [word for name, value in ENVIRONMENT.items() for word in ("--env", f"{name}={value}")]
        self.sidecar = docker(
            *("create", *RESTRICTED, *variables),
            *("--volume", f"{self.volume}:/run/lunasec", "--volume", f"{directory}:/etc/lunasec:ro"),
            *("--tmpfs", "/var/lib/lunasec:mode=777,size=16m", image),
        )
        until.callback(docker, "rm", "--force", self.sidecar)

    def start(self) -> float:
        """Seconds from the container's start to the first /ready."""
        docker("start", self.sidecar)
        until = time.monotonic() + 60
        while self.ask("/ready") != 200:
            if inspect(self.sidecar, ".State.Running") != "true" or time.monotonic() > until:
                raise AssertionError(f"the sidecar is not ready\n{self.log()}")
        ready = time.time()
        return ready - seconds(inspect(self.sidecar, ".State.StartedAt"))

    def log(self) -> str:
        done = tried("logs", self.sidecar)
        return done.stdout + done.stderr

    def address(self) -> str:
        return inspect(self.sidecar, ".NetworkSettings.IPAddress")

    def ask(self, path: str) -> int | None:
        """The status, from outside of the pod; none while nobody listens."""
        return self.answer(path)[0]

    def answer(self, path: str) -> tuple[int | None, bytes]:
        connection = http.client.HTTPConnection(self.address(), PORT, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except ConnectionRefusedError:
            return None, b""
        finally:
            connection.close()

    def application(self, *arguments: str, uid: int = 10001, group: bool = True, volume: str | None = None, text=""):
        """The command line as a container of the same pod, of another user."""
        joins = ["--group-add", "64733"] if group else []
        return tried(
            *("run", "--rm", "--interactive", *RESTRICTED, "--user", f"{uid}:{uid}", *joins),
            *("--network", f"container:{self.sidecar}"),
            *("--volume", f"{volume or self.volume}:/run/lunasec:ro", "--env", f"LUNASEC_SOCKET={SOCKET}"),
            *(self.image, *arguments),
            input=text,
        )


def options(*words: str) -> list[str]:
    return [word for each in words for word in ("--opt", each)]


def seconds(stamp: str) -> float:
    """An engine's has more digits than Python reads."""
    read = datetime.datetime.fromisoformat(stamp.rstrip("Z")[:26])
    return read.replace(tzinfo=datetime.timezone.utc).timestamp()
