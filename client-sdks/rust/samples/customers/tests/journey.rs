//! The whole application before a real sidecar, whose policy reveals to sessions with a grant only.

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use http_body_util::BodyExt;
use lunasec_client::Client;
use lunasec_customers::{Database, app};
use serde_json::{Value as Json, json};
use tower::ServiceExt;

#[allow(dead_code, reason = "shared with the tests of the client")]
#[path = "../../../tests/support/sidecar.rs"]
mod sidecar;
use sidecar::Sidecar;

/// The user who runs the tests is the application's.
fn policy() -> String {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    format!(
        "[[clients]]\nname = \"customers\"\nuid = {uid}\nnamespaces = [\"default\"]\noperations = [\"tokenize\", \"detokenize\", \"grants\", \"delete\"]\nrequire_grant = true\nrequire_purpose = true\n"
    )
}

struct World {
    sidecar: Sidecar,
    app: Router,
}

impl World {
    async fn new() -> Self {
        let sidecar = Sidecar::serve(&policy()).await;
        let client = Client::builder()
            .socket(sidecar.socket())
            .purpose("customer service")
            .restart_grace(std::time::Duration::from_millis(100))
            .build()
            .unwrap();
        let database = Database::open(&sidecar.directory().join("customers.db")).unwrap();
        Self { app: app(client, database), sidecar }
    }

    async fn ask(
        &self,
        session: &str,
        method: &str,
        path: &str,
        body: Option<Json>,
    ) -> (StatusCode, Json, header::HeaderMap) {
        let mut request = Request::builder().method(method).uri(path);
        if !session.is_empty() {
            request = request.header("cookie", format!("theme=dark; session={session}"));
        }
        let body = match body {
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        let response = self.app.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (head.status, serde_json::from_slice(&bytes).unwrap_or(Json::Null), head.headers)
    }
}

fn ada() -> Json {
    json!({ "name": "Ada Lovelace", "card": "4111 1111 1111 1111", "city": "London" })
}

#[tokio::test]
async fn a_customer_comes_is_seen_and_goes_and_the_database_never_knows() {
    let world = World::new().await;
    let (status, id, _) = world.ask("clerk-1", "POST", "/customers", Some(ada())).await;
    assert_eq!((status, &id), (StatusCode::CREATED, &json!(1)));
    let (status, body, headers) = world.ask("clerk-1", "GET", "/customers/1", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body["name"], &body["card"], &body["city"]),
        (&json!("Ada Lovelace"), &json!("4111 1111 1111 1111"), &json!("London"))
    );
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");
    // Another session was granted nothing; the page of all grants what it shows.
    let (status, body, _) = world.ask("clerk-2", "GET", "/customers/1", None).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("grant_denied")));
    let (status, _, _) = world.ask("clerk-2", "DELETE", "/customers/1", None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, body, _) = world.ask("clerk-2", "GET", "/customers", None).await;
    assert_eq!((status, &body[0]["name"]), (StatusCode::OK, &json!("Ada Lovelace")));
    let (status, _, _) = world.ask("clerk-2", "POST", "/log-out", None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(world.ask("clerk-2", "GET", "/customers/1", None).await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.ask("", "POST", "/log-out", None).await.0, StatusCode::UNAUTHORIZED);
    let stored = std::fs::read(world.sidecar.directory().join("customers.db")).unwrap();
    let stored = String::from_utf8_lossy(&stored);
    assert!(stored.contains("lunasec-") && stored.contains("London"));
    assert!(!stored.contains("Lovelace") && !stored.contains("4111"));
    assert_eq!(
        world.ask("clerk-1", "DELETE", "/customers/1", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(world.ask("clerk-1", "GET", "/customers/1", None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn while_the_sidecar_is_away_pages_load_masked_and_nothing_is_lost() {
    let mut world = World::new().await;
    assert_eq!(world.ask("clerk", "POST", "/customers", Some(ada())).await.0, StatusCode::CREATED);
    world.sidecar.kill().await;
    let (status, body, headers) = world.ask("clerk", "GET", "/customers", None).await;
    assert_eq!(
        (status, &body[0]["name"], &body[0]["city"]),
        (StatusCode::OK, &json!("••••"), &json!("London"))
    );
    assert_eq!(headers["lunasec-degraded"], "sidecar_unreachable");
    // What is shown instead of a value is not taken for one when it comes back.
    let (status, body, headers) = world.ask("clerk", "GET", "/customers/1", None).await;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("sidecar_unreachable"))
    );
    assert_eq!(headers[header::RETRY_AFTER], "1");
    let (status, _, _) = world.ask("clerk", "POST", "/customers", Some(ada())).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    world.sidecar.again().await;
    let mut masked = ada();
    masked["name"] = json!("••••");
    let (status, body, _) = world.ask("clerk", "POST", "/customers", Some(masked)).await;
    assert_eq!((status, &body["field"]), (StatusCode::BAD_REQUEST, &json!("name")));
    let (status, body, headers) = world.ask("clerk", "GET", "/customers", None).await;
    assert_eq!((status, &body[0]["name"]), (StatusCode::OK, &json!("Ada Lovelace")));
    assert!(!headers.contains_key("lunasec-degraded") && body.as_array().unwrap().len() == 1);
}

/// The program itself, as somebody starts it.
#[tokio::test]
async fn the_program_listens_and_serves() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    let sidecar = Sidecar::serve(&policy()).await;
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_lunasec-customers"))
        .env("LUNASEC_SOCKET", sidecar.socket())
        .env("DATABASE", sidecar.directory().join("customers.db"))
        .env("ADDRESS", "127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let address = line.strip_prefix("listening on http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = ada().to_string();
    let request = format!(
        "POST /customers HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: session=clerk\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
}
