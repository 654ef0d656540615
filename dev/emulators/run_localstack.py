"""Run by LocalStack's own Python, on Linux: LocalStack in namespaces of its own, and a way in.

LocalStack listens on every interface whatever it is told. In a network namespace that has nothing but a
loopback of its own, nobody else is there. The way in is a listening socket that was bound outside: a
socket stays in the namespace it was made in, so connections accepted from it come from outside, and are
handed on to LocalStack's port inside.

The process namespace makes the kernel end whatever LocalStack started once LocalStack ends; the mount
namespace holds its files, in memory, and they go with it. Everything ends when standard input does,
which is when the parent does."""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys

INSIDE = ("127.0.0.1", 4566)
SETTINGS = {
    "SERVICES": "s3,kms",
    "EAGER_SERVICE_LOADING": "1",
    "DISABLE_EVENTS": "1",
    "SKIP_SSL_CERT_DOWNLOAD": "1",
    "DNS_ADDRESS": "0",
    "LS_LOG": "warning",
}
MISSING = """\
LocalStack listens on every interface, so it runs only in a network namespace of its own, and making one
is not allowed here ({}). What helps, one of:
  - unprivileged user namespaces: sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000,
    on Debian also kernel.unprivileged_userns_clone=1,
    on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0
  - root with CAP_SYS_ADMIN
  - Docker: dev/up --with docker
  - moto, which listens on loopback only: dev/up --with moto"""

libc = ctypes.CDLL(None, use_errno=True)


def main(listener, scratch):
    try:
        enter_namespaces()
        raise_loopback()
        mount_memory(scratch)
    except OSError as error:
        sys.exit(MISSING.format(error))
    asyncio.run(serve(listener, scratch))


def enter_namespaces():
    spaces = os.CLONE_NEWNET | os.CLONE_NEWPID | os.CLONE_NEWNS
    uid, gid = os.geteuid(), os.getegid()
    try:
        os.unshare(spaces)
    except PermissionError:
        os.unshare(spaces | os.CLONE_NEWUSER)
        keep_identity(uid, gid)


def keep_identity(uid, gid):
    """In the new user namespace we are who we were; an unmapped user could not open its own files."""
    for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)


def raise_loopback():
    get_flags, set_flags, up = 0x8913, 0x8914, 1  # SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = fcntl.ioctl(any_socket, get_flags, struct.pack("16sH14x", b"lo", 0))
        name, flags = struct.unpack("16sH14x", request)
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", name, flags | up))


def mount_memory(directory):
    recursive, private = 0x4000, 0x40000  # MS_REC, MS_PRIVATE
    mount(b"none", b"/", None, recursive | private, None)
    mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"mode=0700")


def mount(source, target, kind, flags, options):
    if libc.mount(source, target, kind, flags, options) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}")


async def serve(listener, scratch):
    # No thread may be made from here on: the kernel refuses it to a process whose children go to
    # another process namespace. So the end of LocalStack is a signal, and not a waiting thread.
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: os.read(sys.stdin.fileno(), 1) or end.set())
    loop.add_signal_handler(signal.SIGCHLD, end.set)
    loop.add_signal_handler(signal.SIGTERM, end.set)
    localstack = start(scratch)
    outside = socket.socket(fileno=listener)
    outside.setblocking(False)
    async with await asyncio.start_server(forward, sock=outside, backlog=1024):
        await end.wait()
        ended_by_itself = localstack.poll() is not None
        localstack.kill()
        localstack.wait()
    # Connections that are still open need no farewell.
    os._exit(1 if ended_by_itself else 0)


def start(scratch):
    environment = {
        **os.environ,
        **SETTINGS,
        "HOME": scratch,
        "TMPDIR": scratch,
        "FILESYSTEM_ROOT": f"{scratch}/localstack",
    }
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "localstack.runtime.main"],
        stdin=subprocess.DEVNULL,
        cwd=scratch,
        env=environment,
        preexec_fn=end_with_parent,
    )


def end_with_parent():
    set_death_signal = 1  # PR_SET_PDEATHSIG
    libc.prctl(set_death_signal, signal.SIGKILL)


async def forward(reader, writer):
    try:
        inner_reader, inner_writer = await asyncio.open_connection(*INSIDE)
    except OSError:
        return writer.transport.abort()  # not up yet
    try:
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))
    except OSError:
        pass  # one side is gone; the other learns it now
    finally:
        for each in (writer, inner_writer):
            each.close()


async def pipe(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
