//! Calls whose answers may stay open: health and reflection. How many are open at once is bounded,
//! and so is the time in which reflection takes questions.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    http::request::Parts,
};
use lunasec_api::{Code, grpc::DESCRIPTORS};
use lunasec_core::limits;
use tokio::sync::Semaphore;
use tonic::codegen::Service;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::{
    Builder,
    v1::{ServerReflection, ServerReflectionServer},
    v1alpha::{
        ServerReflection as ServerReflectionAlpha,
        ServerReflectionServer as ServerReflectionAlphaServer,
    },
};

use super::{Method, Reply, Result, health::Health};
use crate::{failure::Failure, http::Http};

/// See the module.
pub(super) struct Open {
    calls: Arc<Semaphore>,
}

impl Default for Open {
    fn default() -> Self {
        Self { calls: Arc::new(Semaphore::new(limits::OPEN_CALLS)) }
    }
}

impl Open {
    pub(super) async fn answer(
        &self,
        http: &Http,
        method: Method,
        head: &Parts,
        body: Incoming,
    ) -> Result<Response<Reply>> {
        let permit = Arc::clone(&self.calls).try_acquire_owned().map_err(|_| {
            Failure::new(
                Code::Overloaded,
                "too many calls of health and reflection are open; end some, or try again later",
            )
        })?;
        let request = Request::from_parts(head.clone(), until(http, body));
        let response = match method {
            Method::Health => {
                let health = HealthServer::new(Health(Arc::clone(&http.report)));
                call(health.max_decoding_message_size(limits::SMALL_MESSAGE_BYTES), request).await
            }
            Method::Reflection => call(reflection()?, request).await,
            _ => call(reflection_alpha()?, request).await,
        };
        Ok(response.map(|body| Reply::open(body, permit)))
    }
}

/// What the client sends ends with its time, or with the sidecar's stop.
fn until(http: &Http, body: Incoming) -> Until {
    let (draining, time) = (http.report.draining(), http.limits.request_time);
    let end = Box::pin(async move {
        let _ = tokio::time::timeout(time, draining).await;
    });
    Until { body, end: Some(end) }
}

async fn call<S>(mut service: S, request: Request<Until>) -> Response<tonic::body::Body>
where
    S: Service<Request<Until>, Response = Response<tonic::body::Body>, Error = Infallible>,
{
    // These are always ready.
    service.call(request).await.unwrap_or_else(|never| match never {})
}

// Built for each call: most sidecars are never asked, and should not hold what it takes.

fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>> {
    let service = descriptors().build_v1().map_err(Failure::internal)?;
    Ok(service.max_decoding_message_size(limits::SMALL_MESSAGE_BYTES))
}

fn reflection_alpha() -> Result<ServerReflectionAlphaServer<impl ServerReflectionAlpha>> {
    let service = descriptors().build_v1alpha().map_err(Failure::internal)?;
    Ok(service.max_decoding_message_size(limits::SMALL_MESSAGE_BYTES))
}

fn descriptors() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// A body that ends early.
struct Until {
    body: Incoming,
    /// None once it has come.
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Body for Until {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        let ended = self.end.as_mut().is_none_or(|end| end.as_mut().poll(cx).is_ready());
        if ended {
            self.end = None;
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}
