//! grpc.health.v1: serving, until the sidecar stops. A dependency that is down changes nothing, as
//! with `/ready`.

use std::{pin::Pin, sync::Arc};

use futures_util::{Stream, StreamExt, stream};
use lunasec_api::grpc::SERVICE;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use crate::report::Report;

/// See the module.
pub(super) struct Health(pub(super) Arc<Report>);

impl Health {
    fn now(&self) -> ServingStatus {
        if self.0.ready() { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

fn known(service: &str) -> bool {
    matches!(service, "" | SERVICE)
}

fn says(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[async_trait]
impl health_server::Health for Health {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if known(&request.get_ref().service) {
            return Ok(Response::new(says(self.now())));
        }
        Err(Status::not_found(
            "there is no such service; ask for none, or for lunasec.v1.Tokenizer",
        ))
    }

    /// The stream ends with the sidecar's stop, which it would hold up otherwise.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (first, last) = if known(&request.get_ref().service) {
            (self.now(), ServingStatus::NotServing)
        } else {
            (ServingStatus::ServiceUnknown, ServingStatus::ServiceUnknown)
        };
        let draining = self.0.draining();
        let end = stream::once(async move {
            draining.await;
            stream::iter([Ok(says(last)), Err(Status::unavailable("the sidecar is stopping"))])
        });
        let changes = stream::iter([Ok(says(first))]).chain(end.flatten());
        Ok(Response::new(Box::pin(changes)))
    }
}
