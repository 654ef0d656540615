//! The fake in the place of a client's network: no sockets, and all time is the runtime's, which a test may pause.

use std::{
    fmt,
    future::pending,
    io,
    sync::{Arc, Mutex},
};

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use hyper::Response;

use super::{Fake, Reply};

#[derive(Clone)]
struct Wire(Arc<Mutex<Fake>>);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// A client all of whose requests the fake answers.
pub fn wire(fake: Arc<Mutex<Fake>>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Wire(fake));
    http_client_fn(move |_, _| connector.clone())
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = request.try_into_http1x().unwrap();
        let request = request.map(|body| Bytes::copy_from_slice(body.bytes().unwrap()));
        let reply = self.0.lock().unwrap().answer(&request);
        HttpConnectorFuture::new(async move {
            match reply {
                Reply::Answer(answer) => Ok(whole(answer)),
                Reply::Later(time, answer) => {
                    tokio::time::sleep(time).await;
                    Ok(whole(answer))
                }
                Reply::Nothing => pending().await,
                // There is no half of a body in memory: what is left of it is that the connection ended.
                Reply::Torn(_) | Reply::Reset => Err(ConnectorError::io(reset().into())),
            }
        })
    }
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

fn whole(answer: Response<Bytes>) -> HttpResponse {
    HttpResponse::try_from(answer.map(SdkBody::from)).unwrap()
}
