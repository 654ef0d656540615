//! What the handler gets is what was looked at, in whatever shape a body says it.
#![cfg(feature = "axum")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "in a test, a panic is the report"
)]

mod support;

use axum::{Json, Router, body::Body, http::Request, routing::post};
use http_body_util::BodyExt;
use lunasec_client::{
    StoredToken,
    axum::{LunaSec, Problem, Protected, TokenizedJson, VerifiedJson},
    tower::LunaSecLayer,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use support::{
    scripted::{Scripted, ok, problem},
    sidecar::Sidecar,
    token,
};
use tower_service::Service;

#[derive(Serialize, Deserialize)]
struct Item {
    card: String,
}

#[derive(Serialize, Deserialize)]
struct Cart {
    items: Vec<Item>,
    note: Option<String>,
}

impl Protected for Cart {
    const FIELDS: &'static [&'static str] = &["items[].card"];
}

#[derive(Serialize, Deserialize)]
struct Address {
    street: String,
}

#[derive(Serialize, Deserialize)]
struct Home {
    address: Address,
}

impl Protected for Home {
    const FIELDS: &'static [&'static str] = &["address.street"];
}

#[derive(Serialize, Deserialize)]
struct Perhaps {
    #[serde(alias = "home")]
    address: Option<Address>,
}

impl Protected for Perhaps {
    const FIELDS: &'static [&'static str] = &["address.street?"];
}

/// Where each alias is listed.
#[derive(Serialize, Deserialize)]
struct Listed {
    #[serde(alias = "remark")]
    note: Option<String>,
}

impl Protected for Listed {
    const FIELDS: &'static [&'static str] = &["note?", "remark?"];
}

/// Where they are not, flattened, and in a type that takes nothing but tokens.
#[derive(Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Serialize, Deserialize)]
struct Rest {
    #[serde(alias = "remark")]
    note: Option<StoredToken>,
    by: Option<Box<Rest>>,
}

impl Protected for Flat {
    const FIELDS: &'static [&'static str] = &["note?"];
}

#[derive(Serialize, Deserialize)]
enum Payment {
    Card { number: String },
    Cash,
}

impl Protected for Payment {
    const FIELDS: &'static [&'static str] = &["Card.number?"];
}

/// With anything in it.
#[derive(Serialize, Deserialize)]
struct Free {
    card: String,
    more: Value,
}

impl Protected for Free {
    const FIELDS: &'static [&'static str] = &["card"];
}

async fn tokenized<T: DeserializeOwned + Protected + Serialize + Send + 'static>(
    made: TokenizedJson<T>,
) -> Json<Value> {
    Json(json!(made.body))
}

async fn verified<T: DeserializeOwned + Protected + Serialize + Send + 'static>(
    VerifiedJson(body): VerifiedJson<T>,
) -> Json<Value> {
    Json(json!(body))
}

async fn grant(lunasec: LunaSec, Json(token): Json<StoredToken>) -> Result<(), Problem> {
    lunasec.session()?.grant(&[token]).await?.remove(0)?;
    Ok(())
}

fn both<T>(router: Router, name: &str) -> Router
where
    T: DeserializeOwned + Protected + Serialize + Send + 'static,
{
    router
        .route(&format!("/tokenized/{name}"), post(tokenized::<T>))
        .route(&format!("/verified/{name}"), post(verified::<T>))
}

fn app(client: lunasec_client::Client) -> Router {
    let app = Router::new().route("/grant", post(grant));
    let app = both::<Perhaps>(both::<Home>(both::<Cart>(app, "cart"), "home"), "perhaps");
    let app = both::<Payment>(both::<Flat>(both::<Listed>(app, "listed"), "flat"), "payment");
    let app = both::<Free>(app, "free");
    let app = both::<Vec<Option<Listed>>>(both::<Vec<Cart>>(app, "carts"), "many");
    app.layer(LunaSecLayer::new(client).session(|_| Some("alice".into())))
}

async fn ask(app: &Router, path: &str, body: &Value) -> (u16, Value) {
    ask_text(app, path, body.to_string()).await
}

async fn ask_text(app: &Router, path: &str, body: String) -> (u16, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body)).unwrap();
    let response = app.clone().call(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// Says yes to all.
fn credulous() -> Scripted {
    Scripted::new(|came, _| {
        if came.path == "/v1/grants/verify" {
            let items = came.tokens().into_iter().map(
                |token| json!({ "token": token, "valid": true, "expires_at": "2100-01-01T00:00:00Z" }),
            );
            return ok(json!({ "items": items.collect::<Vec<_>>() }));
        }
        problem(500, "internal", false)
    })
}

#[tokio::test]
async fn a_body_of_another_shape_than_its_type_is_refused() {
    let server = credulous();
    let app = app(server.client());
    let bodies = |good: &str, smuggled: &str| {
        let (good, other) = (good.to_owned(), smuggled.to_owned());
        let home = json!([{ "address": { "street": good }, "street": other }]);
        [
            (
                "cart",
                json!([[{ "items": [{ "card": good }], "card": other }], null]),
                json!("items[].card"),
            ),
            ("home", home.clone(), json!("address.street")),
            ("home", json!({ "address": [other] }), json!("address.street")),
            ("perhaps", home, json!("address.street")),
            ("perhaps", json!([{ "street": other }]), json!("address.street")),
            ("perhaps", json!({ "address": [other] }), json!("address.street")),
            ("payment", json!({ "Card": [other] }), json!("Card.number")),
            (
                "carts",
                json!([[[{ "items": [{ "card": good }], "card": other }], null]]),
                json!("items[].card"),
            ),
            ("carts", json!({ "items": [{ "card": good }] }), json!("items[].card")),
            ("many", json!([[other]]), json!("note")),
        ]
    };
    for (kind, good, smuggled) in
        [("tokenized", "4111".to_owned(), "5500".to_owned()), ("verified", token(1), token(2))]
    {
        for (name, body, field) in bodies(&good, &smuggled) {
            let (status, said) = ask(&app, &format!("/{kind}/{name}"), &body).await;
            assert_eq!((status, &said["field"]), (400, &field), "{kind}/{name}: {body}: {said}");
            let said = said.to_string();
            assert!(!said.contains(&smuggled) && !said.contains(&good), "{said}");
        }
    }
    assert!(server.came().is_empty(), "none of it was sent");
}

#[tokio::test]
async fn a_token_gets_into_no_field_that_was_not_looked_at() {
    let server = credulous();
    let app = app(server.client());
    let (good, other) = (token(1), token(2));
    let cart = |more: Value| json!({ "items": [{ "card": good }], "note": more });
    for (path, body) in [
        ("verified/flat", json!({ "remark": other })),
        ("verified/flat", json!({ "note": good, "by": [other, null] })),
        ("verified/flat", json!({ "note": good, "by": { "remark": other } })),
        ("verified/perhaps", json!({ "home": { "street": other } })),
        ("verified/perhaps", json!({ "home": [other] })),
        ("verified/cart", cart(json!(other))),
        ("verified/cart", cart(json!(other.to_uppercase()))),
        ("verified/cart", json!({ "items": [{ "card": good }], &other: 1 })),
        ("tokenized/flat", json!({ "remark": other })),
        ("tokenized/perhaps", json!({ "home": { "street": other } })),
        ("tokenized/cart", json!({ "items": [{ "card": "4111" }], "note": other })),
    ] {
        let (status, said) = ask(&app, &format!("/{path}"), &body).await;
        assert_eq!((status, &said["code"]), (400, &json!("invalid_request")), "{path}: {body}");
        assert!(!said.to_string().contains(&other[8..]), "{said}");
    }
    assert!(server.came().is_empty(), "none of it was sent");
    // Nor a value where a token belongs.
    assert_eq!(ask(&app, "/tokenized/flat", &json!({ "remark": "4111" })).await.0, 400);
    // A token that was looked at may be said again.
    assert_eq!(ask(&app, "/verified/cart", &cart(json!(good))).await.0, 200);
}

/// As deep as each text may be, fifty times.
fn texts_in_texts() -> String {
    let (open, close) = ("[".repeat(100), "]".repeat(100));
    (0..50).fold("1".to_owned(), |inner, _| {
        let inner = inner.replace('\\', "\\u005c").replace('"', "\\u0022");
        format!("{open}{{\"$serde_json::private::RawValue\":\"{inner}\"}}{close}")
    })
}

#[tokio::test]
async fn what_serde_json_keeps_for_itself_is_no_body() {
    let server = credulous();
    let app = app(server.client());
    for (kind, good) in [("tokenized", "4111".to_owned()), ("verified", token(1))] {
        let private =
            |text: &str| format!("{{\"$serde_json::private::RawValue\":{}}}", json!(text));
        for body in [
            texts_in_texts(),
            format!("{{\"items\":[{{\"card\":\"{good}\"}}],\"note\":{}}}", texts_in_texts()),
            private(&format!("{{\"items\":[{{\"card\":\"{good}\"}}]}}")),
            format!("{{\"items\":[{{\"card\":{}}}]}}", private(&json!(good).to_string())),
            format!("{{\"items\":[{{\"card\":\"{good}\"}}],\"note\":{}}}", private("no json")),
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            let (status, said) = ask_text(&app, &format!("/{kind}/cart"), body).await;
            assert_eq!((status, &said["code"]), (400, &json!("invalid_request")), "{said}");
        }
        for more in [texts_in_texts(), private("{}")] {
            let body = format!("{{\"card\":\"{good}\",\"more\":{more}}}");
            let (status, said) = ask_text(&app, &format!("/{kind}/free"), body).await;
            assert_eq!((status, &said["code"]), (400, &json!("invalid_request")), "{said}");
        }
    }
    assert!(server.came().is_empty(), "none of it was sent");
}

#[tokio::test]
async fn bodies_of_the_right_shape_are_taken() {
    let sidecar = Sidecar::start().await;
    let app = app(sidecar.client());
    for (name, body) in [
        ("cart", json!({ "items": [{ "card": "4111" }], "note": "by the door" })),
        ("cart", json!({ "items": [], "note": null })),
        ("home", json!({ "address": { "street": "4111" } })),
        ("perhaps", json!({ "address": { "street": "4111" } })),
        ("perhaps", json!({ "address": null })),
        ("listed", json!({ "remark": "4111" })),
        ("flat", json!({ "note": "4111", "by": null })),
        ("payment", json!({ "Card": { "number": "4111" } })),
        ("carts", json!([{ "items": [{ "card": "4111" }], "note": null }])),
        ("many", json!([null, { "note": "4111" }])),
    ] {
        let (status, made) = ask(&app, &format!("/tokenized/{name}"), &body).await;
        let text = made.to_string();
        assert_eq!(status, 200, "{name}: {text}");
        assert!(!text.contains("4111"), "{name}: {text}");
        let path = format!("/verified/{name}");
        let Some(at) = text.find("lunasec-") else {
            assert_eq!(ask(&app, &path, &made).await.0, 200);
            continue;
        };
        assert_eq!(ask(&app, &path, &made).await.0, 403, "{name}");
        assert_eq!(ask(&app, "/grant", &json!(text[at..at + 44])).await.0, 200);
        assert_eq!(ask(&app, &path, &made).await, (200, made), "{name}");
    }
    // Nor is one field taken under two names.
    let twice = json!({ "note": "4111", "remark": "5500" });
    assert_eq!(ask(&app, "/tokenized/listed", &twice).await.0, 400);
    // A variant without fields is text, which is of another shape.
    assert_eq!(ask(&app, "/tokenized/payment", &json!("Cash")).await.0, 400);
}
