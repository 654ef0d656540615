//! HTTP/1.1 over the Unix socket.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use lunasec_api as api;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{net::UnixStream, sync::Mutex, time::timeout};

use crate::{ApiError, Error};

/// A little more than the sidecar gives itself.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Transport {
    socket: PathBuf,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl Transport {
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket, connection: Mutex::new(None) }
    }

    pub(crate) async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        route: &'static str,
        headers: HeaderMap,
        body: &B,
    ) -> Result<A, Error> {
        let body = serde_json::to_vec(body).map_err(|error| Error::Protocol(error.to_string()))?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(route)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json");
        // There is none only in a request that `call` refuses.
        if let Some(all) = request.headers_mut() {
            all.extend(headers);
        }
        self.call(request, body).await
    }

    pub(crate) async fn get<A: DeserializeOwned>(&self, route: &'static str) -> Result<A, Error> {
        self.call(Request::builder().uri(route).header(HOST, "localhost"), Vec::new()).await
    }

    async fn call<A: DeserializeOwned>(
        &self,
        request: hyper::http::request::Builder,
        body: Vec<u8>,
    ) -> Result<A, Error> {
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Error::Protocol(error.to_string()))?;
        timeout(PATIENCE, async {
            let response = self.send(request).await?;
            let ok = response.status().is_success();
            let body = response.into_body().collect().await.map_err(Error::Broken)?.to_bytes();
            read(ok, &body)
        })
        .await
        .unwrap_or(Err(Error::TimedOut))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        let mut connection = self.connection.lock().await;
        let mut sender = match connection.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        // The sidecar closes idle connections: that is no error, nothing was sent yet.
        if sender.ready().await.is_err() {
            sender = self.connect().await?;
        }
        let response = sender.send_request(request).await.map_err(Error::Broken)?;
        *connection = Some(sender);
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Error> {
        let unreachable = |source| Error::Unreachable { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(Error::Broken)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn read<A: DeserializeOwned>(ok: bool, body: &[u8]) -> Result<A, Error> {
    // The text of a parser's error may hold a piece of the body: it is not passed on.
    let not_understood = |what: &str| Error::Protocol(format!("{what} is not what was expected"));
    if ok {
        return serde_json::from_slice(body).map_err(|_| not_understood("the body"));
    }
    let problem: api::Problem<'static> =
        serde_json::from_slice(body).map_err(|_| not_understood("the error"))?;
    Err(ApiError::from_problem(problem).into())
}
