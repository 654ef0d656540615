//! Who may do what: clients by user and group, as the kernel reports them.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Raw, Sidecar,
    grpc::framed,
    raw::stream_as,
    sidecar::{lunasec, unknown_token},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Code;

/// Lets everyone here through to the socket, and decides nothing.
const DOOR: u32 = 20_000;
const SHOP: u32 = 20_001;
const STAFF: u32 = 20_002;
const STRANGER: u32 = 20_003;

const CLIENTS: &str = r#"
[[clients]]
name = "shop"
uid = 20001
namespaces = ["shop", "default"]
operations = ["tokenize", "detokenize"]
[[clients]]
name = "staff"
gid = 20002
namespaces = ["shop"]
operations = ["detokenize", "metadata", "delete"]
"#;

/// A sidecar of root with these clients.
fn serve(clients: &str) -> (TempDir, Sidecar) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
    Sidecar::configure(directory.path(), clients);
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(directory.path().join("lunasec.toml"));
    command.env("LUNASEC_LISTEN__GROUP", DOOR.to_string());
    let socket = directory.path().join("lunasec.sock");
    let sidecar = Sidecar::spawn(command, directory.path(), socket)
        .unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"));
    (directory, sidecar)
}

fn connect(sidecar: &Sidecar, uid: u32, gid: u32) -> Raw {
    Raw::over(stream_as(sidecar.socket(), uid, gid, &[DOOR]))
}

fn shop(sidecar: &Sidecar) -> Raw {
    connect(sidecar, SHOP, STRANGER)
}

fn staff(sidecar: &Sidecar) -> Raw {
    connect(sidecar, STRANGER, STAFF)
}

fn token(raw: &mut Raw) -> String {
    let answer = raw.post("/v1/tokenize", &json!({ "value": "v" }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn code(raw: &mut Raw, route: &str, namespace: Option<&str>, body: &Value) -> String {
    let headers: Vec<_> = namespace.map(|name| ("lunasec-namespace", name)).into_iter().collect();
    raw.post_with(&format!("/v1/{route}"), &headers, body.to_string().as_bytes()).code()
}

fn reload(sidecar: &mut Sidecar, clients: &str, said: &str) {
    Sidecar::configure(sidecar.directory(), clients);
    sidecar.signal(Signal::HUP);
    assert!(sidecar.wait_for_line(|line| line.contains(said)).is_some(), "{}", sidecar.log());
}

#[test]
fn clients_are_told_apart_by_user_and_by_group() {
    let (_directory, sidecar) = serve(CLIENTS);
    // Its own namespace is the first it has, and both clients have the same.
    let given = token(&mut shop(&sidecar));
    let body = json!({ "token": given });
    assert_eq!(staff(&sidecar).post("/v1/detokenize", &body).json()["value"], "v");
    assert_eq!(code(&mut shop(&sidecar), "detokenize", Some("shop"), &body), "none");
    assert_eq!(code(&mut shop(&sidecar), "detokenize", Some("default"), &body), "not_found");
    // The first that fits decides alone: what the group might do is nothing to the shop.
    let mut both = connect(&sidecar, SHOP, STAFF);
    assert_eq!(code(&mut both, "metadata/get", None, &body), "forbidden");
    assert_eq!(code(&mut both, "detokenize", None, &body), "none");
}

#[test]
fn namespaces_and_operations_bound_a_client() {
    let (_directory, sidecar) = serve(CLIENTS);
    let token = token(&mut shop(&sidecar));
    let (one, many) = (json!({ "token": token }), json!({ "tokens": [token] }));
    for (route, body) in [("metadata/get", &one), ("delete", &many), ("sweep", &json!({}))] {
        assert_eq!(code(&mut shop(&sidecar), route, None, body), "forbidden", "{route}");
    }
    let value = json!({ "value": "v" });
    assert_eq!(code(&mut staff(&sidecar), "tokenize", None, &value), "forbidden");
    assert_eq!(code(&mut shop(&sidecar), "tokenize", Some("payroll"), &value), "forbidden");
    assert_eq!(code(&mut staff(&sidecar), "detokenize", Some("default"), &one), "forbidden");
    assert_eq!(code(&mut staff(&sidecar), "detokenize:batch", Some("default"), &many), "forbidden");
    // None of it did anything.
    assert_eq!(code(&mut staff(&sidecar), "detokenize", None, &one), "none");
    assert_eq!(code(&mut staff(&sidecar), "delete", None, &many), "none");
    assert_eq!(code(&mut shop(&sidecar), "detokenize", None, &one), "not_found");
}

#[test]
fn whoever_is_no_client_is_forbidden_root_and_own_user_too() {
    let (_directory, sidecar) = serve(CLIENTS);
    let body = json!({ "token": unknown_token() });
    let mut others = [connect(&sidecar, STRANGER, STRANGER), sidecar.connect()];
    for raw in &mut others {
        for (route, body) in [("tokenize", &json!({ "value": "v" })), ("detokenize", &body)] {
            assert_eq!(code(raw, route, None, body), "forbidden", "{route}");
        }
    }
    // The sidecar's own user still sweeps; that reaches no value.
    let [stranger, own] = &mut others;
    let sweep = json!({ "dry_run": true });
    assert_eq!(code(own, "sweep", None, &sweep), "none");
    assert_eq!(code(stranger, "sweep", None, &sweep), "forbidden");
}

#[test]
fn without_clients_only_the_own_user_may_call() {
    let (_directory, sidecar) = serve("");
    token(&mut sidecar.connect());
    let value = json!({ "value": "v" });
    for (uid, gid) in [(SHOP, STRANGER), (STRANGER, STAFF), (STRANGER, 0)] {
        let mut raw = connect(&sidecar, uid, gid);
        assert_eq!(code(&mut raw, "tokenize", None, &value), "forbidden", "{uid} {gid}");
    }
}

#[test]
fn no_header_claims_another_caller() {
    let (_directory, sidecar) = serve(CLIENTS);
    let mut raw = connect(&sidecar, STRANGER, STRANGER);
    for header in ["lunasec-client", "lunasec-caller", "x-forwarded-user", "uid", "from"] {
        for value in ["shop", "20001", "own user"] {
            let headers = [(header, value)];
            let answer = raw.post_with("/v1/tokenize", &headers, br#"{"value": "v"}"#);
            assert_eq!(answer.code(), "forbidden", "{header}: {value}");
        }
    }
}

#[test]
fn too_many_requests_are_told_when_to_come_back() {
    let (_directory, sidecar) = serve(&CLIENTS.replacen("uid", "requests_per_second = 1\nuid", 1));
    let mut raw = shop(&sidecar);
    let body = json!({ "value": "v" });
    // One more than a second brings; a machine that stands still in between begins anew.
    let refused =
        (0..50).map(|_| raw.post("/v1/tokenize", &body)).find(|answer| answer.status != 200);
    let answer = refused.expect("a rate of one in a second lets fifty through");
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    assert_eq!(answer.headers["retry-after"], "1");
    let wait = answer.json()["retry_after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&wait), "{wait}");
    assert_eq!(answer.json()["retryable"], true);
    // Another client has its own.
    let unknown = json!({ "token": unknown_token() });
    assert_eq!(code(&mut staff(&sidecar), "detokenize", None, &unknown), "not_found");
}

/// The shop's clients with two reveals in a minute.
fn two_reveals() -> String {
    CLIENTS.replacen("uid", "reveals_per_minute = 2\nuid", 1)
}

#[test]
fn each_item_of_a_batch_is_a_reveal() {
    let (_directory, sidecar) = serve(&two_reveals());
    let mut raw = shop(&sidecar);
    let tokens: Vec<String> = (0..4).map(|_| token(&mut raw)).collect();
    let answer = raw.post("/v1/detokenize:batch", &json!({ "tokens": tokens })).json();
    let items = answer["items"].as_array().unwrap();
    assert!(items[..2].iter().all(|item| item["value"] == "v"), "{answer}");
    for item in &items[2..] {
        assert_eq!(item["error"]["code"], "rate_limited", "{answer}");
        assert_eq!(item["error"]["retryable"], true);
    }
    let answer = raw.post("/v1/detokenize", &json!({ "token": tokens[0] }));
    assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
    let wait: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    // What reveals nothing goes on.
    token(&mut raw);
}

#[tokio::test]
async fn the_same_over_grpc() {
    let (_directory, sidecar) = serve(&two_reveals());
    let connect = async |uid, gid| {
        let stream = stream_as(sidecar.socket(), uid, gid, &[DOOR]);
        stream.set_nonblocking(true).unwrap();
        Grpc::over(tokio::net::UnixStream::from_std(stream).unwrap()).await
    };
    let (mut shop, mut stranger) = (connect(SHOP, 1).await, connect(STRANGER, 1).await);
    let request = api::TokenizeRequest { value: "v".into(), ..Default::default() };
    let refused = stranger.call("Tokenize", &request).await;
    assert_eq!(refused.failure(), (Code::PermissionDenied, "forbidden".into(), false));
    let token = shop.call("Tokenize", &request).await.message::<api::TokenizeResponse>().token;
    let delete = api::DeleteRequest { tokens: vec![token.clone()] };
    let refused = shop.call("Delete", &delete).await;
    assert_eq!(refused.failure(), (Code::PermissionDenied, "forbidden".into(), false));
    let reveal = api::DetokenizeRequest { token };
    for _ in 0..2 {
        shop.call("Detokenize", &reveal).await.message::<api::DetokenizeResponse>();
    }
    let limited = shop.call("Detokenize", &reveal).await;
    let (_, reason, retryable) = limited.failure();
    assert_eq!((reason.as_str(), retryable), ("rate_limited", true));
    assert!((1..=30_000).contains(&limited.retry_after().unwrap()));
}

/// What is not there is not revealed, and uses up nothing.
#[test]
fn only_what_is_revealed_counts() {
    let (_directory, sidecar) = serve(&two_reveals());
    let mut raw = shop(&sidecar);
    let token = token(&mut raw);
    for _ in 0..5 {
        let unknown = json!({ "token": unknown_token() });
        assert_eq!(code(&mut raw, "detokenize", None, &unknown), "not_found");
    }
    let body = json!({ "token": token });
    for expected in ["none", "none", "rate_limited"] {
        assert_eq!(code(&mut raw, "detokenize", None, &body), expected);
    }
}

/// In a user namespace everybody who is not in it is shown under one number: that is nobody's, also where it
/// cannot be asked for which number that is.
#[test]
fn who_has_no_number_in_the_sidecars_namespace_is_nobody() {
    let shown = fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap();
    let shown: u32 = shown.trim().parse().unwrap();
    let clients = CLIENTS.replace("uid = 20001", &format!("uid = {shown}"));
    let clients = clients.replace("gid = 20002", &format!("gid = {shown}"))
        + "[[clients]]\nname = \"root\"\nuid = 0\nnamespaces = [\"shop\"]\noperations = [\"tokenize\"]\n";
    let hide = "mount -t proc -o subset=pid proc /proc && test ! -e /proc/sys && exec \"$@\"";
    for hidden in
        [None, Some(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", hide, "sh"])]
    {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
        Sidecar::configure(directory.path(), &clients);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user"]).args(hidden.iter().flatten());
        command.arg(lunasec().get_program()).args(["serve", "--config"]);
        command.arg(directory.path().join("lunasec.toml"));
        let socket = directory.path().join("lunasec.sock");
        let sidecar = Sidecar::spawn(command, directory.path(), socket)
            .unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"));
        fs::set_permissions(sidecar.socket(), Permissions::from_mode(0o666)).unwrap();
        token(&mut sidecar.connect());
        for (uid, gid) in [(SHOP, STAFF), (shown, shown), (STRANGER, 0)] {
            let mut raw = Raw::over(stream_as(sidecar.socket(), uid, gid, &[]));
            let refused = raw.post("/v1/tokenize", &json!({ "value": "v" }));
            let is = (refused.status, refused.code());
            assert_eq!(is, (403, "forbidden".into()), "{uid} {gid} {hidden:?}");
            assert!(refused.text().contains("user namespace"), "{}", refused.text());
        }
    }
}

#[tokio::test]
async fn a_purpose_that_says_nothing_is_none() {
    let (_directory, sidecar) = serve(&(CLIENTS.to_owned() + "require_purpose = true\n"));
    let token = token(&mut shop(&sidecar));
    let body = json!({ "token": token }).to_string();
    let stream = stream_as(sidecar.socket(), STRANGER, STAFF, &[DOOR]);
    stream.set_nonblocking(true).unwrap();
    let mut grpc = Grpc::over(tokio::net::UnixStream::from_std(stream).unwrap()).await;
    for (said, refused) in
        [(None, true), (Some(""), true), (Some("  "), true), (Some("refund"), false)]
    {
        let mut headers = vec![("lunasec-namespace", "shop")];
        headers.extend(said.map(|said| ("lunasec-purpose", said)));
        let answer = staff(&sidecar).post_with("/v1/detokenize", &headers, body.as_bytes());
        let expected = if refused { "invalid_request" } else { "none" };
        assert_eq!(if answer.status == 200 { "none".into() } else { answer.code() }, expected);
        let mut head = Grpc::head("Detokenize");
        for (name, value) in headers {
            head = head.header(name, value);
        }
        let request = framed(&api::DetokenizeRequest { token: token.clone() });
        let answer = grpc.send(head, request).await;
        if refused {
            assert_eq!(answer.failure(), (Code::InvalidArgument, "invalid_request".into(), false));
        } else {
            let revealed: api::DetokenizeResponse = answer.message();
            assert_eq!(&revealed.value[..], b"v");
        }
    }
}

#[test]
fn a_changed_policy_is_in_force_at_once_and_gives_no_rate_back() {
    let (_directory, mut sidecar) = serve(&two_reveals());
    let (mut raw, mut other) = (shop(&sidecar), staff(&sidecar));
    let body = json!({ "token": token(&mut raw) });
    for expected in ["none", "none", "rate_limited"] {
        assert_eq!(code(&mut raw, "detokenize", None, &body), expected);
    }
    assert_eq!(code(&mut other, "detokenize", None, &body), "none");
    let changed = two_reveals().replace("\"tokenize\", ", "").replace("gid = 20002", "gid = 20009");
    reload(&mut sidecar, &changed, "is in force");
    assert_eq!(code(&mut raw, "detokenize", None, &body), "rate_limited");
    assert_eq!(code(&mut raw, "tokenize", None, &json!({ "value": "v" })), "forbidden");
    assert_eq!(code(&mut other, "detokenize", None, &body), "forbidden");
    reload(&mut sidecar, CLIENTS, "is in force");
    assert_eq!(code(&mut raw, "detokenize", None, &body), "none");
    assert_eq!(code(&mut other, "detokenize", None, &body), "none");
}

#[test]
fn a_bad_policy_keeps_the_old() {
    let (_directory, mut sidecar) = serve(CLIENTS);
    let mut raw = shop(&sidecar);
    for bad in [
        CLIENTS.replace("\"tokenize\"", "\"tokenise\""),
        CLIENTS.replace("uid = 20001", "gid = 20002"),
        CLIENTS.replace("name = \"staff\"", "name = \"shop\""),
    ] {
        reload(&mut sidecar, &bad, "the old configuration stays in force");
        token(&mut raw);
    }
}

/// `lunasec policy test` with the clients above and these cases.
fn policy_test(clients: &str, cases: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    Sidecar::configure(directory.path(), clients);
    fs::write(directory.path().join("cases.toml"), cases).unwrap();
    let mut command = lunasec();
    command.args(["policy", "test", "cases.toml"]).current_dir(directory.path());
    command.output().unwrap()
}

fn case(name: &str, uid: u32, operation: &str, expect: &str) -> String {
    format!(
        "[[cases]]\nname = {name:?}\nuid = {uid}\ngid = 1\noperation = {operation:?}\nexpect = {expect:?}\n"
    )
}

#[test]
fn policy_test_says_which_rule_decides() {
    let good =
        case("reveals", SHOP, "detokenize", "allow") + &case("no root", 0, "tokenize", "deny");
    let output = policy_test(CLIENTS, &good);
    let said = String::from_utf8(output.stdout).unwrap();
    let nobody = "deny: no client of the policy fits this user and group";
    assert_eq!(said, format!("ok    reveals: allow by \"shop\"\nok    no root: {nobody}\n"));
    assert_eq!(output.status.code(), Some(0));
    let output = policy_test(CLIENTS, &(good + &case("removes", SHOP, "delete", "allow")));
    let said = String::from_utf8(output.stdout).unwrap();
    let last = "FAIL  removes: deny by \"shop\": the client's `operations` do not allow this; expected allow";
    assert_eq!(said.lines().last(), Some(last));
    assert_eq!(said.lines().count(), 3);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 of 3 cases"));
}

#[test]
fn policy_test_names_every_mistake_of_both_files() {
    let clients = CLIENTS.replace("\"metadata\"", "\"metdata\"");
    let output = policy_test(&clients, &case("a", SHOP, "tokenise", "yes"));
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let words = String::from_utf8(output.stderr).unwrap();
    for expected in ["lunasec.toml:", "metdata", "cases.toml:5:13: ", "cases.toml:6:10: "] {
        assert!(words.contains(expected), "{expected} is not in:\n{words}");
    }
}
