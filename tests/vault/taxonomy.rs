//! Each row of `docs/failures.md`, through the SDK and a fake of S3 and KMS: whether the dependency counts as away,
//! whether it is asked again, what is answered, and what becomes of what is remembered.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_sdk_s3::config::Credentials;
use bytes::Bytes;
use lunasec_api::Code;
use lunasec_core::{derive::SessionTag, ids::Namespace, limits};
use lunasec_sidecar::{
    app::Opener,
    aws::Aws,
    config::Config,
    env::SystemEntropy,
    failure::Failure,
    keys::{Context, KeyError, Purpose, Wrapper},
    store::{Name, Object, Store, StoreError},
    telemetry::Telemetry,
};
use lunasec_tests::{
    fake::{Asked, Fake, Fault, wire},
    world::FakeClock,
};

mod connections;
mod keys;
mod storage;

const BUCKET: &str = "bucket";
const KEY: &str = "00000000-0000-0000-0000-000000000001";
const OLD: Bytes = Bytes::from_static(b"old");

/// As a sidecar on S3 and KMS composes it.
struct Rig {
    fake: Arc<Mutex<Fake>>,
    clock: Arc<FakeClock>,
    telemetry: Arc<Telemetry>,
    opener: Opener,
    store: Arc<dyn Store>,
    keys: Arc<dyn Wrapper>,
}

/// They open nothing anywhere.
fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "tests")
}

fn config(endpoint: &str) -> Config {
    let text = format!(
        "[listen]\nsocket = \"/nowhere/lunasec.sock\"\n\
         [storage]\nkind = \"s3\"\nbucket = \"{BUCKET}\"\nregion = \"eu-central-1\"\n\
         endpoint = \"{endpoint}\"\npath_style = true\n\
         [keys]\nkind = \"kms\"\nkey_id = \"{KEY}\"\nregion = \"eu-central-1\"\nendpoint = \"{endpoint}\"\n"
    );
    Config::parse(&text, &[]).unwrap()
}

impl Rig {
    /// With the fake in the place of the network.
    async fn new() -> Self {
        let fake = Arc::new(Mutex::new(Fake::new(BUCKET, KEY)));
        let aws = Aws::with_network(wire(Arc::clone(&fake)), credentials());
        Self::on(aws, "http://127.0.0.1:9", fake).await
    }

    /// With the machine's network.
    async fn at(endpoint: &str, fake: Arc<Mutex<Fake>>) -> Self {
        Self::on(Aws::with_credentials(credentials()), endpoint, fake).await
    }

    async fn on(aws: Aws, endpoint: &str, fake: Arc<Mutex<Fake>>) -> Self {
        let clock = Arc::new(FakeClock::default());
        let telemetry = Arc::new(Telemetry::new(clock.clone()));
        let entropy = Arc::new(SystemEntropy::default());
        let shared = Arc::clone(&telemetry);
        let opener = Opener::new(config(endpoint), clock.clone(), entropy, shared).with_aws(aws);
        let store = opener.store().await.unwrap();
        let keys = opener.wrapper(&*store).await.unwrap();
        Self { fake, clock, telemetry, opener, store, keys }
    }

    fn fake(&self) -> MutexGuard<'_, Fake> {
        self.fake.lock().unwrap()
    }

    /// From now on all of these requests fare so.
    fn fail(&self, asked: Asked, fault: Fault) {
        self.fake().fail(asked, usize::MAX, fault);
    }

    /// Lies there already, written by another sidecar.
    fn lies_there(&self, name: &Name) {
        self.fake().s3.objects.insert(name.as_str().into(), OLD);
    }

    fn storage_is_away(&self) -> bool {
        self.opener.storage_breaker().is_open()
    }

    fn keys_are_away(&self) -> bool {
        self.opener.keys_breaker().is_open()
    }

    /// Whether it is still remembered: it is given while storage is away, and only then can nothing else be.
    async fn remembers(&self, name: &Name) -> bool {
        (0..limits::BREAKER_FAILURES).for_each(|_| self.opener.storage_breaker().failed("as told"));
        let given = self.store.get(name).await;
        self.opener.storage_breaker().answered();
        bytes(given) == Some(OLD)
    }
}

/// What is remembered shortest and without a record's form: a session.
fn name(number: u8) -> Name {
    Name::session(&Namespace::default(), &SessionTag([number; 32]))
}

fn bytes(found: Result<Option<Object>, StoreError>) -> Option<Bytes> {
    found.ok().flatten().map(|object| object.bytes)
}

/// What a caller is told.
fn said<T>(result: Result<T, impl Into<Failure>>) -> Result<T, Code> {
    result.map_err(|error| error.into().code)
}

/// A key's context in the default namespace.
fn context(namespace: &Namespace) -> Context<'_> {
    Context { namespace, key: "20000-0", purpose: Purpose::Data }
}
