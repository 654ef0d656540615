//! What somebody writes who has hyper and nothing else.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::UnixStream;

#[derive(Clone)]
pub struct Socket(PathBuf);

impl tower_service::Service<Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}

#[derive(Clone)]
pub struct Bare(Client<Socket, Full<Bytes>>);

#[derive(serde::Serialize)]
struct Asked<'a> {
    token: &'a str,
}

#[derive(serde::Deserialize)]
struct Answered {
    value: String,
}

impl Bare {
    pub fn new(socket: PathBuf) -> Self {
        Self(Client::builder(TokioExecutor::new()).build(Socket(socket)))
    }

    pub async fn detokenize(&self, token: &str) -> String {
        let body = serde_json::to_vec(&Asked { token }).unwrap();
        let request = Request::post("http://localhost/v1/detokenize")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let response = self.0.request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice::<Answered>(&body).unwrap().value
    }
}
