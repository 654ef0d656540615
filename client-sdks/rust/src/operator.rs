//! What only whoever runs a sidecar asks of it, for tools such as its command line. No part of what applications can rely
//! on.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Client, Error, Policy, engine::Route, operation::json_of};

/// A request of a route that has no method of its own.
pub async fn post<A: DeserializeOwned, P: Policy>(
    client: &Client<P>,
    route: OperatorRoute,
    body: &(impl Serialize + ?Sized),
) -> Result<A, Error> {
    let route = Route::post(route.uri(), json_of(body)?);
    Ok(client.view.request(route).await?.body)
}

/// The status, in the words of whoever knows this version of the sidecar.
pub async fn status<A: DeserializeOwned, P: Policy>(client: &Client<P>) -> Result<A, Error> {
    Ok(client.view.request(Route::get("http://localhost/v1/status")).await?.body)
}

/// Routes of operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperatorRoute {
    /// A token whose use raises an alarm.
    CanariesCreate,
    /// One step of a sweep.
    Sweep,
}

impl OperatorRoute {
    const fn uri(self) -> &'static str {
        match self {
            Self::CanariesCreate => "http://localhost/v1/canaries/create",
            Self::Sweep => "http://localhost/v1/sweep",
        }
    }
}
