//! Says that a pod was missed: one line in the log, and an event where its owner looks.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use super::Missed;

const WHO: &str = "lunasec-injector";

pub(super) async fn missed(client: &Client, missed: &Missed, instance: &str, now: Duration) {
    let Missed { namespace, name, refused, .. } = missed;
    let why =
        refused.as_deref().unwrap_or("it was made while the webhook was not asked; make it anew");
    tracing::warn!(namespace, pod = name, why, "a pod should have a sidecar and has none");
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    match events.create(&PostParams::default(), &event(missed, why, instance, now)).await {
        // A replica that led before has said so.
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => tracing::warn!(%error, namespace, pod = name, "an event cannot be written"),
        Ok(_) => {}
    }
}

fn event(missed: &Missed, why: &str, instance: &str, now: Duration) -> Event {
    let Missed { namespace, name, uid, .. } = missed;
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let now = Timestamp::from_second(seconds).ok().map(Time);
    // One name for one pod: what was said is not said again.
    let short: String = uid.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    let base: String = name.chars().take(200).collect();
    let mut message = format!("This pod asks for a LunaSec sidecar and has none: {why}");
    message.truncate(message.floor_char_boundary(1024));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{base}.lunasec-missed-{short}")),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        },
        type_: Some("Warning".to_owned()),
        reason: Some("LunaSecSidecarMissing".to_owned()),
        message: Some(message),
        source: Some(EventSource { component: Some(WHO.to_owned()), host: None }),
        reporting_component: Some(WHO.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        action: Some("Report".to_owned()),
        count: Some(1),
        first_timestamp: now.clone(),
        last_timestamp: now,
        ..Event::default()
    }
}
