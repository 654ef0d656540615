//! Holds: a process on the machine, of another user and group, and the victim's token; the socket's own mode does not keep
//! it out. Lacks: a user or group that the policy names.
//!
//! Tries: to ask the socket, as a process of its own. Stopped by: the kernel's word on who connected.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use lunasec_tests::raw::{self, Raw};
use serde_json::{Value, json};

use crate::{
    attack::{End, SECRET, decide},
    storage::{Pod, cloud, pod},
};

const SHOP: u32 = 20_001;
const STRANGER: u32 = 20_003;

/// Lets everybody through to the socket, so that its mode stops nobody.
fn opened(pod: &Pod) -> &Path {
    fs::set_permissions(pod.directory(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(pod.socket(), Permissions::from_mode(0o666)).unwrap();
    pod.socket()
}

/// What a process of a stranger's gets from a socket.
fn asked(socket: &Path, token: &str) -> End {
    let id = STRANGER.to_string();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "curl",
        "--silent",
        "--show-error",
    ]);
    command.arg("--unix-socket").arg(socket);
    command.args([
        "--json",
        &json!({ "token": token }).to_string(),
        "http://sidecar/v1/detokenize",
    ]);
    let output = command.output().expect("setpriv runs: install util-linux");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it did not get as far as the socket: {said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    match answer["value"].as_str() {
        Some(value) => End::Took(value.into()),
        None => End::Stopped(answer["code"].as_str().unwrap().into()),
    }
}

#[test]
fn a_process_that_no_client_of_the_policy_is() {
    let clients = format!(
        "[[clients]]\nname = \"shop\"\nuid = {SHOP}\nnamespaces = [\"default\"]\n\
         operations = [\"tokenize\", \"detokenize\"]\n"
    );
    let pod = pod(&cloud(), &clients);
    let socket = opened(&pod);
    let mut shop = Raw::over(raw::stream_as(socket, SHOP, SHOP, &[]));
    let token = shop.post("/v1/tokenize", &json!({ "value": SECRET })).json()["token"].clone();
    let end = asked(socket, token.as_str().unwrap());
    decide("credentials-of-a-peer", &end, SECRET, "forbidden");
}

#[test]
fn a_process_of_another_user_where_no_clients_are_declared() {
    let pod = pod(&cloud(), "");
    let token = pod.tokenize(SECRET);
    let end = asked(opened(&pod), &token);
    decide("credentials-of-a-peer", &end, SECRET, "forbidden");
}
