//! The release binary as a process.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
};

use lunasec_client::{Builder, Client};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A running sidecar; killed when it is dropped.
pub(crate) struct Sidecar {
    directory: TempDir,
    process: Option<Child>,
    extra: Option<String>,
}

/// `LUNASEC_BIN`, else built by cargo, which takes minutes.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LUNASEC_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "LUNASEC_BIN names no file: set it to target/release/lunasec");
            path
        }
        None => built(),
    })
}

fn built() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|path| path.join("sidecar/server").is_dir());
    let root = root.expect("these tests are in the sidecar's repository");
    let words = "build --release --locked -p lunasec-sidecar --message-format=json";
    let output = std::process::Command::new(env!("CARGO"))
        .args(words.split(' '))
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the release binary does not build");
    let said = String::from_utf8(output.stdout).unwrap();
    let binaries =
        said.lines().filter_map(|line| line.split_once("\"executable\":\"")).map(|(_, path)| path);
    let path =
        binaries.filter_map(|path| path.split('"').next()).find(|path| path.ends_with("/lunasec"));
    path.expect("cargo names the binary").into()
}

impl Sidecar {
    /// A place for one that does not run yet.
    pub(crate) fn stopped() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), process: None, extra: None }
    }

    /// `lunasec dev` in a new directory.
    pub(crate) async fn start() -> Self {
        let mut sidecar = Self::stopped();
        sidecar.again().await;
        sidecar
    }

    /// `lunasec serve` with these lines below a minimal configuration; `{dir}` is its directory.
    pub(crate) async fn serve(extra: &str) -> Self {
        let mut sidecar = Self { extra: Some(extra.to_owned()), ..Self::stopped() };
        sidecar.again().await;
        sidecar
    }

    fn command(&self) -> Command {
        let directory = self.directory.path();
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LUNASEC_") {
                command.env_remove(name);
            }
        }
        match &self.extra {
            None => {
                command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory);
                command.arg("--socket").arg(self.socket());
            }
            Some(extra) => {
                let dir = directory.display();
                let config = format!(
                    "[listen]\nsocket = \"{dir}/s.sock\"\nadmin = \"127.0.0.1:0\"\n[storage]\nkind = \"embedded\"\npath = \"{dir}/store.redb\"\n[keys]\nkind = \"local\"\npath = \"{dir}/local.key\"\n[degrade]\nstate_dir = \"{dir}/state\"\n{}",
                    extra.replace("{dir}", &dir.to_string())
                );
                std::fs::write(directory.join("lunasec.toml"), config).unwrap();
                command.arg("serve").arg("--config").arg(directory.join("lunasec.toml"));
            }
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts it in the same directory, and waits until it serves.
    pub(crate) async fn again(&mut self) {
        let mut command = self.command();
        let (output, input) = std::io::pipe().unwrap();
        command.stdout(input.try_clone().unwrap()).stderr(input);
        let process = command.spawn().unwrap();
        drop(command);
        let output = tokio::net::unix::pipe::Receiver::from_owned_fd(output.into()).unwrap();
        let mut lines = BufReader::new(output).lines();
        let mut said = String::new();
        loop {
            let line = lines.next_line().await.unwrap();
            let Some(line) = line else { panic!("the sidecar ended instead of serving:\n{said}") };
            if line.contains(" serving ") || line.contains("\"serving\"") {
                break;
            }
            said += &format!("{line}\n");
        }
        // It must not wait for somebody to read what it says.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
    }

    /// kill -9, and waits until it is gone.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.unwrap();
        }
    }

    /// SIGTERM, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let id = process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        assert!(process.wait().await.unwrap().success());
    }

    /// SIGSTOP or SIGCONT: it hangs, and goes on.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.process.as_ref().and_then(Child::id).unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn builder(&self) -> Builder {
        Client::builder().socket(self.socket())
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }
}
