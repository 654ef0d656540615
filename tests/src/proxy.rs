//! A proxy that can lose an answer: the server has done what it was asked, and nobody learns of it. Or it
//! hides a part of what is asked, so that the server is one that does not know it. Or it lets nothing through, as
//! a network that drops packets, until it heals.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// A request without a body is one piece.
const CHUNK: usize = 64 * 1024;

/// What is hidden from the server: words, in requests that begin so.
#[derive(Clone, Copy)]
pub struct Hidden {
    /// Of a request's first line.
    pub requests: &'static str,
    /// Lower case. Its first letter is changed, wherever it stands.
    pub words: &'static str,
}

/// See the module.
pub struct Proxy {
    /// Where it listens.
    pub endpoint: String,
    /// So many of the next answers are lost.
    pub to_lose: Arc<AtomicUsize>,
    /// Whether nothing goes through.
    pub drops: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// Stands before a server, for as long as the runtime lives.
    pub async fn before(endpoint: &str) -> Self {
        Self::start(endpoint, None).await
    }

    /// The same, and the server never sees what is hidden.
    pub async fn hiding(endpoint: &str, hidden: Hidden) -> Self {
        Self::start(endpoint, Some(hidden)).await
    }

    async fn start(endpoint: &str, hidden: Option<Hidden>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, to_lose) = (endpoint.replace("http://", ""), Arc::new(AtomicUsize::new(0)));
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let losing = Arc::clone(&to_lose);
        let (drops, dropped) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (server, losing) = (server.clone(), Arc::clone(&losing));
                tokio::spawn(forward(client, server, hidden, losing, dropped.clone()));
            }
        });
        Self { endpoint, to_lose, drops: Arc::new(drops) }
    }
}

async fn forward(
    client: TcpStream,
    server: String,
    hidden: Option<Hidden>,
    to_lose: Arc<AtomicUsize>,
    dropped: watch::Receiver<bool>,
) {
    let (mut up_dropped, mut down_dropped) = (dropped.clone(), dropped);
    let server = TcpStream::connect(server).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_client.read(&mut chunk).await {
            if let Some(hidden) = hidden {
                hide(&mut chunk[..read], hidden);
            }
            let _ = up_dropped.wait_for(|drops| !drops).await;
            if to_server.write_all(&chunk[..read]).await.is_err() {
                break;
            }
        }
    });
    let mut chunk = vec![0; CHUNK];
    while let Ok(read) = from_server.read(&mut chunk).await {
        if read == 0 {
            break;
        }
        let _ = down_dropped.wait_for(|drops| !drops).await;
        let lost = to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if lost.is_ok() || to_client.write_all(&chunk[..read]).await.is_err() {
            break;
        }
    }
    up.abort();
}

fn hide(request: &mut [u8], hidden: Hidden) {
    if !request.starts_with(hidden.requests.as_bytes()) {
        return;
    }
    let words = hidden.words.as_bytes();
    for at in 0..request.len() {
        let here = request[at..].get(..words.len());
        if here.is_some_and(|here| here.eq_ignore_ascii_case(words)) {
            request[at] = b'x';
        }
    }
}
