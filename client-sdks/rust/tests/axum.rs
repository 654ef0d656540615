//! The layer, the extractors and the answers, in an axum application: before a scripted server and the real binary.
#![cfg(feature = "axum")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report"
)]

mod support;

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
    routing::{get, post},
};
use futures_util::future::join_all;
use http_body_util::BodyExt;
use lunasec_client::{
    Client, Durability, Mask, Shown, StoredToken,
    axum::{LunaSec, Problem, Protected, RevealedJson, TokenizedJson, VerifiedJson},
    tower::LunaSecLayer,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{
    scripted::{Act, Scripted, ok, problem, reveal},
    sidecar::Sidecar,
    token,
};
use tower_service::Service;

#[derive(Serialize, Deserialize, Clone, Debug)]
struct Customer {
    name: StoredToken,
    #[serde(default)]
    cards: Vec<Card>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<StoredToken>,
    #[serde(default)]
    city: String,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
struct Card {
    number: StoredToken,
}

impl Protected for Customer {
    const FIELDS: &'static [&'static str] = &["name", "cards[].number?", "note?"];
}

async fn tokenize(made: TokenizedJson<Customer>) -> (StatusCode, Json<Customer>) {
    let stored = made.durability == Durability::Stored;
    (if stored { StatusCode::CREATED } else { StatusCode::ACCEPTED }, Json(made.body))
}

async fn show(
    lunasec: LunaSec,
    Json(customers): Json<Vec<Customer>>,
) -> Result<RevealedJson, Problem> {
    lunasec.reveal(&customers).await
}

async fn page(
    lunasec: LunaSec,
    Json(customers): Json<Vec<Customer>>,
) -> Result<RevealedJson, Problem> {
    lunasec.reveal_or(Mask::with("n/a"), &customers).await
}

async fn grant(lunasec: LunaSec, Json(customer): Json<Customer>) -> Result<StatusCode, Problem> {
    lunasec.grant(&customer).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn use_it(VerifiedJson(customer): VerifiedJson<Customer>) -> Json<Customer> {
    Json(customer)
}

async fn spoiled(lunasec: LunaSec) -> Result<RevealedJson, Problem> {
    // What a database should not hold.
    #[derive(Serialize)]
    struct Spoiled {
        name: &'static str,
    }
    impl Protected for Spoiled {
        const FIELDS: &'static [&'static str] = &["name"];
    }
    lunasec.reveal(&Spoiled { name: "Ada" }).await
}

fn app(client: Client) -> Router {
    let layer =
        LunaSecLayer::new(client).page_deadline(Duration::from_millis(300)).session(|request| {
            let id = request.headers.get("x-session")?.to_str().ok()?;
            Some(id.to_owned().into())
        });
    Router::new()
        .route("/tokenize", post(tokenize))
        .route("/show", post(show))
        .route("/page", post(page))
        .route("/grant", post(grant))
        .route("/use", post(use_it))
        .route("/spoiled", get(spoiled))
        .layer(layer)
        .route("/without", post(tokenize))
}

struct Answer {
    status: u16,
    body: Value,
    headers: HeaderMap,
}

async fn ask(app: &Router, path: &str, session: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::post(path).header("content-type", "application/json; charset=utf-8");
    if path == "/spoiled" {
        request = request.method("GET");
    }
    if !session.is_empty() {
        request = request.header("x-session", session);
    }
    let response = app.clone().call(request.body(body.into()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: head.status.as_u16(), body, headers: head.headers }
}

fn ada() -> Value {
    json!({ "name": "Ada", "cards": [{ "number": "4111" }, { "number": "5500" }], "city": "London" })
}

#[tokio::test]
async fn values_come_as_tokens_and_go_out_as_values() {
    let sidecar = Sidecar::start().await;
    let app = app(sidecar.client());
    let made = ask(&app, "/tokenize", "alice", ada().to_string()).await;
    assert_eq!(made.status, 201);
    let text = made.body.to_string();
    assert!(!text.contains("Ada") && !text.contains("4111") && text.contains("London"), "{text}");
    assert_eq!(text.matches("lunasec-").count(), 3);
    let shown = ask(&app, "/show", "alice", json!([made.body, made.body]).to_string()).await;
    assert_eq!((shown.status, &shown.body[0]), (200, &ada()));
    assert_eq!(shown.body[1], ada());
    assert_eq!(shown.headers["cache-control"], "no-store");
    assert!(!shown.headers.contains_key("lunasec-degraded"));
}

#[tokio::test]
async fn only_what_the_session_was_granted_passes() {
    let sidecar = Sidecar::start().await;
    let app = app(sidecar.client());
    let made = ask(&app, "/tokenize", "alice", ada().to_string()).await.body.to_string();
    assert_eq!(ask(&app, "/use", "alice", made.clone()).await.status, 403);
    assert_eq!(ask(&app, "/grant", "alice", made.clone()).await.status, 204);
    assert_eq!(ask(&app, "/use", "alice", made.clone()).await.status, 200);
    let denied = ask(&app, "/use", "bob", made.clone()).await;
    let unknown =
        ask(&app, "/use", "alice", json!({ "name": token(9), "cards": [] }).to_string()).await;
    // Somebody else's token and one that never was get the same answer.
    assert_eq!((denied.status, denied.body), (403, unknown.body));
    let nobody = ask(&app, "/use", "", made.clone()).await;
    assert_eq!((nobody.status, &nobody.body["code"]), (401, &json!("unauthenticated")));
    assert_eq!(ask(&app, "/grant", "", made).await.status, 401);
}

#[tokio::test]
async fn bad_input_is_a_400_that_names_the_field_and_never_shows_it() {
    let server = Scripted::new(|_, _| Act::Hang);
    let app = app(server.client());
    let cases = [
        (json!({}), "name"),
        (json!({ "name": null }), "name"),
        (json!({ "name": 4_111_111 }), "name"),
        (json!({ "name": ["Ada Lovelace"] }), "name"),
        (json!({ "name": token(1) }), "name"),
        (json!({ "name": token(1).to_uppercase() }), "name"),
        (json!({ "name": format!(" {} ", token(1).replace('-', "")) }), "name"),
        (json!({ "name": format!("\u{200b}{}\u{feff}", token(1)) }), "name"),
        (json!({ "name": "••••" }), "name"),
        (json!({ "name": "[lunasec plaintext: reveal() gives its text]" }), "name"),
        (json!({ "name": "Ada", "cards": "4111" }), "cards[].number"),
        (json!({ "name": "Ada", "cards": [{ "number": 4111 }] }), "cards[].number"),
        (json!({ "name": "Ada", "note": {} }), "note"),
    ];
    for (body, field) in cases {
        let answer = ask(&app, "/tokenize", "alice", body.to_string()).await;
        assert_eq!((answer.status, &answer.body["field"]), (400, &json!(field)), "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let said = answer.body.to_string();
        assert!(
            !said.contains("4111") && !said.contains("Lovelace") && !said.contains("0000-4000"),
            "{said}"
        );
    }
    for body in ["", "{", "nonsense 4111", "[1", "\"Ada\"", "4111"] {
        let answer = ask(&app, "/tokenize", "alice", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.body.to_string().contains("4111"));
    }
    let answer = ask(&app, "/tokenize", "alice", "x".repeat(3 << 20)).await;
    assert_eq!((answer.status, &answer.body["code"]), (413, &json!("payload_too_large")));
    let many = json!({ "name": "Ada", "cards": vec![json!({ "number": "1" }); 10_001] });
    assert_eq!(ask(&app, "/tokenize", "alice", many.to_string()).await.status, 413);
    let session = ask(&app, "/tokenize", &"s".repeat(2_000), ada().to_string()).await;
    assert_eq!(session.status, 400);
    let form = Request::post("/tokenize").body(Body::from(ada().to_string())).unwrap();
    assert_eq!(app.clone().call(form).await.unwrap().status(), 400);
    for path in ["/use", "/grant"] {
        let value = ask(&app, path, "alice", json!({ "name": "Ada" }).to_string()).await;
        assert!((400..500).contains(&value.status), "{path}: {}", value.status);
    }
    assert!(server.came().is_empty(), "none of it was sent");
}

#[tokio::test]
async fn mistakes_of_the_application_are_a_500_that_shows_nothing() {
    let server = Scripted::new(|came, _| reveal(came));
    let app = app(server.client());
    for path in ["/without", "/spoiled"] {
        let answer = ask(&app, path, "alice", ada().to_string()).await;
        assert_eq!((answer.status, &answer.body["code"]), (500, &json!("internal")), "{path}");
        assert!(
            !answer.body.to_string().contains("Layer") && !answer.body.to_string().contains("Ada")
        );
    }
}

#[tokio::test]
async fn errors_are_answered_by_what_to_do_about_them() {
    let codes = [
        ("forbidden", 403, 403),
        ("grant_expired", 403, 403),
        ("not_found", 404, 404),
        ("expired", 410, 410),
        ("conflict", 409, 409),
        ("rate_limited", 429, 429),
        ("overloaded", 503, 503),
        ("storage_unavailable", 503, 503),
        ("corrupted", 500, 500),
        ("internal", 500, 500),
        ("method_not_allowed", 405, 500),
        ("moon_phase", 403, 500),
    ];
    let server = Scripted::new(move |_, before| {
        problem(codes[before].1, codes[before].0, codes[before].1 == 429 || codes[before].1 == 503)
    });
    let app = app(server.builder().attempts(1).build().unwrap());
    for (code, _, expected) in codes {
        let answer = ask(&app, "/show", "alice", json!([{ "name": token(1) }]).to_string()).await;
        assert_eq!(answer.status, expected, "{code}");
        let known = expected != 500;
        assert_eq!(answer.body["code"], if known { code } else { "internal" });
        assert_eq!(answer.headers.contains_key("retry-after"), matches!(expected, 429 | 503));
        assert_eq!(answer.body["request_id"], "request-7");
        assert_ne!(answer.body["detail"], "words", "what the sidecar says is for the application");
    }
}

#[tokio::test]
async fn during_an_outage_pages_load_masked_within_their_time_and_nothing_else_stands_in() {
    let mut sidecar = Sidecar::start().await;
    let app = app(sidecar.builder().restart_grace(Duration::from_millis(100)).build().unwrap());
    let made = ask(&app, "/tokenize", "alice", ada().to_string()).await.body;
    let list = json!([made]).to_string();
    sidecar.signal("-STOP").await;
    let page = ask(&app, "/page", "alice", list.clone()).await;
    assert_eq!(
        (page.status, &page.body[0]["name"], &page.body[0]["city"]),
        (200, &json!("n/a"), &json!("London"))
    );
    assert_eq!(page.headers["lunasec-degraded"], "deadline_exceeded");
    sidecar.signal("-CONT").await;
    sidecar.kill().await;
    let page = ask(&app, "/page", "alice", list.clone()).await;
    assert_eq!(
        (page.status, page.headers["lunasec-degraded"].to_str().unwrap()),
        (200, "sidecar_unreachable")
    );
    for (path, body) in [
        ("/show", list.clone()),
        ("/tokenize", ada().to_string()),
        ("/use", made.to_string()),
        ("/grant", made.to_string()),
    ] {
        let answer = ask(&app, path, "alice", body).await;
        assert_eq!((answer.status, &answer.body["retryable"]), (503, &json!(true)), "{path}");
    }
    sidecar.again().await;
    let page = ask(&app, "/page", "alice", list).await;
    assert_eq!((page.status, &page.body[0]["name"]), (200, &json!("Ada")));
    assert!(!page.headers.contains_key("lunasec-degraded"));
}

#[tokio::test]
async fn all_that_a_page_waits_for_is_within_its_time() {
    let server = Scripted::new(|_, _| Act::Hang);
    let app = app(server.client());
    // Three requests of a thousand fields each: 300 ms, and then 50 ms for each of the others.
    let many: Vec<_> = (0..3_000).map(|number| json!({ "name": token(number) })).collect();
    let began = std::time::Instant::now();
    let page = ask(&app, "/page", "alice", json!(many).to_string()).await;
    assert_eq!((page.status, page.body.as_array().unwrap().len()), (200, 3_000));
    assert_eq!(page.body[2_999]["name"], "n/a");
    assert!(began.elapsed() < Duration::from_secs(5), "each of them had its own 2 s");
    assert_eq!(server.came().len(), 3);
}

/// Whether each of ten calls at once was answered, and then one more.
async fn busy(lunasec: LunaSec) -> Json<Vec<bool>> {
    let read = async |number: usize| {
        let tokens = [token(number)];
        let shown = lunasec.page().masked(async |client| client.detokenize_batch(&tokens).await);
        matches!(shown.await.unwrap().unwrap()[0], Ok(Shown::Value(_)))
    };
    let mut answered = join_all((0..10).map(read)).await;
    answered.push(read(10).await);
    Json(answered)
}

#[tokio::test]
async fn calls_that_are_answered_use_up_nothing_of_a_pages_time() {
    let server = Scripted::new(|came, _| match reveal(came) {
        Act::Answer(status, body) => Act::Late(Duration::from_millis(210), status, body),
        other => other,
    });
    let layer = LunaSecLayer::new(server.client());
    let app = Router::new().route("/busy", post(busy)).layer(layer);
    let answered = ask(&app, "/busy", "", "").await.body;
    assert_eq!(answered, json!(vec![true; 11]), "together they took longer than a page waits");
}

/// How long each of these calls waits, in milliseconds: two at once, one later, and one much later.
async fn patient(lunasec: LunaSec) -> Json<Vec<u128>> {
    let read = async || {
        let began = tokio::time::Instant::now();
        let shown = lunasec.page().masked(async |client| client.detokenize(&token(1)).await).await;
        assert!(matches!(shown.unwrap().unwrap(), Shown::Masked(_)));
        began.elapsed().as_millis()
    };
    let (first, second) = tokio::join!(read(), read());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let third = read().await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    Json(vec![first, second, third, read().await])
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_on_for_long_waits_again() {
    let nowhere = Client::builder().socket("/nowhere/s.sock");
    let client = nowhere.start_deadline(Duration::from_secs(600)).build().unwrap();
    let layer = LunaSecLayer::new(client);
    let app = Router::new().route("/patient", post(patient)).layer(layer);
    let waited: Vec<u128> =
        serde_json::from_value(ask(&app, "/patient", "", "").await.body).unwrap();
    // A call gives up before the pause that would go beyond its time.
    for (call, expected) in [2_000, 2_000, 50, 2_000].into_iter().enumerate() {
        let least = if expected > 1_000 { 1_000 } else { 0 };
        assert!((least..=expected + 10).contains(&waited[call]), "call {call} of {waited:?}");
    }
}

#[tokio::test]
async fn what_is_older_than_it_should_be_says_so() {
    let server = Scripted::new(|came, _| {
        let items: Vec<_> = came.tokens().iter().map(|token| json!({ "token": token, "value": "v", "encoding": "utf8", "degraded": "storage,keys", "age": 60 })).collect();
        ok(json!({ "items": items }))
    });
    let shown =
        ask(&app(server.client()), "/show", "alice", json!([{ "name": token(1) }]).to_string())
            .await;
    assert_eq!(
        (shown.status, shown.headers["lunasec-degraded"].to_str().unwrap()),
        (200, "storage,keys")
    );
}

#[tokio::test]
async fn a_request_goes_on_within_its_trace_and_under_its_session() {
    let server = Scripted::new(|came, _| reveal(came));
    let app = app(server.client());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = Request::post("/show")
        .header("content-type", "application/json")
        .header("x-session", "alice")
        .header("traceparent", trace)
        .body(Body::from(json!([{ "name": token(1) }]).to_string()))
        .unwrap();
    assert_eq!(app.clone().call(request).await.unwrap().status(), 200);
    let came = server.came();
    assert_eq!(
        (came[0].headers["traceparent"].as_str(), came[0].headers["lunasec-session"].as_str()),
        (trace, "alice")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_users_at_once_each_gets_their_own() {
    let sidecar = Sidecar::start().await;
    let app = app(sidecar.client());
    let users = (0..200).map(|user| {
        let app = app.clone();
        tokio::spawn(async move {
            let (session, name) = (format!("session-{user}"), format!("user {user}"));
            let body = json!({ "name": name, "cards": [], "city": "" });
            let made = ask(&app, "/tokenize", &session, body.to_string()).await.body;
            assert_eq!(ask(&app, "/grant", &session, made.to_string()).await.status, 204);
            assert_eq!(ask(&app, "/use", &session, made.to_string()).await.status, 200);
            let shown = ask(&app, "/show", &session, json!([made]).to_string()).await;
            assert_eq!((shown.status, shown.body[0]["name"].as_str()), (200, Some(name.as_str())));
            made.to_string()
        })
    });
    let made: Vec<_> = join_all(users).await.into_iter().map(Result::unwrap).collect();
    // Nobody may use what is somebody else's.
    assert_eq!(ask(&app, "/use", "session-1", made[2].clone()).await.status, 403);
}
