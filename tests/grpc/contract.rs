//! What each method answers, and how each failure is said.

use bytes::Bytes;
use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    grpc::{framed, prefixed},
    raw::get_tcp,
    sidecar::{eventually, unknown_token},
};
use prost::Message;
use serde_json::json;
use tonic::Code;

fn value(value: &[u8]) -> api::TokenizeRequest {
    api::TokenizeRequest { value: Bytes::copy_from_slice(value), ..Default::default() }
}

async fn connect(sidecar: &Sidecar) -> Grpc {
    Grpc::connect(sidecar.socket()).await
}

async fn tokenized(grpc: &mut Grpc, request: &api::TokenizeRequest) -> String {
    grpc.call("Tokenize", request).await.message::<api::TokenizeResponse>().token
}

#[tokio::test]
async fn what_json_wrote_grpc_reads_and_back() {
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    for (bytes, json_value, encoding) in
        [("Zoë".as_bytes(), "Zoë", "utf8"), (&[0, 255][..], "AP8=", "base64"), (b"", "", "utf8")]
    {
        let token = tokenized(&mut grpc, &value(bytes)).await;
        let wanted = json!({ "value": json_value, "encoding": encoding });
        assert_eq!(sidecar.detokenize(&token).json(), wanted);
        let given = sidecar.post("/v1/tokenize", &wanted).json();
        let token = given["token"].as_str().unwrap().into();
        let answer = grpc.call("Detokenize", &api::DetokenizeRequest { token }).await;
        assert_eq!(answer.message::<api::DetokenizeResponse>().value, bytes);
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert_eq!(answer.headers["lunasec-request-id"].len(), 16);
    }
}

type Bad = (&'static str, hyper::http::request::Builder, Bytes, Code, &'static str);

/// Calls that say the wrong thing about themselves.
fn bad_heads(token: &str) -> Vec<Bad> {
    const INVALID: Code = Code::InvalidArgument;
    let head = || Grpc::head("Detokenize");
    let asked = api::DetokenizeRequest { token: token.into() };
    let json = hyper::Request::post("http://localhost/lunasec.v1.Tokenizer/Detokenize")
        .header("content-type", "application/grpc+json");
    let zipped = prefixed(1, &asked.encode_to_vec());
    let asked = framed(&asked);
    let namespace = head().header("lunasec-namespace", "No Name");
    let twice = head().header("lunasec-namespace", "a").header("lunasec-namespace", "b");
    let timeout = head().header("grpc-timeout", "soon");
    vec![
        ("method", Grpc::head("Reveal"), asked.clone(), Code::Unimplemented, "method_not_allowed"),
        ("service", Grpc::post("/a.B/C"), asked.clone(), Code::Unimplemented, "method_not_allowed"),
        ("JSON", json, asked.clone(), Code::Unimplemented, "unsupported_media_type"),
        ("compressed", head(), zipped, Code::Unimplemented, "unsupported_media_type"),
        ("namespace", namespace, asked.clone(), INVALID, "invalid_namespace"),
        ("two namespaces", twice, asked.clone(), INVALID, "invalid_request"),
        ("timeout", timeout, asked, INVALID, "invalid_request"),
    ]
}

/// Calls whose message asks for what cannot be.
fn bad_messages(token: &str) -> Vec<Bad> {
    const INVALID: Code = Code::InvalidArgument;
    let head = Grpc::head;
    let of = |token: &str| framed(&api::DetokenizeRequest { token: token.into() });
    let expires_in = |seconds, nanos| {
        let expires_in = Some(prost_types::Duration { seconds, nanos });
        framed(&api::TokenizeRequest { expires_in, ..value(b"v") })
    };
    let encoding = framed(&api::TokenizeRequest { encoding: 9, ..value(b"v") });
    let metadata = api::TokenizeRequest { metadata: Some("[]".into()), ..value(b"v") };
    let metadata = framed(&metadata);
    let token = token.into();
    let stale = api::SetMetadataRequest { token, metadata: "{}".into(), if_version: Some(7) };
    let (large, larger) = (value(&vec![0; (1 << 20) + 1]), value(&vec![0; 8 << 20]));
    let too_large = Code::ResourceExhausted;
    vec![
        ("no token", head("Detokenize"), of("x"), INVALID, "invalid_token"),
        ("unknown", head("Detokenize"), of(&unknown_token()), Code::NotFound, "not_found"),
        ("stale", head("SetMetadata"), framed(&stale), Code::Aborted, "conflict"),
        ("negative", head("Tokenize"), expires_in(-1, 0), INVALID, "invalid_request"),
        ("at once", head("Tokenize"), expires_in(0, 1), INVALID, "invalid_request"),
        ("for ever", head("Tokenize"), expires_in(i64::MAX, 0), INVALID, "invalid_request"),
        ("encoding", head("Tokenize"), encoding, INVALID, "invalid_request"),
        ("metadata", head("Tokenize"), metadata, INVALID, "invalid_request"),
        ("large", head("Tokenize"), framed(&large), too_large, "payload_too_large"),
        ("larger", head("Tokenize"), framed(&larger), too_large, "payload_too_large"),
    ]
}

#[tokio::test]
async fn failures_carry_code_status_and_whether_to_retry() {
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    let token = tokenized(&mut grpc, &value(b"v")).await;
    for (what, head, body, code, reason) in
        bad_heads(&token).into_iter().chain(bad_messages(&token))
    {
        let answer = grpc.send(head, body).await;
        assert_eq!(answer.failure(), (code, reason.into(), false), "{what}");
        assert_eq!(answer.http, 200, "{what}");
        assert!(answer.headers.contains_key("lunasec-request-id"), "{what}");
        let wanted = (reason == "unsupported_media_type").then_some("identity");
        let found = answer.headers.get("grpc-accept-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(found, wanted, "{what}");
        assert_eq!(answer.retry_after(), None, "{what}");
    }
    let answer = grpc.call("Detokenize", &api::DetokenizeRequest { token }).await;
    assert_eq!(answer.message::<api::DetokenizeResponse>().value, "v");
    let counted = |operation: &str, code: &str| {
        let labels = format!("operation=\"{operation}\",code=\"{code}\"");
        sidecar.metric(&format!("lunasec_requests_total{{{labels}}}"))
    };
    assert_eq!(counted("tokenize", "payload_too_large"), 2.0);
    assert_eq!(counted("unknown", "method_not_allowed"), 2.0);
    assert_eq!(counted("detokenize", "ok"), 1.0);
}

#[tokio::test]
async fn a_body_that_is_not_one_message_is_a_clear_refusal() {
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    let good = framed(&value(b"4111"));
    let (short, long) = (good.slice(..good.len() - 1), [&good[..], b"x"].concat());
    for (what, body) in [
        ("nothing", Bytes::new()),
        ("half a prefix", good.slice(..3)),
        ("too short", short),
        ("too long", long.into()),
        ("a tail that decodes", [&good[..], b"\xa2\x06\x00"].concat().into()),
        ("more than there is", [b"\0\0\0\0\x07", &good[5..]].concat().into()),
        ("two messages", [&good[..], &good[..]].concat().into()),
        ("no protobuf", prefixed(0, b"4111 1111 1111 1111")),
        ("a token that is no text", prefixed(0, b"\x1a\x02\xff\xfe")),
        ("groups in groups", prefixed(0, &[0x0b; 10_000])),
        ("a length of 4 GiB", Bytes::from_static(&[0, 255, 255, 255, 255, 1])),
    ] {
        let answer = grpc.send(Grpc::head("Tokenize"), body).await;
        let wanted = (Code::InvalidArgument, "invalid_request".into(), false);
        assert_eq!(answer.failure(), wanted, "{what}");
        assert!(!answer.status.unwrap().message().contains("4111"), "{what}");
    }
    assert_eq!(sidecar.stored_records(), 0);
}

#[tokio::test]
async fn a_field_of_a_later_version_is_tolerated() {
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    let later = [&value(b"v").encode_to_vec()[..], b"\xa2\x06\x03new"].concat();
    let answer = grpc.send(Grpc::head("Tokenize"), prefixed(0, &later)).await;
    let token = answer.message::<api::TokenizeResponse>().token;
    assert_eq!(sidecar.detokenize(&token).json()["value"], "v");
}

#[tokio::test]
async fn batch_items_fail_by_themselves_and_stay_in_order() {
    use api::{delete_item::Outcome as Deleted, detokenize_item::Outcome as Revealed};
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    let bad = api::TokenizeRequest { metadata: Some("[]".into()), ..value(b"bad") };
    let request = api::BatchTokenizeRequest { items: vec![value(b"a"), bad, value(b"c")] };
    let answer = grpc.call("BatchTokenize", &request).await;
    let items = answer.message::<api::BatchTokenizeResponse>().items;
    let mut tokens: Vec<String> = items
        .into_iter()
        .map(|item| match item.outcome.unwrap() {
            api::tokenize_item::Outcome::Tokenized(given) => given.token,
            api::tokenize_item::Outcome::Error(error) => error.code,
        })
        .collect();
    assert_eq!(tokens[1], "invalid_request");
    tokens.push(unknown_token());
    let request = api::BatchDetokenizeRequest { tokens: tokens.clone() };
    let answer = grpc.call("BatchDetokenize", &request).await;
    let items = answer.message::<api::BatchDetokenizeResponse>().items;
    assert!(items.iter().map(|item| &item.token).eq(&tokens));
    let found = items.into_iter().map(|item| match item.outcome.unwrap() {
        Revealed::Detokenized(revealed) => String::from_utf8(revealed.value.into()).unwrap(),
        Revealed::Error(error) => {
            assert!(!error.retryable && !error.detail.is_empty());
            error.code
        }
    });
    let found: Vec<_> = found.collect();
    assert_eq!(found, ["a", "invalid_token", "c", "not_found"]);
    let answer = grpc.call("Delete", &api::DeleteRequest { tokens: tokens.clone() }).await;
    let items = answer.message::<api::DeleteResponse>().items;
    let deleted = items.iter().map(|item| matches!(item.outcome, Some(Deleted::Deleted(_))));
    assert_eq!(deleted.collect::<Vec<_>>(), [true, false, true, true]);
    assert_eq!(sidecar.detokenize(&tokens[0]).code(), "not_found");
}

#[tokio::test]
async fn an_expired_value_says_so() {
    let sidecar = Sidecar::dev();
    let mut grpc = connect(&sidecar).await;
    let expires_in = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let token = tokenized(&mut grpc, &api::TokenizeRequest { expires_in, ..value(b"v") }).await;
    eventually("it expires", || sidecar.detokenize(&token).status == 410);
    let answer = grpc.call("Detokenize", &api::DetokenizeRequest { token }).await;
    assert_eq!(answer.failure(), (Code::NotFound, "expired".into(), false));
}

#[tokio::test]
async fn another_user_is_forbidden() {
    let (_directory, sidecar) = Sidecar::dev_as_nobody();
    let mut grpc = connect(&sidecar).await;
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for head in [
        Grpc::head("Tokenize"),
        Grpc::head("BatchTokenize"),
        Grpc::head("Detokenize"),
        Grpc::head("BatchDetokenize"),
        Grpc::head("GetMetadata"),
        Grpc::head("SetMetadata"),
        Grpc::head("CreateGrants"),
        Grpc::head("VerifyGrants"),
        Grpc::head("RevokeGrants"),
        Grpc::head("Delete"),
        Grpc::head("GetStatus"),
        Grpc::post("/grpc.health.v1.Health/Check"),
        Grpc::post(reflection),
    ] {
        let what = format!("{:?}", head.uri_ref());
        let answer = grpc.send(head, prefixed(0, b"")).await;
        let wanted = (Code::PermissionDenied, "forbidden".into(), false);
        assert_eq!(answer.failure(), wanted, "{what}");
    }
}

#[tokio::test]
async fn the_status_says_what_confines_the_process() {
    let sidecar = Sidecar::dev();
    let answer = connect(&sidecar).await.call("GetStatus", &api::GetStatusRequest {}).await;
    let said = answer.message::<api::GetStatusResponse>().sandbox.unwrap();
    let json = get_tcp(&sidecar.admin(), "/status").json()["sandbox"].clone();
    assert_eq!((json["mode"].as_str(), said.mode.as_str()), (Some("on"), "on"));
    assert_eq!(json["landlock_abi"], said.landlock_abi);
    assert_eq!((&json["seccomp"], said.seccomp), (&true.into(), true));
    assert_eq!((&json["no_new_privileges"], said.no_new_privileges), (&true.into(), true));
    assert_eq!((&json["capabilities_dropped"], said.capabilities_dropped), (&true.into(), true));
    assert_eq!(json["capabilities_left"], json!(said.capabilities_left));
    assert_eq!(json["reasons"].as_array().map_or(0, Vec::len), said.reasons.len());
}
