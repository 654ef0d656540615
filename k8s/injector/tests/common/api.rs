//! An API server over TLS: objects by path, lists with pages, watches, JSON patches, evictions.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

use super::{soon, store::Store};

type Body = UnsyncBoxBody<Bytes, Infallible>;
/// Small, so that there is more than one.
const PAGE: usize = 2;

#[derive(Clone)]
pub struct Api {
    store: Arc<Mutex<Store>>,
    /// Counts changes, for those who wait for one.
    changed: watch::Sender<u64>,
    address: SocketAddr,
    certificate: Vec<u8>,
}

/// What a path names.
struct Place<'a> {
    resource: &'a str,
    namespace: &'a str,
    name: Option<&'a str>,
    below: Option<&'a str>,
}

impl Api {
    pub async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
                .unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = cert.der().to_vec();
        let api =
            Self { store: Arc::default(), changed: watch::Sender::new(0), address, certificate };
        tokio::spawn(api.clone().accept(listener, TlsAcceptor::from(Arc::new(config))));
        api
    }

    async fn accept(self, listener: TcpListener, acceptor: TlsAcceptor) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (api, acceptor) = (self.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.answer(request).await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    pub fn client(&self) -> Client {
        let mut config = Config::new(format!("https://{}", self.address).parse().unwrap());
        config.root_cert = Some(vec![self.certificate.clone()]);
        Client::try_from(config).unwrap()
    }

    /// For another process.
    pub fn kubeconfig(&self) -> String {
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            STANDARD.encode(&self.certificate)
        );
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": STANDARD.encode(pem),
            }}],
            "users": [{"name": "test", "user": {"token": "nobody-checks"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": super::NAMESPACE}}],
        })
        .to_string()
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }

    /// Puts an object there, or another one in its place.
    pub fn put(&self, resource: &str, namespace: &str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let mut store = self.store();
        if store.get(resource, namespace, &name).is_some() {
            object["metadata"]["resourceVersion"] = Value::Null;
            store.replace(resource, namespace, &name, object).unwrap();
        } else {
            store.create(resource, namespace, object).unwrap();
        }
        drop(store);
        self.tell();
    }

    /// Takes an object away.
    pub fn remove(&self, resource: &str, namespace: &str, name: &str) -> Value {
        let gone = self.store().remove(resource, namespace, name);
        self.tell();
        gone
    }

    /// From now on nobody is answered about objects of this kind.
    pub fn is_deaf_to(&self, resource: &'static str) {
        self.store().deaf_to = Some(resource);
    }

    fn tell(&self) {
        self.changed.send_modify(|it| *it += 1);
    }

    /// Waits until what is there is so.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Store) -> bool) {
        let mut changed = self.changed.subscribe();
        soon(what, async {
            while !is_so(&self.store()) {
                changed.changed().await.unwrap();
            }
        })
        .await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(|it| it.to_bytes()).unwrap_or_default();
        let query = head.uri.query().unwrap_or_default().to_owned();
        let path = head.uri.path().to_owned();
        let Some(place) = Place::of(&path) else { return status(404, "NotFound") };
        let is_deaf = self.store().deaf_to.is_some_and(|it| it == place.resource);
        if is_deaf {
            std::future::pending::<()>().await;
        }
        if head.method == Method::GET && place.name.is_none() {
            let accept =
                head.headers.get("accept").and_then(|it| it.to_str().ok()).unwrap_or_default();
            return self.many(&place, &query, accept.contains("PartialObjectMetadata"));
        }
        let outcome = self.one(&head.method, &place, &body);
        self.tell();
        match outcome {
            Ok(object) if head.method == Method::POST => full(201, &object),
            Ok(object) => full(200, &object),
            Err((code, reason)) => status(code, reason),
        }
    }

    fn one(
        &self,
        method: &Method,
        place: &Place<'_>,
        body: &[u8],
    ) -> Result<Value, (u16, &'static str)> {
        let Place { resource, namespace, name, below } = *place;
        let json = || serde_json::from_slice::<Value>(body).map_err(|_| (400, "BadRequest"));
        let mut store = self.store();
        match (method.as_str(), name, below) {
            ("GET", Some(name), None) => {
                store.get(resource, namespace, name).cloned().ok_or((404, "NotFound"))
            }
            ("PUT", Some(name), None) => store.replace(resource, namespace, name, json()?),
            ("PATCH", Some(name), None) => store.patch(resource, namespace, name, body),
            ("POST", None, None) => store.create(resource, namespace, json()?),
            ("POST", Some(name), Some("eviction")) => store.evict(namespace, name, &json()?),
            _ => Err((405, "MethodNotAllowed")),
        }
    }

    fn many(&self, place: &Place<'_>, query: &str, metadata_only: bool) -> Response<Body> {
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|it| it.split_once('='));
            pairs
                .find(|(it, _)| *it == key)
                .map(|(_, value)| value.replace("%3D", "=").replace("%2C", ",").replace("%2F", "/"))
        };
        let name = value("fieldSelector")
            .and_then(|it| it.strip_prefix("metadata.name=").map(str::to_owned));
        let (resource, namespace) = (place.resource.to_owned(), place.namespace.to_owned());
        let wanted = move |key: &(String, String, String)| {
            key.0 == resource
                && (namespace.is_empty() || key.1 == namespace)
                && name.as_ref().is_none_or(|it| *it == key.2)
        };
        let shown = move |object: &Value| {
            if metadata_only {
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]})
            } else {
                object.clone()
            }
        };
        if value("watch").as_deref() == Some("true") {
            let from = value("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or_default();
            return self.watched(from, wanted, shown);
        }
        let store = self.store();
        let (phase, label) = (value("fieldSelector"), value("labelSelector"));
        let phase = phase.as_deref().and_then(|it| it.strip_prefix("status.phase="));
        let label = label.as_deref().map(|it| it.split_once('=').unwrap());
        let selected = |it: &Value| {
            phase.is_none_or(|phase| it["status"]["phase"] == phase)
                && label.is_none_or(|(key, value)| it["metadata"]["labels"][key] == value)
        };
        let objects = store.objects.iter().filter(|(key, it)| wanted(key) && selected(it));
        let all: Vec<_> = objects.map(|(_, it)| shown(it)).collect();
        let from: usize = value("continue").and_then(|it| it.parse().ok()).unwrap_or_default();
        let limit = value("limit").map_or(usize::MAX, |_| PAGE);
        let page: Vec<_> = all.iter().skip(from).take(limit).cloned().collect();
        let next = from + page.len();
        let token = if next < all.len() { next.to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": store.version().to_string(), "continue": token});
        full(200, &json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": page}))
    }

    fn watched(
        &self,
        from: u64,
        wanted: impl Fn(&(String, String, String)) -> bool + Send + 'static,
        shown: impl Fn(&Value) -> Value + Send + 'static,
    ) -> Response<Body> {
        let start = (self.clone(), self.changed.subscribe(), from, wanted, shown);
        let lines = stream::unfold(start, |(api, mut changed, from, wanted, shown)| async move {
            loop {
                let (lines, last) = {
                    let store = api.store();
                    let new = store.changes.iter().filter(|it| it.0 > from && wanted(&it.2));
                    let lines: String = new
                        .map(|(_, what, _, object)| {
                            format!("{}\n", json!({"type": what, "object": shown(object)}))
                        })
                        .collect();
                    (lines, store.version())
                };
                if !lines.is_empty() {
                    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(lines)));
                    return Some((frame, (api, changed, last, wanted, shown)));
                }
                changed.changed().await.ok()?;
            }
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

impl<'a> Place<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<_> = path.split('/').filter(|it| !it.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", "v1", rest @ ..] | ["apis", _, _, rest @ ..] => rest,
            _ => return None,
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (resource, rest) = rest.split_first()?;
        Some(Self { resource, namespace, name: rest.first().copied(), below: rest.get(1).copied() })
    }
}

fn full(code: u16, value: &Value) -> Response<Body> {
    let once = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(value.to_string())))]);
    let mut response = Response::new(StreamBody::new(once).boxed_unsync());
    *response.status_mut() = code.try_into().unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

fn status(code: u16, reason: &str) -> Response<Body> {
    full(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
            "message": format!("the test's API server says {reason}"), "code": code}),
    )
}
