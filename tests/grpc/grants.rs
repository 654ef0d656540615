//! Grants over gRPC: the same as over JSON, and the same refusals.

use bytes::Bytes;
use lunasec_api::grpc::{
    self as api, Action, Refusal, create_grants_item::Outcome as Created,
    verify_grants_item::Outcome as Verified,
};
use lunasec_tests::{
    Grpc, Sidecar,
    grpc::framed,
    sidecar::{eventually, random_hex, unknown_token},
};
use serde_json::{Value, json};
use tonic::Code;

fn asks(session: &str, tokens: &[&str]) -> api::CreateGrantsRequest {
    let tokens = tokens.iter().copied().map(Into::into).collect();
    api::CreateGrantsRequest { tokens, session: session.into(), ..Default::default() }
}

async fn create(grpc: &mut Grpc, request: &api::CreateGrantsRequest) -> Vec<Created> {
    let answer = grpc.call("CreateGrants", request).await;
    let items = answer.message::<api::CreateGrantsResponse>().items;
    assert!(items.iter().map(|item| &item.token).eq(&request.tokens), "in order");
    items.into_iter().map(|item| item.outcome.unwrap()).collect()
}

async fn verify(
    grpc: &mut Grpc,
    session: &str,
    tokens: &[&str],
    action: Action,
) -> Vec<Result<i64, String>> {
    let tokens: Vec<String> = tokens.iter().copied().map(Into::into).collect();
    let request =
        api::VerifyGrantsRequest { tokens, session: session.into(), action: action.into() };
    let answer = grpc.call("VerifyGrants", &request).await;
    let items = answer.message::<api::VerifyGrantsResponse>().items;
    assert!(items.iter().map(|item| &item.token).eq(&request.tokens), "in order");
    let verdict = |item: api::VerifyGrantsItem| match item.outcome.unwrap() {
        Verified::ValidUntil(until) => Ok(millis(&until)),
        Verified::Refusal(why) if why == i32::from(Refusal::Denied) => Err("denied".into()),
        Verified::Refusal(why) if why == i32::from(Refusal::Expired) => Err("expired".into()),
        Verified::Refusal(why) => panic!("{why} is no refusal"),
        Verified::Error(error) => Err(error.code),
    };
    items.into_iter().map(verdict).collect()
}

async fn revoke(grpc: &mut Grpc, session: &str, tokens: &[&str]) -> Option<u32> {
    let (all, tokens) = (tokens.is_empty(), tokens.iter().copied().map(Into::into).collect());
    let request = api::RevokeGrantsRequest { tokens, session: session.into(), all };
    let answer = grpc.call("RevokeGrants", &request).await;
    let revoked = answer.message::<api::RevokeGrantsResponse>();
    assert!(revoked.durability() == api::Durability::Stored);
    revoked.revoked
}

fn millis(at: &prost_types::Timestamp) -> i64 {
    at.seconds * 1_000 + i64::from(at.nanos / 1_000_000)
}

/// What JSON says of each action.
fn json_verdicts(sidecar: &Sidecar, session: &str, token: &str) -> Vec<(bool, Value)> {
    let verdict = |action: &str| {
        let body = json!({ "session": session, "tokens": [token], "action": action });
        let item = sidecar.post("/v1/grants/verify", &body).json()["items"][0].clone();
        (item["valid"] == true, item["expires_at"].clone())
    };
    ["detokenize", "metadata", "update", "delete"].map(verdict).into()
}

#[tokio::test]
async fn what_json_granted_grpc_verifies_and_back() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let (token, session) = (sidecar.tokenize("value"), random_hex(8));
    let defaults = create(&mut grpc, &asks(&session, &[&token])).await;
    let Created::Granted(granted) = &defaults[0] else { panic!("not granted") };
    assert!(granted.durability() == api::Durability::Stored);
    let until = millis(granted.expires_at.as_ref().unwrap());
    let found = json_verdicts(&sidecar, &session, &token);
    let valid: Vec<_> = found.iter().map(|(valid, _)| *valid).collect();
    assert_eq!(valid, [true, true, false, false]);
    let [Ok(metadata)] = verify(&mut grpc, &session, &[&token], Action::Metadata).await[..] else {
        panic!("metadata is granted too")
    };
    assert_eq!(metadata, until);
    assert_eq!(verify(&mut grpc, &session, &[&token], Action::Unspecified).await, [Ok(until)]);
    for (action, name) in [(Action::Update, "update"), (Action::Delete, "delete")] {
        let denied = [Err("denied".into())];
        assert_eq!(verify(&mut grpc, &session, &[&token], action).await, denied);
        let body = json!({ "session": session, "tokens": [token], "actions": [name] });
        assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
        assert!(verify(&mut grpc, &session, &[&token], action).await[0].is_ok(), "{name}");
    }
    assert_eq!(revoke(&mut grpc, &session, &[&token, &unknown_token()]).await, Some(1));
    assert_eq!(revoke(&mut grpc, &session, &[&token]).await, Some(0));
    assert!(json_verdicts(&sidecar, &session, &token).iter().all(|(valid, _)| !valid));
    let actions = vec![Action::Update.into(), Action::Delete.into()];
    let some = api::CreateGrantsRequest { actions, ..asks(&session, &[&token]) };
    create(&mut grpc, &some).await;
    let found = json_verdicts(&sidecar, &session, &token);
    let valid: Vec<_> = found.iter().map(|(valid, _)| *valid).collect();
    assert_eq!(valid, [false, false, true, true]);
    assert_eq!(revoke(&mut grpc, &session, &[]).await, None);
    assert!(json_verdicts(&sidecar, &session, &token).iter().all(|(valid, _)| !valid));
}

#[tokio::test]
async fn items_fail_by_themselves_and_a_grant_ends() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let (token, gone, unknown) = (sidecar.tokenize("v"), sidecar.tokenize("w"), unknown_token());
    let session = random_hex(8);
    sidecar.delete(&gone);
    let tokens = [unknown.as_str(), &token, "4111", &gone];
    let expires_in = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let brief = api::CreateGrantsRequest { expires_in, ..asks(&session, &tokens) };
    let codes = |items: Vec<Created>| {
        let code = |item| match item {
            Created::Granted(_) => "granted".to_owned(),
            Created::Error(error) => {
                assert!(!error.retryable && !error.detail.is_empty());
                error.code
            }
        };
        items.into_iter().map(code).collect::<Vec<_>>()
    };
    let wanted = ["not_found", "granted", "invalid_token", "not_found"];
    assert_eq!(codes(create(&mut grpc, &brief).await), wanted);
    let body = json!({ "session": session, "tokens": [token] });
    let reason = || sidecar.post("/v1/grants/verify", &body).json()["items"][0]["reason"].clone();
    eventually("it ends", || reason() == "expired");
    let wanted =
        ["not_found", "expired", "invalid_token", "not_found"].map(|code| Err(code.into()));
    assert_eq!(verify(&mut grpc, &session, &tokens, Action::Detokenize).await, wanted);
}

type Bad = (&'static str, &'static str, Bytes);

fn bad_requests(token: &str) -> Vec<Bad> {
    let create = |what, request: api::CreateGrantsRequest| (what, "CreateGrants", framed(&request));
    let good = || asks("session", &[token]);
    let acts = |actions: &[i32]| api::CreateGrantsRequest { actions: actions.into(), ..good() };
    let lasts = |seconds, nanos| {
        let expires_in = Some(prost_types::Duration { seconds, nanos });
        api::CreateGrantsRequest { expires_in, ..good() }
    };
    let verify = |what, action, session: &str, tokens: usize| {
        let (tokens, session) = (vec![token.to_owned(); tokens], session.into());
        (what, "VerifyGrants", framed(&api::VerifyGrantsRequest { tokens, session, action }))
    };
    let revoke = |what, session: &str, tokens: usize, all| {
        let (tokens, session) = (vec![token.to_owned(); tokens], session.into());
        (what, "RevokeGrants", framed(&api::RevokeGrantsRequest { tokens, session, all }))
    };
    let long = "s".repeat(1_025);
    vec![
        create("no tokens", asks("session", &[])),
        create("too many tokens", asks("session", &[token; 1_001])),
        create("no session", asks("", &[token])),
        create("a long session", asks(&long, &[token])),
        create("an unknown action", acts(&[9])),
        create("no action", acts(&[0])),
        create("an action twice", acts(&[1, 2, 1])),
        create("a negative time", lasts(-1, 0)),
        create("no time", lasts(0, 0)),
        create("less than a millisecond", lasts(0, 999_999)),
        create("more than the maximum", lasts(24 * 3600, 1_000_000)),
        create("for ever", lasts(i64::MAX, 0)),
        verify("an unknown action", 9, "session", 1),
        verify("no tokens", 1, "session", 0),
        verify("too many tokens", 1, "session", 1_001),
        verify("no session", 1, "", 1),
        verify("a long session", 1, &long, 1),
        revoke("too many tokens", "session", 1_001, false),
        revoke("no session", "", 0, true),
        revoke("a long session", &long, 1, false),
        revoke("neither tokens nor all", "session", 0, false),
        revoke("both tokens and all", "session", 1, true),
        revoke("a space at the end", "session ", 1, false),
    ]
}

#[tokio::test]
async fn what_cannot_be_granted_is_a_clear_refusal() {
    let sidecar = Sidecar::dev();
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let token = sidecar.tokenize("value");
    create(&mut grpc, &asks("session", &[&token])).await;
    for (what, method, body) in bad_requests(&token) {
        let answer = grpc.send(Grpc::head(method), body).await;
        let wanted = (Code::InvalidArgument, "invalid_request".into(), false);
        assert_eq!(answer.failure(), wanted, "{method}: {what}");
    }
    // One that is no token takes nothing back.
    let tokens = vec![token.clone(), "4111".into()];
    let request = api::RevokeGrantsRequest { tokens, session: "session".into(), all: false };
    let answer = grpc.call("RevokeGrants", &request).await;
    assert_eq!(answer.failure(), (Code::InvalidArgument, "invalid_token".into(), false));
    assert!(verify(&mut grpc, "session", &[&token], Action::Detokenize).await[0].is_ok());
    // A session is one of its namespace.
    let elsewhere = |method| Grpc::head(method).header("lunasec-namespace", "elsewhere");
    let all = api::RevokeGrantsRequest { tokens: vec![], session: "session".into(), all: true };
    let answer = grpc.send(elsewhere("RevokeGrants"), framed(&all)).await;
    assert_eq!(answer.message::<api::RevokeGrantsResponse>().revoked, None);
    assert!(verify(&mut grpc, "session", &[&token], Action::Detokenize).await[0].is_ok());
}
