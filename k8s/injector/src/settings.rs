//! The injector's settings: one TOML file. All mistakes are named at once.

use std::{net::SocketAddr, time::Duration};

use crate::{
    identity,
    names::{is_label, is_subdomain},
    quantity::{FORM, Quantity},
};

mod reader;

use reader::Reader;

/// The whole file.
#[derive(Debug)]
pub struct Settings {
    /// What is written into the annotation `lunasec.io/injected`.
    pub version: String,
    /// What is put into pods.
    pub sidecar: Sidecar,
    /// The webhook and its certificates.
    pub webhook: Webhook,
    /// Where `/live`, `/ready` and `/metrics` are.
    pub admin: SocketAddr,
    /// What becomes of pods that were missed.
    pub reconciler: Reconciler,
    /// The injector's own log.
    pub log: Log,
}

/// Defaults of the sidecar's container.
#[derive(Debug)]
pub struct Sidecar {
    /// Its image.
    pub image: String,
    /// When the kubelet pulls it.
    pub pull_policy: String,
    /// Its uid, and its gid.
    pub user: u32,
    /// The ConfigMap with `lunasec.toml`.
    pub config_map: String,
    /// Where its probes and metrics are.
    pub admin: SocketAddr,
    /// How much it logs.
    pub log_level: Level,
    /// Request of processor time.
    pub cpu_request: Option<Quantity>,
    /// Limit of processor time.
    pub cpu_limit: Option<Quantity>,
    /// Request of memory.
    pub mem_request: Option<Quantity>,
    /// Limit of memory.
    pub mem_limit: Option<Quantity>,
    /// What carries a journal.
    pub journal: Journal,
    /// The ConfigMap has `ca.pem`.
    pub ca_bundle: bool,
    /// How large the volume may be that dies with its pod: the kubelet evicts a pod whose volume is larger.
    pub state_limit: Option<Quantity>,
    /// Where EKS Pod Identity answers.
    pub pod_identity: String,
}

/// Which volumes carry a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Journal {
    /// Those that a pod names.
    Annotated,
    /// Also the one that dies with its pod: whoever runs the cluster has taken that loss upon them.
    EphemeralAcknowledged,
}

/// The webhook and its certificates.
#[derive(Debug)]
pub struct Webhook {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The Service that the API server calls.
    pub service: String,
    /// The Secret with authority and certificate.
    pub secret: String,
    /// The MutatingWebhookConfiguration whose `caBundle` is kept.
    pub configuration: String,
    /// Namespaces that its entries leave out, beside `kube-system` and the injector's own.
    pub excluded_namespaces: Vec<String>,
    /// Whether it is asked about pods of namespaces without the label, too.
    pub unlabelled_namespaces: bool,
    /// How long a serving certificate is good.
    pub certificate_lifetime: Duration,
    /// How long an authority is good.
    pub authority_lifetime: Duration,
    /// How long a new authority is in the bundle before it signs: API servers must have seen it.
    pub settle_time: Duration,
    /// How long it goes on answering after SIGTERM, while the Service stops sending.
    pub drain_time: Duration,
}

/// What becomes of pods that were missed.
#[derive(Debug)]
pub struct Reconciler {
    /// How often it looks.
    pub every: Duration,
    /// Whether it evicts them, so that their controllers make them anew.
    pub restart: bool,
    /// The Lease of the one replica that does this.
    pub lease: String,
}

/// The injector's own log.
#[derive(Debug)]
pub struct Log {
    /// How much.
    pub level: Level,
    /// Whether as JSON.
    pub json: bool,
}

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the level of that name")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// What is allowed.
    pub const FORM: &str = "error, warn, info, debug or trace";

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];
        all.into_iter().find(|level| level.as_str() == text)
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Settings {
    /// Reads them, or names all mistakes.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let mut reader = Reader::new(text)?;
        let read = Self {
            version: reader.required("", "version", words, "the injector's version"),
            sidecar: sidecar(&mut reader),
            webhook: webhook(&mut reader),
            admin: reader.or("admin", "listen", "[::]:8080", address, ADDRESS),
            reconciler: Reconciler {
                every: reader.or("reconciler", "every", "60s", time, TIME),
                restart: reader.flag("reconciler", "restart", false),
                lease: reader.or(
                    "reconciler",
                    "lease",
                    "lunasec-injector",
                    subdomain,
                    "the name of a Lease",
                ),
            },
            log: Log {
                level: reader.or("log", "level", "info", Level::parse, Level::FORM),
                json: reader.or("log", "format", "json", format, "json or text"),
            },
        };
        reader.finish(read)
    }
}

const ADDRESS: &str =
    "an address and a port, such as [::]:8443, which is every address of both families";
const TIME: &str = "a time of at least one second, such as 60s or 30d";

fn sidecar(reader: &mut Reader) -> Sidecar {
    let section = "sidecar";
    let policy =
        |it: &str| ["Always", "IfNotPresent", "Never"].contains(&it).then(|| it.to_owned());
    let read = Sidecar {
        image: reader.required(section, "image", image, "an image, such as lunasec/sidecar:0.1.0"),
        pull_policy: reader.or(
            section,
            "pull_policy",
            "IfNotPresent",
            policy,
            "Always, IfNotPresent or Never",
        ),
        user: reader.number(section, "user", 64_733, 1..=i64::from(u32::MAX - 1)),
        config_map: reader.or(
            section,
            "config_map",
            "lunasec",
            subdomain,
            "the name of a ConfigMap",
        ),
        admin: reader.or(section, "admin", "[::]:9464", address, ADDRESS),
        log_level: reader.or(section, "log_level", "info", Level::parse, Level::FORM),
        cpu_request: reader.quantity(section, "cpu_request", "50m", FORM),
        cpu_limit: reader.quantity(section, "cpu_limit", "", FORM),
        mem_request: reader.quantity(section, "mem_request", "64Mi", FORM),
        mem_limit: reader.quantity(section, "mem_limit", "448Mi", FORM),
        journal: reader.or(
            section,
            "journal",
            "annotated",
            journal,
            "annotated or ephemeral-acknowledged",
        ),
        ca_bundle: reader.flag(section, "ca_bundle", false),
        state_limit: reader.quantity(section, "state_limit", "2Gi", FORM),
        pod_identity: reader.or(
            section,
            "pod_identity",
            identity::AGENTS[0],
            |it| identity::AGENTS.contains(&it).then(|| it.to_owned()),
            "169.254.170.23 or [fd00:ec2::23], which are the two that AWS has",
        ),
    };
    for (what, request, limit) in
        [("cpu", &read.cpu_request, &read.cpu_limit), ("mem", &read.mem_request, &read.mem_limit)]
    {
        if let (Some(request), Some(limit)) = (request, limit)
            && request.exceeds(limit)
        {
            reader.mistake(format!(
                "sidecar.{what}_request is {request}, more than sidecar.{what}_limit, {limit}"
            ));
        }
    }
    read
}

fn webhook(reader: &mut Reader) -> Webhook {
    let section = "webhook";
    let mine = "lunasec-injector";
    let read = Webhook {
        listen: reader.or(section, "listen", "[::]:8443", address, ADDRESS),
        service: reader.or(section, "service", mine, label, "the name of a Service"),
        secret: reader.or(
            section,
            "secret",
            "lunasec-injector-tls",
            subdomain,
            "the name of a Secret",
        ),
        configuration: reader.or(
            section,
            "configuration",
            mine,
            subdomain,
            "the name of a MutatingWebhookConfiguration",
        ),
        excluded_namespaces: reader.list(
            section,
            "excluded_namespaces",
            label,
            "a list of names of namespaces",
        ),
        unlabelled_namespaces: reader.flag(section, "unlabelled_namespaces", true),
        certificate_lifetime: reader.or(section, "certificate_lifetime", "30d", time, TIME),
        authority_lifetime: reader.or(section, "authority_lifetime", "365d", time, TIME),
        settle_time: reader.or(section, "settle_time", "5m", time, TIME),
        drain_time: reader.or(section, "drain_time", "5s", time, TIME),
    };
    // A certificate that is made at the last moment before the next authority signs must not outlive its own.
    if read.certificate_lifetime + read.settle_time > read.authority_lifetime / 3 {
        reader.mistake(
            "webhook.certificate_lifetime and webhook.settle_time together are more than a third of \
             webhook.authority_lifetime; an authority must outlive what it signs"
                .to_owned(),
        );
    }
    read
}

fn words(text: &str) -> Option<String> {
    (!text.trim().is_empty()).then(|| text.to_owned())
}

fn image(text: &str) -> Option<String> {
    words(text).filter(|it| it.bytes().all(|byte| byte.is_ascii_graphic()))
}

fn address(text: &str) -> Option<SocketAddr> {
    text.parse().ok()
}

fn time(text: &str) -> Option<Duration> {
    let most = Duration::from_secs(100 * 365 * 86_400);
    humantime::parse_duration(text).ok().filter(|it| (Duration::from_secs(1)..=most).contains(it))
}

fn subdomain(text: &str) -> Option<String> {
    is_subdomain(text).then(|| text.to_owned())
}

fn label(text: &str) -> Option<String> {
    is_label(text).then(|| text.to_owned())
}

fn journal(text: &str) -> Option<Journal> {
    match text {
        "annotated" => Some(Journal::Annotated),
        "ephemeral-acknowledged" => Some(Journal::EphemeralAcknowledged),
        _ => None,
    }
}

fn format(text: &str) -> Option<bool> {
    match text {
        "json" => Some(true),
        "text" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
