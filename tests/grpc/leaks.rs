//! With the log at its most talkative, nothing that a call carries is in it, nor in a failure's words.

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    grpc::{Answer, framed, prefixed},
    sidecar::random_hex,
};

#[tokio::test]
async fn nothing_that_is_said_repeats_what_a_call_carried() {
    let mut sidecar = Sidecar::dev_with(&[("LUNASEC_LOG__LEVEL", "trace")]);
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let [value, metadata, key, session] = std::array::from_fn(|_| random_hex(12));
    let head = |method: &str| {
        Grpc::head(method)
            .header("idempotency-key", key.as_str())
            .header("lunasec-session", session.as_str())
            .header("lunasec-purpose", session.as_str())
    };
    let request = api::TokenizeRequest {
        value: value.clone().into_bytes().into(),
        metadata: Some(format!("{{\"m\":\"{metadata}\"}}")),
        ..Default::default()
    };
    let given = grpc.send(head("Tokenize"), framed(&request)).await;
    let token = given.message::<api::TokenizeResponse>().token;
    let uuid = token["lunasec-".len()..].to_owned();
    let asked = |token: &str| framed(&api::DetokenizeRequest { token: token.into() });
    let revealed = grpc.send(head("Detokenize"), asked(&token)).await;
    assert_eq!(revealed.message::<api::DetokenizeResponse>().value, value.as_bytes());

    let grants = api::CreateGrantsRequest {
        tokens: vec![token.clone()],
        session: session.clone(),
        ..Default::default()
    };
    let created = grpc.send(head("CreateGrants"), framed(&grants)).await;
    assert_eq!(created.message::<api::CreateGrantsResponse>().items.len(), 1);
    let twice = api::CreateGrantsRequest { actions: vec![1, 1], ..grants.clone() };
    let revoked = api::RevokeGrantsRequest {
        tokens: vec![value.clone()],
        session: session.clone(),
        all: false,
    };

    let planted = [&value, &metadata, &key, &session, &uuid];
    let holds_none = |what: &str, text: &str| {
        for secret in planted {
            assert!(!text.contains(secret.as_str()), "{secret} is in {what}:\n{text}");
        }
    };
    let words = |answer: &Answer| format!("{:?} {:?}", answer.headers, answer.status);
    let refused = [
        grpc.send(head("Detokenize"), asked(&value)).await,
        grpc.send(head("Detokenize"), prefixed(0, value.as_bytes())).await,
        grpc.send(head(&token), asked(&token)).await,
        grpc.send(head("CreateGrants"), framed(&twice)).await,
        grpc.send(head("RevokeGrants"), framed(&revoked)).await,
        grpc.send(head("Detokenize").header("authorization", &session), asked(&token)).await,
        grpc.send(head("Detokenize").header("lunasec-namespace", "No Name"), asked(&token)).await,
        grpc.send(head("Tokenize").header("grpc-timeout", value.as_str()), framed(&request)).await,
    ];
    for answer in &refused {
        answer.failure();
        holds_none("a failure", &words(answer));
    }
    holds_none("the metrics", &sidecar.metrics());
    sidecar.stop();
    let log = sidecar.log();
    holds_none("the log", &log);
    let told = log.lines().filter(|line| line.contains("request refused")).count();
    assert!(told >= refused.len(), "the log is not talkative enough to prove anything:\n{log}");
}
