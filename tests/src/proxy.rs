//! A proxy that can lose an answer: the server has done what it was asked, and nobody learns of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// See the module.
pub struct Proxy {
    /// Where it listens.
    pub endpoint: String,
    /// So many of the next answers are lost.
    pub to_lose: Arc<AtomicUsize>,
}

impl Proxy {
    /// Stands before a server, for as long as the runtime lives.
    pub async fn before(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, to_lose) = (endpoint.replace("http://", ""), Arc::new(AtomicUsize::new(0)));
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let losing = Arc::clone(&to_lose);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), Arc::clone(&losing)));
            }
        });
        Self { endpoint, to_lose }
    }
}

async fn forward(client: TcpStream, server: String, to_lose: Arc<AtomicUsize>) {
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(read) = from_server.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        let lost = to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lost.is_ok() || to_client.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    up.abort();
}
