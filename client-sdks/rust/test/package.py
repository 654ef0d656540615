#!/usr/bin/env python3
"""The package as crates.io would get it: built, looked into, unpacked in a clean place, and used there by a program that runs
every snippet of its README and of its docs before a real sidecar."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CRATE = Path(__file__).resolve().parent.parent
ROOT = CRATE.parent.parent
# What is in it, beside src/.
FILES = {"Cargo.toml", "Cargo.toml.orig", "Cargo.lock", "LICENSE", "README.md", "docs/axum.md", ".cargo_vcs_info.json"}
SNIPPET = re.compile(r"^```rust\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONSUMER = """[workspace]

[package]
name = "consumer"
version = "0.0.0"
edition = "2024"

[dependencies]
lunasec-client = { path = "%s", features = ["axum"] }
axum = { version = "0.8", default-features = false, features = ["http1", "json", "tokio"] }
futures-util = { version = "0.3", default-features = false, features = ["std"] }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
"""
# What the snippets take from whoever reads them.
PRELUDE = """#![allow(unused, reason = "snippets show what they do not use")]
fn charge(_: &str) {}
fn render(_: &str) {}
type Outcome = Result<(), Box<dyn std::error::Error>>;
"""


def cargo(*words, cwd=ROOT, **more):
    return subprocess.run(["cargo", *words], cwd=cwd, check=True, text=True, **more)


def packed(target):
    """The newest package, unpacked by nobody yet."""
    cargo("package", "-p", "lunasec-client", "--allow-dirty", "--no-verify", "--offline", "--quiet")
    (package,) = (target / "package").glob("lunasec-client-*.crate")
    return package


def check(package):
    with tarfile.open(package) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
        root = archive.getnames()[0].split("/", 1)[0]
        manifest = archive.extractfile(f"{root}/Cargo.toml").read().decode()
    others = {name for name in names if not name.startswith("src/")}
    lacking, beyond = FILES - others - {".cargo_vcs_info.json"}, others - FILES
    if lacking or beyond:
        sys.exit(f"the package lacks {sorted(lacking)} and has {sorted(beyond)} beyond")
    for field in ("description", "license", "readme", "rust-version", "keywords", "categories"):
        if not re.search(rf"^{field} = ", manifest, re.MULTILINE):
            sys.exit(f"the package's manifest has no {field}, which crates.io shows or asks for")
    if "path =" in manifest.split("[dependencies", 1)[1].split("[dev-dependencies", 1)[0].replace('path = "src', ""):
        sys.exit("the package depends on a path")


def snippets(place):
    for name in ("README.md", "docs/axum.md"):
        found = SNIPPET.findall((place / name).read_text())
        if not found:
            sys.exit(f"{name} has no snippet")
        for number, text in enumerate(found, 1):
            yield f"{Path(name).stem.lower()}_{number}", text


def program(place):
    functions, calls = [PRELUDE], []
    for name, text in snippets(place):
        given = "" if "Client::from_env" in text else "    let lunasec = lunasec_client::Client::from_env()?;\n"
        functions.append(f"async fn {name}() -> Outcome {{\n{given}{text}    Ok(())\n}}\n")
        calls.append(f'    {name}().await.map_err(|error| format!("{name}: {{error}}"))?;\n    println!("ran {name}");\n')
    return "\n".join([*functions, f"#[tokio::main]\nasync fn main() -> Outcome {{\n{''.join(calls)}    Ok(())\n}}\n"])


def sidecar(directory):
    binary = os.environ.get("LUNASEC_BIN")
    if not binary or not Path(binary).is_file():
        sys.exit("LUNASEC_BIN names no binary: cargo build --release -p lunasec-sidecar, and set it to target/release/lunasec")
    socket = directory / "s.sock"
    words = [binary, "dev", "--dir", directory / "dev", "--socket", socket, "--admin", "127.0.0.1:0"]
    return socket, subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    shutil.rmtree(target / "package", ignore_errors=True)
    package = packed(target)
    check(package)
    with tempfile.TemporaryDirectory(prefix="lunasec-") as directory:
        directory = Path(directory)
        with tarfile.open(package) as archive:
            archive.extractall(directory, filter="data")
        (place,) = directory.glob("lunasec-client-*")
        consumer = directory / "consumer"
        (consumer / "src").mkdir(parents=True)
        (consumer / "Cargo.toml").write_text(CONSUMER % place)
        shutil.copy(ROOT / "Cargo.lock", consumer / "Cargo.lock")
        text = program(place)
        (consumer / "src/main.rs").write_text(text)
        socket, process = sidecar(directory)
        try:
            environment = {**os.environ, "LUNASEC_SOCKET": str(socket), "CARGO_TARGET_DIR": str(target / "consumer")}
            ran = cargo("run", "--quiet", cwd=consumer, env=environment, stdout=subprocess.PIPE).stdout
        finally:
            process.terminate()
            process.wait()
        wanted = [name for name, _ in snippets(place)]
        if [line.removeprefix("ran ") for line in ran.splitlines() if line.startswith("ran ")] != wanted:
            sys.exit(f"not every snippet ran: {ran}")
        print(f"the package works where it is installed; {len(wanted)} snippets ran")


if __name__ == "__main__":
    main()
