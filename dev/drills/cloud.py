"""S3 and KMS on this machine, and a way to them that can be cut."""

import asyncio
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
# The first time it is installed.
PATIENCE = 600


@contextlib.contextmanager
def start(engine):
    """A server that runs until the end of the block, and where it answers."""
    with tempfile.TemporaryDirectory() as directory:
        told = pathlib.Path(directory) / "endpoint"
        command = [sys.executable, str(ROOT / "dev/server"), engine, "--port-file", str(told)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + PATIENCE
            while not told.exists():
                if server.poll() is not None:
                    sys.exit("dev/drill: S3 and KMS did not start; dev/server says above why")
                if time.monotonic() > deadline:
                    sys.exit("dev/drill: S3 and KMS do not come up")
                time.sleep(0.05)
            yield told.read_text().strip()
        finally:
            # It ends with its standard input.
            server.stdin.close()
            server.wait()


class Relay:
    """Forwards to a server. While it is cut nothing goes through and nothing is refused, as where packets are dropped."""

    def __init__(self, endpoint):
        self._server = endpoint.removeprefix("http://").split(":")
        self._loop = asyncio.new_event_loop()
        self._open = None

    def __enter__(self):
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)

    def cut(self):
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self):
        self._loop.call_soon_threadsafe(self._open.set)

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)

        async def listen():
            self._open = asyncio.Event()
            self._open.set()
            listener = await asyncio.start_server(self._forward, "127.0.0.1", 0)
            port = listener.sockets[0].getsockname()[1]
            self.endpoint = f"http://127.0.0.1:{port}"
            ready.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()

    async def _forward(self, reader, writer):
        host, port = self._server
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, source, target):
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                await self._open.wait()
                target.write(chunk)
                await target.drain()
        target.close()
