//! Real clients of other make: grpc-core, grpc-js and grpc-go, each a program in a folder beside this
//! file. What they need comes from their own package registries, once, into the cache.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

use lunasec_tests::{Sidecar, apart::strict};

/// The folder of this file.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grpc")
}

fn protos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("sidecar/api/proto")
}

/// A folder of the cache for what `lock` and `runtime` name, made once by `install`.
fn installed(language: &str, lock: &str, runtime: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let cache = match std::env::var_os("LUNASEC_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").expect("HOME, or LUNASEC_CACHE, is set"))
            .join(".cache/lunasec-sidecar"),
    };
    let mut hasher = DefaultHasher::new();
    (fs::read(sources().join(lock)).unwrap(), runtime).hash(&mut hasher);
    let directory = cache.join("grpc").join(format!("{language}-{:016x}", hasher.finish()));
    fs::create_dir_all(&directory).unwrap();
    // Two runs at once must not install into the same folder.
    let turn = File::create(directory.join("lock")).unwrap();
    turn.lock().unwrap();
    let done = directory.join("done");
    if !done.exists() {
        install(&directory);
        fs::write(done, "").unwrap();
    }
    directory
}

/// Runs a command to its good end, and gives what it printed.
fn run(what: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(output.status.success(), "{what} failed:\n{printed}");
    printed
}

fn version(program: &str, argument: &str, hint: &str) -> String {
    match Command::new(program).arg(argument).output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).into(),
        _ => panic!("this test needs {program}: {hint}"),
    }
}

#[test]
fn python_with_grpc_core() {
    let hint = "install Python 3.10 or newer, with its venv module";
    let runtime = version("python3", "--version", hint);
    let home = installed("python", "python/requirements.txt", &runtime, |home| {
        run(hint, Command::new("python3").args(["-m", "venv"]).arg(home.join("venv")));
        let mut pip = Command::new(home.join("venv/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
        pip.arg("-r").arg(sources().join("python/requirements.txt"));
        run("pip install", &mut pip);
    });
    let python = || Command::new(home.join("venv/bin/python"));
    let generated = tempfile::tempdir().unwrap();
    let out = |name: &str| format!("--{name}={}", generated.path().display());
    let mut protoc = python();
    protoc.args(["-m", "grpc_tools.protoc", "-I"]).arg(protos());
    protoc.args([out("python_out"), out("grpc_python_out")]).arg("lunasec/v1/tokenizer.proto");
    run("protoc", &mut protoc);
    let (sidecar, asks) = (Sidecar::dev(), Sidecar::serve(&strict()));
    let mut client = python();
    client.arg(sources().join("python/client.py")).args([sidecar.socket(), asks.socket()]);
    client.env("PYTHONPATH", generated.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    let printed = run("the Python client", &mut client);
    assert!(printed.contains("python: all as it should be"), "{printed}");
}

#[test]
fn node_with_grpc_js() {
    let hint = "install Node.js 20 or newer, with npm";
    let runtime = version("node", "--version", hint);
    version("npm", "--version", hint);
    let home = installed("node", "node/package-lock.json", &runtime, |home| {
        for file in ["package.json", "package-lock.json", ".npmrc"] {
            fs::copy(sources().join("node").join(file), home.join(file)).unwrap();
        }
        run("npm ci", Command::new("npm").arg("ci").current_dir(home));
    });
    // Modules are found from where the program lies.
    let program = home.join("client.js");
    fs::copy(sources().join("node/client.js"), &program).unwrap();
    let (sidecar, asks) = (Sidecar::dev(), Sidecar::serve(&strict()));
    let mut client = Command::new("node");
    client.arg(program).args([sidecar.socket(), asks.socket(), &protos()]);
    let printed = run("the Node client", &mut client);
    assert!(printed.contains("node: all as it should be"), "{printed}");
}

#[test]
fn grpc_go() {
    version("go", "version", "install Go 1.26 or newer");
    let built = tempfile::tempdir().unwrap();
    let program = built.path().join("client");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
    run("go build", build.current_dir(sources().join("go")));
    let (sidecar, asks) = (Sidecar::dev(), Sidecar::serve(&strict()));
    let sockets = [sidecar.socket(), asks.socket()];
    let printed = run("the Go client", Command::new(program).args(sockets));
    assert!(printed.contains("go: all as it should be"), "{printed}");
}
