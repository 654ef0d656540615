"""What the tests share: starting things, finding what they leave, and a client that is not ours."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import boto3
import botocore
import botocore.config

DEV = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 240
MARK = "LUNASEC_DEV_TEST"


def eventually(what: str, condition):
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"never: {what}")
        time.sleep(0.02)
    return answer


class World:
    """A directory and a mark: every process started here inherits the mark, so none can hide."""

    def __init__(self, case):
        self.mark = uuid.uuid4().hex
        temporary = tempfile.TemporaryDirectory()
        case.addCleanup(temporary.cleanup)
        case.addCleanup(self.kill_all)
        self.directory = pathlib.Path(temporary.name)
        self.environment = {**os.environ, MARK: self.mark}

    def run(self, *command, **more) -> subprocess.CompletedProcess:
        more = {"env": self.environment, "timeout": PATIENCE, "stdin": subprocess.DEVNULL, **more}
        return subprocess.run(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
        )

    def up(self, *arguments, **more) -> subprocess.CompletedProcess:
        return self.run(DEV / "up", "--dir", self.directory / "aws", *arguments, **more)

    def down(self, **more) -> subprocess.CompletedProcess:
        return self.run(DEV / "down", "--dir", self.directory / "aws", **more)

    def endpoint(self) -> str:
        return (self.directory / "aws" / "endpoint").read_text()

    def server(self, engine: str, name: str = "endpoint", *arguments) -> Server:
        return Server(self, engine, self.directory / name, arguments)

    def processes(self) -> dict[int, str]:
        """Those that carry the mark, by id, with their command lines."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (
                    entry / "environ"
                ).read_bytes().split(b"\0"):
                    if command := (entry / "cmdline").read_bytes():
                        found[int(entry.name)] = command.replace(b"\0", b" ").decode()
        return found

    def process(self, name: str) -> int:
        [pid] = [pid for pid, command in self.processes().items() if name in command]
        return pid

    def kill_all(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually("all is killed", lambda: not self.processes())

    def listeners(self) -> list[str]:
        """Addresses outside of any namespace on which what was started here listens."""
        held = set()
        for pid in self.processes():
            with contextlib.suppress(OSError):
                held |= {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
        return [address for address, inode in listening() if f"socket:[{inode}]" in held]


class Server:
    """dev/server as a test holds it: by its standard input."""

    def __init__(self, world: World, engine: str, port_file: pathlib.Path, arguments):
        self.port_file = port_file
        command = [str(DEV / "server"), engine, "--port-file", str(port_file), *arguments]
        self.process = subprocess.Popen(
            command, env=world.environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def endpoint(self) -> str:
        eventually("the server is ready", lambda: self.port_file.exists() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError(self.process.stderr.read())
        return self.port_file.read_text()

    def let_go(self) -> int:
        """What a test's end is to the server, however the test ends."""
        self.process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        with self.process.stderr:
            code = self.process.wait(PATIENCE)
        self.process.stdin.close()
        return code


def listening() -> list[tuple[str, str]]:
    """Address as the kernel writes it, and inode, of each listening TCP socket."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError), open(table) as lines:
            fields = [line.split() for line in list(lines)[1:]]
            found += [(each[1], each[9]) for each in fields if each[3] == "0A"]
    return found


def loopback(endpoint: str) -> str:
    return "0100007F:%04X" % int(endpoint.rsplit(":", 1)[1])


def clients(endpoint: str):
    settings = botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    session = boto3.Session("test", "test", region_name="eu-central-1")
    return [session.client(name, endpoint_url=endpoint, config=settings) for name in ("s3", "kms")]


def round_trip(endpoint: str) -> None:
    s3, kms = clients(endpoint)
    assert s3.get_bucket_location(Bucket="lunasec")["LocationConstraint"] == "eu-central-1"
    key, value = f"records/{uuid.uuid4()}", os.urandom(100_000)
    s3.put_object(Bucket="lunasec", Key=key, Body=value, IfNoneMatch="*")
    assert s3.get_object(Bucket="lunasec", Key=key)["Body"].read() == value
    refused = refusal(lambda: s3.put_object(Bucket="lunasec", Key=key, Body=b"other", IfNoneMatch="*"))
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 412, refused
    assert s3.get_object(Bucket="lunasec", Key=key)["Body"].read() == value

    context = {"namespace": "default"}
    made = kms.generate_data_key(KeyId="alias/lunasec", KeySpec="AES_256", EncryptionContext=context)
    opened = kms.decrypt(CiphertextBlob=made["CiphertextBlob"], EncryptionContext=context)
    assert opened["Plaintext"] == made["Plaintext"]
    sealed = kms.encrypt(KeyId="alias/lunasec", Plaintext=b"key")["CiphertextBlob"]
    assert kms.decrypt(KeyId="alias/lunasec", CiphertextBlob=sealed)["Plaintext"] == b"key"


def refusal(call) -> dict:
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response
    raise AssertionError("this should have been refused")


if __name__ == "__main__":
    round_trip(sys.argv[1])
