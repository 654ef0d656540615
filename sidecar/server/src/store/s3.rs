//! The store that sidecars share: a bucket of S3, or of what speaks its protocol.
//!
//! | step | request |
//! | --- | --- |
//! | `put_new` | PutObject, `If-None-Match: *` |
//! | `put_if` | PutObject, `If-Match` |
//! | `get` | GetObject |
//! | `list` | ListObjectsV2 |
//! | `heads` | ListObjectsV2, and a GetObject of the first bytes for each object |
//! | `remove_if` | DeleteObject, `If-Match`; see [`S3Store::remove_compared`] for servers without it |
//!
//! A version is the ETag. Two writes of the very same bytes have the same one, and nothing sealed is
//! ever the same bytes twice. Requests carry a CRC32, and answers are checked against theirs.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    operation::{
        get_object::builders::GetObjectFluentBuilder, put_object::builders::PutObjectFluentBuilder,
    },
    types::ChecksumAlgorithm,
};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use lunasec_core::limits;
use tokio::sync::OnceCell;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::{
    aws::{Aws, ClockSkew, Kind, Trouble, attempt_in_turn},
    config::S3Place,
    gate::Gate,
    keyed::KeyedLocks,
};

/// See the module.
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    /// A batch of a thousand must not open a thousand connections.
    gate: Arc<Gate>,
    /// Whether DeleteObject takes `If-Match`: asked once, before the first removal.
    conditional_deletes: OnceCell<bool>,
    removals: KeyedLocks<Name>,
}

/// One object of a page.
struct Listed {
    name: Name,
    size: i64,
    version: Version,
}

impl S3Store {
    /// Sends nothing yet.
    pub fn new(aws: &Aws, place: &S3Place) -> Self {
        Self {
            client: aws.s3(place),
            bucket: place.bucket.clone(),
            prefix: place.prefix.clone(),
            gate: Arc::new(Gate::new(limits::STORAGE_REQUESTS, limits::STORAGE_WAITING)),
            conditional_deletes: OnceCell::new(),
            removals: KeyedLocks::default(),
        }
    }

    /// The same, which takes the time of each answer.
    pub fn watching(self, skew: ClockSkew) -> Self {
        let config = self.client.config().to_builder().interceptor(skew);
        Self { client: Client::from_conf(config.build()), ..self }
    }

    /// What bounds the requests that are under way at once.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    fn key(&self, name: &Name) -> String {
        format!("{}{}", self.prefix, name.as_str())
    }

    async fn attempt<T>(
        &self,
        action: &str,
        request: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        attempt_in_turn(&self.gate, action, limits::STORAGE_ATTEMPT_TIME, request).await
    }

    async fn put(
        &self,
        name: &Name,
        bytes: Bytes,
        condition: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Version, StoreError> {
        const ACTION: &str = "writing an object to S3";
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .content_type("application/octet-stream")
            .body(bytes.into());
        let request = condition(request);
        let written = self.attempt(ACTION, async {
            request.send().await.map_err(|error| Trouble::of(ACTION, &error))
        });
        match written.await {
            Ok(output) => version(ACTION, output.e_tag()),
            // `If-Match` on what is not there.
            Err(trouble) if trouble.kind == Kind::Absent => Err(StoreError::Precondition),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Reads an object, or the part of it that `part` asks for.
    async fn read(
        &self,
        name: &Name,
        part: impl FnOnce(GetObjectFluentBuilder) -> GetObjectFluentBuilder,
    ) -> Result<Option<Object>, StoreError> {
        const ACTION: &str = "reading an object from S3";
        let request = part(self.client.get_object().bucket(&self.bucket).key(self.key(name)));
        let read = self.attempt(ACTION, async {
            let output = request.send().await.map_err(|error| Trouble::of(ACTION, &error))?;
            let e_tag = output.e_tag().map(ToOwned::to_owned);
            // A checksum that does not fit ends here too.
            let body = output.body.collect().await;
            let body = body.map_err(|error| Trouble::unanswered(ACTION, &error))?;
            Ok((e_tag, body.into_bytes()))
        });
        match read.await {
            Ok((e_tag, bytes)) => Ok(Some(Object::new(bytes, version(ACTION, e_tag.as_deref())?))),
            Err(trouble) if trouble.kind == Kind::Absent => Ok(None),
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// One listing: at most `limit` names, and whether more follow.
    async fn page(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<(Vec<Listed>, bool), StoreError> {
        const ACTION: &str = "listing objects of S3";
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.prefix))
            .set_start_after(after.map(|name| self.key(name)))
            .max_keys(i32::try_from(limit.min(limits::PAGE)).unwrap_or(i32::MAX));
        let output = self
            .attempt(ACTION, async {
                request.send().await.map_err(|error| Trouble::of(ACTION, &error))
            })
            .await?;
        let mut page = Vec::with_capacity(output.contents().len());
        for object in output.contents() {
            let key = object.key().unwrap_or_default();
            let Some(name) = key.strip_prefix(&self.prefix) else { continue };
            page.push(Listed {
                name: Name::from_text(name),
                size: object.size().unwrap_or_default(),
                version: version(ACTION, object.e_tag())?,
            });
        }
        if !goes_on(after, &page) {
            return Err(StoreError::Refused(format!(
                "{ACTION}: the server does not list names in order behind StartAfter, as S3 does; use one that does"
            )));
        }
        Ok((page, output.is_truncated() == Some(true)))
    }

    /// Listings until there are `limit` names or no more; and how many listings.
    async fn pages(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<(Vec<Listed>, u64), StoreError> {
        let (mut all, mut requests): (Vec<Listed>, _) = (Vec::new(), 0);
        loop {
            let after = all.last().map(|listed| &listed.name).or(after);
            let (page, more) = self.page(prefix, after, limit - all.len()).await?;
            requests += 1;
            let empty = page.is_empty();
            all.extend(page);
            if !more || empty || all.len() >= limit {
                return Ok((all, requests));
            }
        }
    }

    /// The first `length` bytes of a listed object; none if it is gone by now.
    async fn head(
        &self,
        listed: Listed,
        length: usize,
    ) -> Result<Option<(Name, Object)>, StoreError> {
        // There is no first byte of nothing.
        let object = if listed.size == 0 {
            Some(Object::new(Bytes::new(), listed.version))
        } else {
            let range = format!("bytes=0-{}", length.saturating_sub(1));
            self.read(&listed.name, |request| request.range(range)).await?
        };
        Ok(object.map(|object| (listed.name, object)))
    }

    async fn delete(&self, name: &Name, e_tag: Option<&str>) -> Result<(), Trouble> {
        const ACTION: &str = "removing an object from S3";
        let request = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.key(name))
            .set_if_match(e_tag.map(ToOwned::to_owned));
        self.attempt(ACTION, async {
            request.send().await.map_err(|error| Trouble::of(ACTION, &error))
        })
        .await
        .map(|_| ())
    }

    /// Whether the server compares before it deletes. What refuses to delete an object unless it has a
    /// version that it does not have does; what deletes it all the same, or does not know the condition,
    /// does not. Of an object that is not there, servers may say either.
    async fn deletes_conditionally(&self) -> Result<bool, StoreError> {
        let ask = || async {
            let probe = Name::from_text("check/conditional-delete");
            match self.put_new(&probe, Bytes::from_static(b"to be deleted")).await {
                // Perhaps another sidecar asks at this moment, or did not come to its end.
                Ok(_) | Err(StoreError::Precondition) => {}
                Err(error) => return Err(error),
            }
            let compares =
                match self.delete(&probe, Some("\"00000000000000000000000000000000\"")).await {
                    Ok(()) => false,
                    Err(trouble) => match trouble.kind {
                        Kind::Precondition | Kind::Absent => true,
                        Kind::Unsupported => false,
                        _ => return Err(StoreError::from(trouble)),
                    },
                };
            self.delete(&probe, None).await?;
            Ok(compares)
        };
        self.conditional_deletes.get_or_try_init(ask).await.copied()
    }

    /// For servers that do not compare: compares here, then deletes. What another process writes in
    /// between is lost. Only a sweep removes objects, and only those long past their end, which nobody
    /// writes any more but to delete them once again; AWS does compare.
    async fn remove_compared(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        let _turn = self.removals.lock(name.clone()).await;
        let found = self.read(name, |request| request).await?;
        if found.is_none_or(|object| object.version != *expected) {
            return Ok(false);
        }
        self.delete(name, None).await?;
        Ok(true)
    }
}

#[async_trait]
impl Store for S3Store {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.put(name, bytes, |request| request.if_none_match("*")).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        let Some(e_tag) = expected.as_tag() else { return Err(StoreError::Precondition) };
        self.put(name, bytes, |request| request.if_match(e_tag)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.read(name, |request| request).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        let (listed, _) = self.pages(prefix, after, limit).await?;
        Ok(listed.into_iter().map(|listed| listed.name).collect())
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        // Each is a request of its own, and all of them are one step of the caller's.
        let limit = limit.min(limits::HEADS);
        let (listed, mut requests) = self.pages(prefix, after, limit).await?;
        let next = listed.last().filter(|_| listed.len() == limit).map(|last| last.name.clone());
        requests += listed.iter().filter(|listed| listed.size > 0).count() as u64;
        let heads: Vec<_> = stream::iter(listed)
            .map(|listed| self.head(listed, length))
            .buffered(limits::BATCH_CONCURRENCY)
            .try_collect()
            .await?;
        Ok(Heads { objects: heads.into_iter().flatten().collect(), next, requests })
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        let Some(e_tag) = expected.as_tag() else { return Ok(false) };
        if !self.deletes_conditionally().await? {
            return self.remove_compared(name, expected).await;
        }
        match self.delete(name, Some(&e_tag)).await {
            Ok(()) => Ok(true),
            Err(trouble) => match trouble.kind {
                Kind::Precondition | Kind::Absent => Ok(false),
                _ => Err(trouble.into()),
            },
        }
    }
}

/// Whether a page begins where it was to begin, and is in order: of what is not, the next page would be
/// the same one for ever.
fn goes_on(after: Option<&Name>, page: &[Listed]) -> bool {
    let names = after.into_iter().chain(page.iter().map(|listed| &listed.name));
    names.is_sorted_by(|one, next| one < next)
}

fn version(action: &str, e_tag: Option<&str>) -> Result<Version, StoreError> {
    match e_tag {
        Some(e_tag) => Ok(Version::tag(e_tag)),
        None => Err(StoreError::Unavailable(format!("{action}: the answer has no ETag"))),
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        match trouble.kind {
            Kind::Precondition => Self::Precondition,
            Kind::Unavailable => Self::Unavailable(trouble.cause),
            Kind::Throttled => Self::Throttled(trouble.cause),
            Kind::Again => Self::Again(trouble.cause),
            Kind::Crowded => Self::Overloaded,
            Kind::Damaged => Self::Corrupted(trouble.cause),
            Kind::Absent | Kind::Unsupported | Kind::Refused => Self::Refused(trouble.cause),
        }
    }
}
