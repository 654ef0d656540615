//! The binary itself.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use super::webhook::get;
use crate::common::{
    Turned,
    api::Api,
    bundles,
    caller::{Caller, review},
    installed, is_settled, settings_text, soon,
};

const BINARY: &str = env!("CARGO_BIN_EXE_lunasec-injector");

fn settings_in(directory: &Path, change: impl FnOnce(String) -> String) -> PathBuf {
    let path = directory.join("injector.toml");
    std::fs::write(&path, settings_text(change)).unwrap();
    path
}

fn run(command: &str, settings: &Path, input: &[u8]) -> Output {
    let mut child = std::process::Command::new(BINARY)
        .args([command, "--config"])
        .arg(settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn bad_settings_end_with_2_and_all_mistakes() {
    let directory = TempDir::new().unwrap();
    let path =
        settings_in(directory.path(), |it| it.replace("user = 64733", "user = 0\nstray = 1"));
    for command in ["serve", "inject", "review"] {
        let output = run(command, &path, b"");
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains("sidecar.user is 0") && said.contains("sidecar.stray is no setting"),
            "{said}"
        );
    }
    let output = run("serve", &directory.path().join("nowhere.toml"), b"");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_pod_is_injected_offline() {
    let directory = TempDir::new().unwrap();
    let path = settings_in(directory.path(), |it| it);
    let review: Value = serde_json::from_slice(&review("deployment")).unwrap();
    let output = run("inject", &path, review["request"]["object"].to_string().as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert!(yaml.contains("lunasec.io/injected: \"0.1.0\""), "{yaml}");
    let refused = run("inject", &path, b"kind: Service\napiVersion: v1\n");
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn a_review_is_answered_offline() {
    let directory = TempDir::new().unwrap();
    let path = settings_in(directory.path(), |it| it);
    let output = run("review", &path, &review("host-network"));
    assert!(output.status.success());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["response"]["allowed"], false);
    assert_eq!(run("review", &path, &review("malformed")).status.code(), Some(1));
}

struct Served {
    child: Child,
    webhook: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    _directory: TempDir,
}

async fn serve(api: &Api) -> Served {
    let directory = TempDir::new().unwrap();
    let path = settings_in(directory.path(), |it| {
        it.replace("drain_time = \"1s\"", "drain_time = \"5s\"")
    });
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let mut child = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(&path)
        .env("KUBECONFIG", &kubeconfig)
        .env("POD_NAME", "injector-0")
        .env("POD_NAMESPACE", "lunasec")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut address = async |before: &str, after: &str| {
        let line = soon("its addresses", lines.next_line()).await.unwrap().unwrap();
        line.strip_prefix(before).unwrap().strip_suffix(after).unwrap().parse().unwrap()
    };
    let webhook = address("serving on https://", "/mutate").await;
    let admin = address("admin on http://", "").await;
    Served { child, webhook, admin, _directory: directory }
}

#[tokio::test]
async fn at_sigterm_it_is_not_ready_at_once_answers_on_and_ends_well() {
    let api = Api::start().await;
    installed(&api);
    let mut served = serve(&api).await;
    api.until("certificates", is_settled).await;
    let bundle = bundles(&api.store()).remove(0);
    let clock = Turned::machine();
    let mut kept = Caller::new(served.webhook, &bundle, &clock).await.unwrap();
    assert_eq!(kept.ask(&review("deployment")).await.unwrap()["response"]["allowed"], true);
    assert_eq!(get(served.admin, "/ready").await.0, 200);
    let pid = served.child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    soon("not ready", async { while get(served.admin, "/ready").await.0 == 200 {} }).await;
    // Both on a connection that is there and on a new one.
    assert_eq!(kept.ask(&review("deployment")).await.unwrap()["response"]["allowed"], true);
    let mut new = Caller::new(served.webhook, &bundle, &clock).await.unwrap();
    assert_eq!(new.ask(&review("deployment")).await.unwrap()["response"]["allowed"], true);
    let status = soon("the end", served.child.wait()).await.unwrap();
    assert_eq!(status.code(), Some(0));
}
