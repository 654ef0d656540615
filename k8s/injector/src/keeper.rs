//! Keeps the Secret with authority and certificate, and the `caBundle` of the webhook's configuration. All replicas do
//! this; the API server's versions decide who wrote first, and the others read what that one wrote.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use json_patch::{
    AddOperation, Patch as JsonPatch, PatchOperation, TestOperation, jsonptr::PointerBuf,
};
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;

use crate::{
    certificates::{CannotIssue, Held, Lifetimes, Served, Unusable},
    clock::Clock,
    follow::{Change, follow},
    settings::Settings,
    telemetry::Telemetry,
};

/// The one key that counts; the others are for people.
const STATE: &str = "state.json";
/// Even if nothing is due and nothing changed.
const LOOK_EVERY: u64 = 600;
/// From nothing to all that is told takes three.
const STEPS: u32 = 8;
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Keeps certificates.
pub struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    settings: Arc<Settings>,
    lifetimes: Lifetimes,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    served: Arc<Served>,
    telemetry: Arc<Telemetry>,
    /// The chain that is served.
    chain: String,
}

/// Why certificates could not be kept this time.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the Secret {0} is not there; the chart makes it, empty")]
    NoSecret(String),
    #[error("the MutatingWebhookConfiguration {0} is not there; the chart makes it")]
    NoConfiguration(String),
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Issue(#[from] CannotIssue),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("what is held cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Whether everything is as it should be.
enum Step {
    Done(Held),
    /// Somebody else wrote first, or there is more to do.
    Again,
}

impl Keeper {
    /// For a Service in a namespace.
    pub fn new(
        client: &Client,
        namespace: &str,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        served: Arc<Served>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let webhook = &settings.webhook;
        let lifetimes = Lifetimes {
            serving: webhook.certificate_lifetime,
            authority: webhook.authority_lifetime,
            settle: webhook.settle_time,
        };
        let service = &webhook.service;
        let names = vec![
            format!("{service}.{namespace}.svc"),
            format!("{service}.{namespace}.svc.cluster.local"),
        ];
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            configurations: Api::all(client.clone()),
            settings,
            lifetimes,
            names,
            clock,
            served,
            telemetry,
            chain: String::new(),
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let (sender, mut changes) = mpsc::channel(16);
        let webhook = &self.settings.webhook;
        let named = |name: &str| format!("metadata.name={name}");
        tokio::spawn(follow(
            self.secrets.clone(),
            named(&webhook.secret),
            |_| true,
            sender.clone(),
        ));
        let configuration = named(&webhook.configuration);
        tokio::spawn(follow(self.configurations.clone(), configuration, |_| true, sender));
        let (mut pause, mut steps) = (PAUSES.0, 0);
        loop {
            let began = self.now();
            match self.step(began).await {
                Ok(Step::Again) => {
                    steps += 1;
                    // Others write all the time, or the API server takes nothing of this.
                    if steps > STEPS {
                        self.wait(&mut changes, tokio::time::sleep(pause)).await;
                    }
                }
                Ok(Step::Done(held)) => {
                    (pause, steps) = (PAUSES.0, 0);
                    // What became due while it looked is due now.
                    let due = began + held.look_again(began, &self.lifetimes).min(LOOK_EVERY);
                    let left = Duration::from_secs(due.saturating_sub(self.now()));
                    self.wait(&mut changes, self.clock.sleep(left)).await;
                }
                Err(error) => {
                    self.telemetry.in_order(false);
                    tracing::error!(%error, "certificates cannot be kept now; trying again");
                    self.wait(&mut changes, tokio::time::sleep(pause)).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    async fn wait(&self, changes: &mut mpsc::Receiver<Change>, time: impl Future<Output = ()>) {
        tokio::select! {
            () = time => {}
            Some(_) = changes.recv() => while changes.try_recv().is_ok() {},
        }
    }

    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    async fn step(&mut self, now: u64) -> Result<Step, Trouble> {
        let name = &self.settings.webhook.secret;
        let secret =
            self.secrets.get_opt(name).await?.ok_or_else(|| Trouble::NoSecret(name.clone()))?;
        let held = held(&secret);
        if let Some(next) = Held::due(held.as_ref(), now, &self.lifetimes, &self.names)? {
            self.write(secret, &next).await?;
            return Ok(Step::Again);
        }
        // `due` makes one where there is none.
        let Some(held) = held else { return Ok(Step::Again) };
        self.serve(&held)?;
        if !self.distribute(&held).await? {
            return Ok(Step::Again);
        }
        self.telemetry.trusted();
        self.telemetry.in_order(true);
        if let Some(next) = held.distributed(self.now()) {
            tracing::info!("API servers are told of the new authority");
            self.write(secret, &next).await?;
            return Ok(Step::Again);
        }
        Ok(Step::Done(held))
    }

    fn serve(&mut self, held: &Held) -> Result<(), Trouble> {
        if self.chain != held.chain() {
            self.served.swap(held.certified()?);
            held.chain().clone_into(&mut self.chain);
            let (serving, authority) = held.ends();
            self.telemetry.certificate(serving, authority);
            tracing::info!(
                expires = serving,
                authority_expires = authority,
                "a certificate is in use"
            );
        }
        Ok(())
    }

    /// Writes, unless somebody else did since it was read.
    async fn write(&self, mut secret: Secret, held: &Held) -> Result<(), Trouble> {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        secret.data.get_or_insert_with(BTreeMap::new).extend([
            (STATE.to_owned(), bytes(&serde_json::to_string(held)?)),
            ("ca.crt".to_owned(), bytes(&held.bundle())),
            ("tls.crt".to_owned(), bytes(held.chain())),
        ]);
        let name = &self.settings.webhook.secret;
        match self.secrets.replace(name, &PostParams::default(), &secret).await {
            Ok(_) => tracing::info!(secret = name, "certificates are written"),
            Err(error) if is(&error, 409) => {
                tracing::info!(secret = name, "another replica wrote first")
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Puts the bundle into every entry of the webhook's configuration; says whether it is there.
    async fn distribute(&self, held: &Held) -> Result<bool, Trouble> {
        let name = &self.settings.webhook.configuration;
        let found = self.configurations.get_opt(name).await?;
        let found = found.ok_or_else(|| Trouble::NoConfiguration(name.clone()))?;
        let bundle = ByteString(held.bundle().into_bytes());
        let entries = found.webhooks.iter().flatten().enumerate();
        let others = entries.filter(|(_, it)| it.client_config.ca_bundle.as_ref() != Some(&bundle));
        let mut operations: Vec<_> = others.map(|(at, _)| put_bundle(at, &bundle)).collect();
        if operations.is_empty() {
            return Ok(true);
        }
        // Places in the list are those of what was read.
        let version = found.meta().resource_version.clone().unwrap_or_default();
        operations.insert(0, test_version(version));
        let patch = Patch::Json::<()>(JsonPatch(operations));
        match self.configurations.patch(name, &PatchParams::default(), &patch).await {
            Ok(_) => {
                tracing::info!(configuration = name, "the webhook's configuration has the bundle");
                Ok(true)
            }
            // The test failed, or somebody wrote meanwhile.
            Err(error) if is(&error, 409) || is(&error, 422) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What the Secret holds; what cannot be read is made anew, because a webhook without a certificate stops pods.
fn held(secret: &Secret) -> Option<Held> {
    let state = secret.data.as_ref()?.get(STATE)?;
    match serde_json::from_slice::<Held>(&state.0) {
        Ok(held) => match held.check() {
            Ok(()) => return Some(held),
            Err(error) => {
                tracing::error!(%error, "the Secret is damaged; certificates are made anew")
            }
        },
        // Its words would show what is in the Secret.
        Err(_) => tracing::error!("the Secret is damaged; certificates are made anew"),
    }
    None
}

fn put_bundle(at: usize, bundle: &ByteString) -> PatchOperation {
    let path = PointerBuf::from_tokens(["webhooks", &at.to_string(), "clientConfig", "caBundle"]);
    // As base64, which is how it is written.
    PatchOperation::Add(AddOperation { path, value: serde_json::json!(bundle) })
}

fn test_version(version: String) -> PatchOperation {
    let path = PointerBuf::from_tokens(["metadata", "resourceVersion"]);
    PatchOperation::Test(TestOperation { path, value: version.into() })
}

fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}
