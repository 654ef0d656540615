//! What comes over HTTP/2: gRPC by its content type, and JSON otherwise. Both pass the same layers.

use std::pin::pin;

use hyper::{Request, Response, body::Incoming};
use lunasec_api::Code;
use lunasec_core::policy::Caller;

use super::{Stack, guarded, too_many_connections, unless_taken_back};
use crate::{
    grpc::{self, Method, Reply},
    http::{answer, discard},
    telemetry::Operation,
};

impl Stack {
    /// Answers one request of either kind.
    pub async fn serve_any(&self, caller: Caller, request: Request<Incoming>) -> Response<Reply> {
        if grpc::speaks(request.headers()) {
            return self.serve_grpc(caller, request).await;
        }
        self.serve(caller, request).await.map(Reply::json)
    }

    async fn serve_grpc(&self, caller: Caller, request: Request<Incoming>) -> Response<Reply> {
        let id = self.next_id();
        let (head, body) = request.into_parts();
        let method = Method::of(&head);
        let counted = self.telemetry.begin(method.operation());
        let http = self.http();
        let deadline = http.limits.request_time;
        let mut time = deadline;
        let admitted = self.admit(http.limits.requests).and_then(|at_work| {
            // The client may ask for less time than there is.
            time = grpc::timeout(&head.headers)?.unwrap_or(deadline).min(deadline);
            Ok((at_work, self.set_out(&id, caller, method.operation())?))
        });
        let result = match admitted {
            Ok((_at_work, walk)) => {
                let trail = walk.trail().clone();
                let work = self.grpc.answer(&http, method, caller, &head, body, &trail);
                let result = guarded(pin!(work), time, || self.late(time)).await;
                walk.settle(result).await
            }
            Err(failure) => {
                discard(&head.headers, body);
                Err(failure)
            }
        };
        unless_taken_back(result.is_err()).await;
        let code = result.as_ref().err().map(|failure| failure.code);
        counted.answered(code);
        let reply = result.unwrap_or_else(|failure| {
            // That a client had less patience than the sidecar is no news to the operator.
            if !(time < deadline && failure.code == Code::DeadlineExceeded) {
                self.log(&id, caller, method.operation(), &failure);
            }
            grpc::failed(&failure)
        });
        answer::identified(reply, id)
    }

    /// Answers a request on a connection beyond the limit.
    pub fn refuse(&self, request: Request<Incoming>) -> Response<Reply> {
        let failure = too_many_connections();
        self.telemetry.begin(Operation::Unknown).answered(Some(failure.code));
        let (head, body) = request.into_parts();
        discard(&head.headers, body);
        let reply = if grpc::speaks(&head.headers) {
            grpc::failed(&failure)
        } else {
            answer::problem(&failure).map(Reply::json)
        };
        answer::identified(reply, self.next_id())
    }
}
