//! The release binary as a process of its own, in a directory of its own.

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Read},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use lunasec_client::Client;
use lunasec_core::token::Token;
use lunasec_sidecar::env::{self, Entropy};
use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, getrlimit, kill_process, setrlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::raw::{Answer, Raw};

/// A user and group that own nothing.
pub const NOBODY: u32 = 65_534;

/// How long anything may take before a test calls it hung.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The release binary: `LUNASEC_BIN`, or built here by cargo, so that it is never an old one.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(binary) = std::env::var_os("LUNASEC_BIN") {
            return binary.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--release",
                "--locked",
                "-p",
                "lunasec-sidecar",
                "--message-format=json",
            ])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "the release binary does not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|message| message["executable"].as_str().map(PathBuf::from));
        executable.expect("cargo names the binary it built")
    })
}

/// The generator that the sidecar draws from.
pub fn entropy() -> impl Entropy {
    env::SystemEntropy::default()
}

/// Waits for something that comes about by itself.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Lets this process open that many files.
pub fn raise_file_limit(files: u64) {
    let limit = getrlimit(Resource::Nofile);
    let enough = limit.maximum.is_none_or(|most| most >= files);
    assert!(enough, "this needs {files} open files: raise the hard limit, see ulimit -Hn");
    if limit.current.is_some_and(|now| now < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

/// Random bytes as hexadecimal digits.
pub fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    entropy().fill(&mut random).unwrap();
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A token that no sidecar gave out.
pub fn unknown_token() -> String {
    Token::from_random(env::random(&entropy()).unwrap()).expose_text()
}

/// A `lunasec` command line, without the variables of whoever runs the tests.
pub fn lunasec() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LUNASEC_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running sidecar. Killed when dropped.
pub struct Sidecar {
    child: Child,
    socket: PathBuf,
    directory: PathBuf,
    lines: Receiver<String>,
    log: Arc<Mutex<String>>,
    /// Kept for as long as the process runs, where this test made it.
    _temporary: Option<TempDir>,
}

impl Sidecar {
    /// `lunasec dev` in a new directory.
    pub fn dev() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut sidecar = Self::dev_in(temporary.path());
        sidecar._temporary = Some(temporary);
        sidecar
    }

    /// `lunasec dev` in a directory that may hold a store already.
    pub fn dev_in(directory: &Path) -> Self {
        Self::try_dev_in(directory).unwrap_or_else(|(status, log)| {
            panic!("the sidecar ended with {status} instead of starting:\n{log}")
        })
    }

    /// `lunasec dev` in a new directory, with some settings overridden.
    pub fn dev_with(variables: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path();
        let mut command = lunasec();
        command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory);
        command.envs(variables.iter().copied());
        let mut sidecar = Self::spawn(command, directory, directory.join("lunasec.sock"))
            .unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"));
        sidecar._temporary = Some(temporary);
        sidecar
    }

    /// The same, for when it may refuse to start.
    pub fn try_dev_in(directory: &Path) -> Result<Self, (ExitStatus, String)> {
        let mut command = lunasec();
        command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory);
        Self::spawn(command, directory, directory.join("lunasec.sock"))
    }

    /// `lunasec dev` as a user who is nobody in particular, in a directory that is to be kept.
    pub fn dev_as_nobody() -> (TempDir, Self) {
        assert!(
            geteuid().is_root(),
            "only root can run the sidecar as another user: run these tests as root, for example in a container"
        );
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().join("nobody");
        fs::create_dir(&directory).unwrap();
        // The user reaches its own directory and a binary, wherever the tests keep theirs.
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o711)).unwrap();
        let binary_copy = temporary.path().join("lunasec");
        // By another process: while this one has the copy open for writing, so has whatever it starts just then,
        // and what is open for writing cannot be run.
        let copied = Command::new("cp").arg(binary()).arg(&binary_copy).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&binary_copy, Permissions::from_mode(0o755)).unwrap();
        chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = Command::new(&binary_copy);
        command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(&directory);
        command.uid(NOBODY).gid(NOBODY);
        let sidecar = Self::spawn(command, &directory, directory.join("lunasec.sock")).unwrap();
        (temporary, sidecar)
    }

    /// `lunasec serve` in a new directory, with `extra` lines below a minimal configuration.
    pub fn serve(extra: &str) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut sidecar = Self::serve_in(temporary.path(), extra);
        sidecar._temporary = Some(temporary);
        sidecar
    }

    /// Writes a minimal configuration with `extra` lines below it.
    pub fn configure(directory: &Path, extra: &str) {
        let dir = directory.display();
        let config = format!(
            "[listen]\nsocket = \"{dir}/lunasec.sock\"\nadmin = \"127.0.0.1:0\"\n\
             [storage]\nkind = \"embedded\"\npath = \"{dir}/store.redb\"\n\
             [keys]\nkind = \"local\"\npath = \"{dir}/local.key\"\n\
             [degrade]\nstate_dir = \"{dir}/state\"\n{extra}"
        );
        fs::write(directory.join("lunasec.toml"), config).unwrap();
    }

    /// The same in a directory that may hold a store already.
    pub fn serve_in(directory: &Path, extra: &str) -> Self {
        Self::serve_with(directory, extra, &[])
    }

    /// The same under environment variables.
    pub fn serve_with(directory: &Path, extra: &str, variables: &[(&str, &str)]) -> Self {
        let socket = directory.join("lunasec.sock");
        Self::configure(directory, extra);
        let mut command = lunasec();
        command.envs(variables.iter().copied());
        command.args(["serve", "--config"]).arg(directory.join("lunasec.toml"));
        Self::spawn(command, directory, socket).unwrap_or_else(|(status, log)| {
            panic!("the sidecar ended with {status} instead of starting:\n{log}")
        })
    }

    /// `lunasec serve` on a store in memory: nothing but the sidecar itself is measured.
    pub fn serve_in_memory() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().display();
        let config = format!(
            "[listen]\nsocket = \"{dir}/lunasec.sock\"\nadmin = \"127.0.0.1:0\"\n\
             [storage]\nkind = \"memory\"\n[keys]\nkind = \"local\"\npath = \"{dir}/local.key\"\n"
        );
        let path = temporary.path().join("lunasec.toml");
        fs::write(&path, config).unwrap();
        let mut command = lunasec();
        command.args(["serve", "--config"]).arg(path);
        let socket = temporary.path().join("lunasec.sock");
        let mut sidecar = Self::spawn(command, temporary.path(), socket)
            .unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"));
        sidecar._temporary = Some(temporary);
        sidecar
    }

    /// Any command that starts a sidecar; returns once it serves, or has ended.
    pub fn spawn(
        mut command: Command,
        directory: &Path,
        socket: PathBuf,
    ) -> Result<Self, (ExitStatus, String)> {
        // One pipe for both, so that the log keeps the order in which things were said.
        let (output, writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().expect("the binary runs");
        // The command holds the pipe's other end open until it is dropped.
        drop(command);
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        follow(output, Arc::clone(&log), move |line| {
            let _ = sender.send(line);
        });
        let mut sidecar =
            Self { child, socket, directory: directory.to_owned(), lines, log, _temporary: None };
        let serves = |line: &str| line.contains(" serving ") || line.contains("\"serving\"");
        match sidecar.wait_for_line(serves) {
            Some(_) => Ok(sidecar),
            None => {
                let status = sidecar.wait();
                Err((status, sidecar.log()))
            }
        }
    }

    /// Puts a restarted process in this one's place; the directory stays as long as this does.
    pub fn replace(&mut self, mut other: Self) {
        other._temporary = self._temporary.take();
        *self = other;
    }

    /// Waits for a line of the log; none when the process ends without it.
    pub fn wait_for_line(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            if wanted(&line) {
                return Some(line);
            }
        }
        None
    }

    /// All that it has printed so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that can misbehave.
    pub fn connect(&self) -> Raw {
        Raw::connect(&self.socket)
    }

    /// One request over a new connection.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.connect().post(path, body)
    }

    /// A well-behaved client.
    pub fn client(&self) -> Client {
        Client::builder().socket(&self.socket).build().unwrap()
    }

    /// One request under an idempotency key.
    pub fn post_once(&self, path: &str, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        self.connect().post_with(path, &headers, body.to_string().as_bytes())
    }

    /// Deletes one token.
    pub fn delete(&self, token: &str) {
        let answer = self.post("/v1/delete", &serde_json::json!({ "tokens": [token] }));
        assert_eq!(answer.json()["items"][0]["deleted"], true, "{}", answer.text());
    }

    /// Tokenizes text.
    pub fn tokenize(&self, value: &str) -> String {
        let answer = self.post("/v1/tokenize", &serde_json::json!({ "value": value }));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Detokenizes text.
    pub fn detokenize(&self, token: &str) -> Answer {
        self.post("/v1/detokenize", &serde_json::json!({ "token": token }))
    }

    /// What the kernel says of the process in a line of its status, in KiB where that is a size.
    pub fn kernel_says(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Where the admin listener is, read from the log.
    pub fn admin(&self) -> String {
        let log = self.log();
        // As text or as JSON.
        let address = log.split("Some(").nth(1).expect("the log names the admin address");
        address.split(')').next().unwrap().to_owned()
    }

    /// The text of its metrics.
    pub fn metrics(&self) -> String {
        crate::raw::get_tcp(&self.admin(), "/metrics").text()
    }

    /// The value of one series of the metrics; 0 when it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics();
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Requests to dependencies, over all series whose labels contain these.
    pub fn dependency_requests(&self, labels: &[&str]) -> u64 {
        let text = self.metrics();
        text.lines()
            .filter(|line| line.starts_with("lunasec_dependency_requests_total{"))
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    }

    /// How many records the store holds, by a sweep that removes nothing.
    pub fn stored_records(&self) -> u64 {
        let mut after = Value::Null;
        let mut total = 0;
        loop {
            let mut request = serde_json::json!({ "dry_run": true });
            if !after.is_null() {
                request["after"] = after;
            }
            let page = self.post("/v1/sweep", &request).json();
            total += page["examined"].as_u64().unwrap();
            after = page["next"].clone();
            if after.is_null() {
                return total;
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// kill -9, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait().signal(), Some(9));
    }

    /// SIGTERM, and waits for a clean end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the sidecar does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    each: impl Fn(String) + Send + 'static,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
            drop(log);
            each(line);
        }
    });
}
