use std::path::Path;

use lunasec_client::Client;
use lunasec_customers::{Database, app};
use tokio::net::TcpListener;

/// `LUNASEC_SOCKET=.lunasec/lunasec.sock cargo run`, beside `lunasec dev`.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::builder().purpose("customer service").build()?;
    let path = std::env::var("DATABASE").unwrap_or_else(|_| "customers.db".into());
    let address = std::env::var("ADDRESS").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app(client, Database::open(Path::new(&path))?)).await?;
    Ok(())
}
