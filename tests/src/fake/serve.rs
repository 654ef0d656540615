//! The fake behind a socket, spoken to in HTTP/1.1.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Fake, Reply};

type Body = BoxBody<Bytes, io::Error>;

/// A new socket of this machine, and where that is.
pub async fn endpoint() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

/// Answers there for as long as the runtime lives; where that is.
pub async fn serve(fake: Arc<Mutex<Fake>>) -> String {
    let (listener, endpoint) = endpoint().await;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let fake = Arc::clone(&fake);
            let service = service_fn(move |request| answer(Arc::clone(&fake), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(client), service);
            // A connection that ends in the middle is what some tests ask for.
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    endpoint
}

async fn answer(
    fake: Arc<Mutex<Fake>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let reply = fake.lock().unwrap().answer(&Request::from_parts(head, body));
    match reply {
        Reply::Answer(answer) => Ok(whole(answer)),
        Reply::Later(time, answer) => {
            tokio::time::sleep(time).await;
            Ok(whole(answer))
        }
        Reply::Torn(answer) => Ok(torn(answer)),
        Reply::Nothing => pending().await,
        Reply::Reset => Err(io::ErrorKind::ConnectionReset.into()),
    }
}

fn whole(answer: Response<Bytes>) -> Response<Body> {
    answer.map(|body| http_body_util::Full::new(body).map_err(|never| match never {}).boxed())
}

/// The first half, of as much as the head promises.
fn torn(answer: Response<Bytes>) -> Response<Body> {
    let length = answer.body().len();
    let mut torn = answer.map(|body| {
        let half = body.slice(..body.len() / 2);
        let frames = [Ok(Frame::data(half)), Err(io::ErrorKind::ConnectionReset.into())];
        StreamBody::new(stream::iter(frames)).boxed()
    });
    torn.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    torn
}
