//! A customer service. Its database holds tokens where names and card numbers would be; a page with them is one call of the
//! sidecar's socket, and loads, masked, while nobody can answer.

mod database;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
pub use database::Database;
use lunasec_client::{
    Action, Client, GrantOptions, StoredToken,
    axum::{LunaSec, Problem, Protected, RevealedJson, TokenizedJson},
    tower::LunaSecLayer,
};
use serde::{Deserialize, Serialize};

/// A customer as it is stored: a value cannot get into the fields that are tokens.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Customer {
    #[serde(default)]
    pub id: i64,
    pub name: StoredToken,
    pub card: StoredToken,
    pub city: String,
}

impl Protected for Customer {
    const FIELDS: &'static [&'static str] = &["name", "card"];
}

/// The application. The session of a request is what its cookie names; a real one looks it up in its store of sessions.
pub fn app(client: Client, database: Database) -> Router {
    let sessions = LunaSecLayer::new(client).session(|request| {
        let cookies = request.headers.get("cookie")?.to_str().ok()?;
        let id = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
        Some(id.to_owned().into())
    });
    Router::new()
        .route("/customers", post(create).get(all))
        .route("/customers/{id}", get(one).delete(remove))
        .route("/log-out", post(log_out))
        .layer(sessions)
        .with_state(database)
}

/// What goes wrong in a handler.
enum Trouble {
    LunaSec(Problem),
    Database(rusqlite::Error),
    Missing,
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self::LunaSec(problem)
    }
}

impl From<lunasec_client::Error> for Trouble {
    fn from(error: lunasec_client::Error) -> Self {
        Self::LunaSec(error.into())
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::LunaSec(problem) => {
                eprintln!("lunasec: {}", problem.error()); // holds no token and no value
                problem.into_response()
            }
            Self::Database(error) => {
                eprintln!("database: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
            Self::Missing => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

/// Stores a customer, whom this session may see, and delete, from here on.
async fn create(
    lunasec: LunaSec,
    State(database): State<Database>,
    TokenizedJson { body: mut customer, .. }: TokenizedJson<Customer>,
) -> Result<(StatusCode, Json<i64>), Trouble> {
    let rights = GrantOptions::default().actions([Action::Detokenize, Action::Delete]);
    lunasec.grant_with(&customer, &rights).await?;
    customer.id = database.insert(&customer)?;
    Ok((StatusCode::CREATED, Json(customer.id)))
}

/// The page with all of them loads, whatever is away.
async fn all(lunasec: LunaSec, State(database): State<Database>) -> Result<RevealedJson, Trouble> {
    let customers = database.all()?;
    lunasec.grant(&customers).await.or_else(|problem| match problem.is_unavailable() {
        true => Ok(()), // the page is masked then
        false => Err(problem),
    })?;
    Ok(lunasec.reveal_or_mask(&customers).await?)
}

/// One of them, for whom an answer without the values would be none. It is shown to whoever may already see it.
async fn one(
    lunasec: LunaSec,
    State(database): State<Database>,
    Path(id): Path<i64>,
) -> Result<RevealedJson, Trouble> {
    let customer = database.one(id)?.ok_or(Trouble::Missing)?;
    Ok(lunasec.reveal(&customer).await?)
}

/// Away with the values first: a row that is left is a row without any.
async fn remove(
    lunasec: LunaSec,
    State(database): State<Database>,
    Path(id): Path<i64>,
) -> Result<StatusCode, Trouble> {
    let customer = database.one(id)?.ok_or(Trouble::Missing)?;
    lunasec.verify(&customer).await?;
    for deleted in lunasec.delete(&[&customer.name, &customer.card]).await? {
        deleted?;
    }
    database.remove(id)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn log_out(lunasec: LunaSec) -> Result<StatusCode, Trouble> {
    lunasec.session()?.revoke_all().await?;
    Ok(StatusCode::NO_CONTENT)
}
