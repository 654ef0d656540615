//! A proxy that can lose an answer: the server has done what it was asked, and nobody learns of it. Or it
//! hides a part of what is asked, so that the server is one that does not know it. Or it lets nothing through, as
//! a network that drops packets, until it heals. Or it is slow, now more and now less; or it is gone, with every
//! connection that it had, until it is back at the same address. Or it forgets its connections, and takes new ones.

use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::Dice;

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
    /// Whether it is gone: its connections end wherever they are, and new ones are refused.
    pub gone: Arc<watch::Sender<bool>>,
    /// How often it has forgotten the connections that it had: what comes on them is lost from then on.
    pub forgets: Arc<watch::Sender<u32>>,
    /// What a piece takes at most, on its way there and back.
    pub slow: Arc<watch::Sender<Duration>>,
}

/// What a connection goes by.
#[derive(Clone)]
struct Way {
    server: String,
    hidden: Option<Hidden>,
    to_lose: Arc<AtomicUsize>,
    dropped: watch::Receiver<bool>,
    forgets: watch::Receiver<u32>,
    slow: watch::Receiver<Duration>,
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
        // An address of its own, so that nobody else gets its port while it is gone.
        let mut dice = Dice::new();
        let mut part = || u8::try_from(dice.below(250) + 1).unwrap();
        let ip = Ipv4Addr::new(127, 1, part(), part());
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, to_lose) = (endpoint.replace("http://", ""), Arc::new(AtomicUsize::new(0)));
        let (drops, dropped) = watch::channel(false);
        let (gone, is_gone) = watch::channel(false);
        let (slow, how_slow) = watch::channel(Duration::ZERO);
        let (forgets, forgotten) = watch::channel(0);
        let way = Way {
            server,
            hidden,
            to_lose: Arc::clone(&to_lose),
            dropped,
            forgets: forgotten,
            slow: how_slow,
        };
        tokio::spawn(listen(listener, address, is_gone, way));
        let endpoint = format!("http://{address}");
        let (drops, gone, slow) = (Arc::new(drops), Arc::new(gone), Arc::new(slow));
        Self { endpoint, to_lose, drops, gone, forgets: Arc::new(forgets), slow }
    }
}

async fn listen(
    mut listener: TcpListener,
    address: SocketAddr,
    mut gone: watch::Receiver<bool>,
    way: Way,
) {
    let mut seed = 0;
    loop {
        let mut connections = JoinSet::new();
        let accept = async {
            while let Ok((client, _)) = listener.accept().await {
                seed += 2;
                connections.spawn(forward(client, way.clone(), seed));
                while connections.try_join_next().is_some() {}
            }
        };
        let told = async {
            // Whoever could tell may be gone: then it stays as it is.
            if gone.wait_for(|gone| *gone).await.is_err() {
                pending::<()>().await;
            }
        };
        tokio::select! {
            () = accept => return,
            () = told => {}
        }
        drop(listener);
        connections.shutdown().await;
        if gone.wait_for(|gone| !gone).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address).await.unwrap();
    }
}

async fn forward(client: TcpStream, way: Way, seed: u64) {
    let Way { server, hidden, to_lose, dropped, forgets, slow } = way;
    let since = *forgets.borrow();
    let mut up_passage = Passage { dropped, forgets, since };
    let mut down_passage = up_passage.clone();
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up_jitter, mut down_jitter) = (Jitter::new(&slow, seed), Jitter::new(&slow, seed + 1));
    let up = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_client.read(&mut chunk).await {
            if let Some(hidden) = hidden {
                hide(&mut chunk[..read], hidden);
            }
            up_jitter.wait().await;
            up_passage.wait().await;
            if to_server.write_all(&chunk[..read]).await.is_err() {
                break;
            }
        }
    };
    let down = async move {
        let mut chunk = vec![0; CHUNK];
        while let Ok(read @ 1..) = from_server.read(&mut chunk).await {
            down_jitter.wait().await;
            down_passage.wait().await;
            let lost =
                to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if lost.is_ok() || to_client.write_all(&chunk[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Whether anything passes.
#[derive(Clone)]
struct Passage {
    dropped: watch::Receiver<bool>,
    forgets: watch::Receiver<u32>,
    /// How often connections had been forgotten as this one was made.
    since: u32,
}

impl Passage {
    /// Until something does; for ever on a connection that is forgotten.
    async fn wait(&mut self) {
        let _ = self.dropped.wait_for(|drops| !drops).await;
        if *self.forgets.borrow() != self.since {
            pending::<()>().await;
        }
    }
}

/// What the pieces of one direction are late by.
struct Jitter {
    dice: Dice,
    most: watch::Receiver<Duration>,
}

impl Jitter {
    fn new(most: &watch::Receiver<Duration>, seed: u64) -> Self {
        let dice = Dice::seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        Self { dice, most: most.clone() }
    }

    async fn wait(&mut self) {
        let most = *self.most.borrow();
        if !most.is_zero() {
            let share = u32::try_from(self.dice.below(1_000)).unwrap();
            tokio::time::sleep(most * share / 1_000).await;
        }
    }
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
