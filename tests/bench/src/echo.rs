//! The floor: hyper and a Unix socket, and nothing else.

use std::{convert::Infallible, path::Path};

use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::UnixListener;

pub(crate) fn serve(socket: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let http = http1::Builder::new()
                .auto_date_header(false)
                .pipeline_flush(true)
                .serve_connection(TokioIo::new(stream), service_fn(echo));
            tokio::spawn(http);
        }
    })
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::new(Full::new(body)))
}
