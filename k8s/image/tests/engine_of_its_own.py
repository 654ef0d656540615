"""A containerd for what Docker's engine does not show."""

import contextlib
import pathlib
import subprocess
import time


@contextlib.contextmanager
def containerd(directory: pathlib.Path):
    """Gives `ctr` on it."""
    socket = directory / "containerd.sock"
    config = directory / "containerd.toml"
    config.write_text(
        f'version = 2\nroot = "{directory}/root"\nstate = "{directory}/state"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n'
    )
    log = (directory / "containerd.log").open("w+")
    with log, subprocess.Popen(["containerd", "--config", config], stdout=log, stderr=log) as engine:
        until = time.monotonic() + 60
        try:
            while subprocess.run(["ctr", "--address", socket, "version"], capture_output=True, check=False).returncode:
                if engine.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise AssertionError(f"containerd did not start\n{log.read()[-3000:]}")

            def ctr(*words) -> str:
                command = ["ctr", "--address", socket, "--namespace", "lunasec", *words]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise AssertionError(f"ctr {words}: {done.stderr}")
                return done.stdout

            yield ctr
        finally:
            engine.terminate()
            engine.wait(60)
