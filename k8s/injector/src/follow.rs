//! Follows objects of the Kubernetes API by their metadata: a list, then what changes.

use std::{fmt::Debug, time::Duration};

use futures_util::TryStreamExt;
use kube::{
    Api, Resource,
    api::{ListParams, ObjectMeta, PartialObjectMeta, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::timeout};

/// Objects in one answer of a list.
const PAGE: u32 = 500;
/// The API server ends a watch after this; one that says nothing for longer hangs.
const WATCH_SECONDS: u32 = 290;
const SILENCE: Duration = Duration::from_secs(300);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What became known.
#[derive(Debug)]
pub enum Change {
    /// All that there are and that matter.
    Listed(Vec<ObjectMeta>),
    /// One that is there and matters.
    Is(ObjectMeta),
    /// One that is gone, or does not matter any more.
    Gone(ObjectMeta),
}

/// Tells of changes until nobody listens. `fields` selects, and `matters` is asked about what that leaves.
pub async fn follow<K>(
    api: Api<K>,
    fields: String,
    matters: fn(&ObjectMeta) -> bool,
    changes: mpsc::Sender<Change>,
) where
    K: Resource + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let mut pause = FIRST_PAUSE;
    while !changes.is_closed() {
        let mut listed = false;
        let error = match once(&api, &fields, matters, &changes, &mut listed).await {
            Ok(()) => continue,
            Err(error) => error,
        };
        let what = K::plural(&K::DynamicType::default()).into_owned();
        // The address is of the API server, and the rest are its words.
        tracing::warn!(%error, what, "objects cannot be followed now; trying again");
        pause = if listed { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::time::sleep(pause).await;
    }
}

/// Ends well when the list has to be made anew.
async fn once<K>(
    api: &Api<K>,
    fields: &str,
    matters: fn(&ObjectMeta) -> bool,
    changes: &mpsc::Sender<Change>,
    listed: &mut bool,
) -> Result<(), kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let (found, mut version) = list(api, fields, matters).await?;
    *listed = true;
    if changes.send(Change::Listed(found)).await.is_err() {
        return Ok(());
    }
    let params =
        WatchParams { timeout: Some(WATCH_SECONDS), ..WatchParams::default().fields(fields) };
    loop {
        let events = api.watch_metadata(&params, &version).await?;
        tokio::pin!(events);
        while let Ok(event) = timeout(SILENCE, events.try_next()).await {
            let Some(event) = event? else { break };
            let change = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object)
                    if matters(&object.metadata) =>
                {
                    Change::Is(object.metadata)
                }
                WatchEvent::Added(object)
                | WatchEvent::Modified(object)
                | WatchEvent::Deleted(object) => Change::Gone(object.metadata),
                WatchEvent::Bookmark(mark) => {
                    version = mark.metadata.resource_version;
                    continue;
                }
                // What the version refers to is forgotten.
                WatchEvent::Error(status) if status.code == 410 => return Ok(()),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            };
            if let Change::Is(metadata) | Change::Gone(metadata) = &change
                && let Some(seen) = &metadata.resource_version
            {
                version.clone_from(seen);
            }
            if changes.send(change).await.is_err() {
                return Ok(());
            }
        }
    }
}

async fn list<K>(
    api: &Api<K>,
    fields: &str,
    matters: fn(&ObjectMeta) -> bool,
) -> Result<(Vec<ObjectMeta>, String), kube::Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let mut params = ListParams::default().fields(fields).limit(PAGE);
    let mut found = Vec::new();
    loop {
        let page = api.list_metadata(&params).await?;
        let objects = page.items.into_iter().map(|it: PartialObjectMeta<K>| ObjectMeta {
            // Most of it, and nobody reads it.
            managed_fields: None,
            ..it.metadata
        });
        found.extend(objects.filter(matters));
        match page.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok((found, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}
