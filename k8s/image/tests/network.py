"""A name server and an issuer of JWTs over TLS, at an address that containers reach."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import pathlib
import socket
import ssl
import struct
import subprocess
import threading

NAME = "issuer.lunasec.test"
PORT = 8443
KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch".split()


@contextlib.contextmanager
def names(address: str):
    """Knows one name, which is at the same address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        asked: list[str] = []
        threading.Thread(target=answer, args=(server, address, asked), daemon=True).start()
        yield asked


def answer(server: socket.socket, address: str, asked: list[str]) -> None:
    while True:
        try:
            query, peer = server.recvfrom(512)
        except OSError:
            return
        at, labels = 12, []
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name, kind = ".".join(labels), struct.unpack(">H", query[at + 1 : at + 3])[0]
        asked.append(name)
        known = name == NAME
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton(address)
        found = record if known and kind == 1 else b""
        header = struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, bool(found), 0, 0)
        with contextlib.suppress(OSError):
            server.sendto(query[:2] + header + query[12 : at + 5] + found, peer)


def openssl(*words) -> bytes:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {words}: {done.stderr.decode()}")
    return done.stdout


def certificate(directory: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """Signed by an authority of its own: its certificate, and the server's with its key."""
    authority, key = directory / "ca.pem", directory / "ca.key"
    openssl("req", "-x509", *KEY, "-subj", "/CN=an authority of the test", "-keyout", key, "-out", authority)
    request, server = directory / "server.csr", directory / "server.key"
    openssl("req", *KEY, "-subj", f"/CN={NAME}", "-keyout", server, "-out", request)
    extensions = directory / "extensions"
    extensions.write_text(f"subjectAltName=DNS:{NAME}\nbasicConstraints=CA:FALSE\n")
    signing = ("-CA", authority, "-CAkey", key, "-CAcreateserial", "-extfile", extensions)
    server.write_bytes(server.read_bytes() + openssl("x509", "-req", "-in", request, *signing))
    return authority, server


def keys(server: pathlib.Path) -> bytes:
    point = openssl("pkey", "-in", server, "-pubout", "-outform", "DER")[-64:]
    x, y = (base64.urlsafe_b64encode(half).rstrip(b"=").decode() for half in (point[:32], point[32:]))
    return json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "x": x, "y": y}]}).encode()


@contextlib.contextmanager
def issuer(address: str, server: pathlib.Path):
    body = keys(server)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server)
    with http.server.ThreadingHTTPServer((address, PORT), Handler) as listening:
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        listening.handle_error = lambda *_: None  # a client that does not trust it leaves
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield
        listening.shutdown()
