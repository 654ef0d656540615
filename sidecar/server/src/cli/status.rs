//! `lunasec status`: what a running sidecar says of itself.

use std::process::ExitCode;

use lunasec_api::{self as api, DependencyState};
use lunasec_client::operator;

use super::{FAILED, Outcome, SocketArgument, Stop, USAGE, context::client_at, print};

/// Arguments of `lunasec status`.
#[derive(clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    sidecar: SocketArgument,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Exits with 1 when there is no sidecar, and with 0 however it is.
    pub(super) async fn run(self) -> Outcome {
        let client = client_at(&self.sidecar.socket).build();
        let client = client.map_err(|error| Stop::new(USAGE, error.detail()))?;
        let status = operator::status(&client).await.map_err(|error| Stop::new(FAILED, error))?;
        if self.json {
            let text = serde_json::to_string_pretty(&status);
            print(&format!("{}\n", text.map_err(|error| Stop::new(FAILED, error))?))?;
        } else {
            print(&describe(&status))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(status: &api::Status) -> String {
    let api::Status { dependencies, caches, .. } = status;
    [
        format!("lunasec {}, up for {} s\n", status.version, status.uptime_seconds),
        dependency("storage", &dependencies.storage),
        dependency("keys", &dependencies.keys),
        dependencies.state.as_ref().map(|state| dependency("state", state)).unwrap_or_default(),
        dependencies.audit.as_ref().map(|audit| dependency("audit", audit)).unwrap_or_default(),
        status.issuers.iter().map(issuer).collect(),
        format!("caches   {}\n", cache("values and metadata", caches.values)),
        format!("         {}\n", cache("grants and sessions", caches.grants)),
        disk_cache(caches),
        format!("         {} data keys\n", caches.data_keys),
        format!("         {} idempotency keys\n", caches.idempotency_keys),
        journal(&status.journal),
        process(&status.process),
        sandbox(&status.sandbox),
    ]
    .concat()
}

fn journal(journal: &api::Journal) -> String {
    let mut text = match journal.pending {
        0 => "journal  0 pending\n".into(),
        pending => {
            format!("journal  {pending} pending, the oldest for {} s\n", journal.oldest_seconds)
        }
    };
    if journal.stale {
        text += "         older than degrade.journal_age, so it takes nothing and is not replayed; `lunasec serve --replay-stale-journal` replays it\n";
    }
    for api::RefusedWrite { number, kind, code } in &journal.refused {
        text +=
            &format!("         {number}, a {kind}, is refused: {code}; the log has the cause\n");
    }
    text
}

fn disk_cache(caches: &api::Caches) -> String {
    let disk = caches.disk.as_ref();
    disk.map(|state| format!("         disk cache {state}\n")).unwrap_or_default()
}

fn cache(of: &str, cache: api::Cache) -> String {
    format!("{} {of}, {} KiB", cache.entries, cache.bytes / 1024)
}

fn process(process: &api::Process) -> String {
    let words = |yes, good, bad| if yes { good } else { bad };
    let locked = match &process.reason {
        Some(reason) => format!("memory not locked: {reason}"),
        None => "memory locked".into(),
    };
    format!(
        "process  core dumps {}, {}, {locked}\n",
        words(process.core_dumps_off, "off", "possible"),
        words(process.untraceable, "untraceable", "traceable"),
    )
}

fn sandbox(sandbox: &api::Sandbox) -> String {
    let words = |on, what: &str| if on { what.to_owned() } else { format!("no {what}") };
    let files = match sandbox.landlock_abi {
        0 => "no landlock".into(),
        abi => format!("landlock {abi}"),
    };
    let left = match &sandbox.capabilities_left[..] {
        [] => String::new(),
        left => format!(", left: {}", left.join(" ")),
    };
    let mut text = format!(
        "sandbox  {}: {files}, {}, {}, {}{left}\n",
        sandbox.mode,
        words(sandbox.seccomp, "seccomp"),
        words(sandbox.no_new_privileges, "no_new_privileges"),
        words(sandbox.capabilities_dropped, "capabilities dropped"),
    );
    for reason in &sandbox.reasons {
        text += &format!("         {reason}\n");
    }
    text
}

fn issuer(issuer: &api::Issuer) -> String {
    let api::Issuer { issuer, audience, keys, health } = issuer;
    format!("{}         {keys} keys of {issuer} for {audience}\n", dependency("jwks", health))
}

fn dependency(name: &str, dependency: &api::Dependency) -> String {
    let state = match dependency.state {
        DependencyState::Up => "up",
        DependencyState::Degraded => "degraded",
        DependencyState::Down => "down",
    };
    let reason = dependency.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{name:<8} {state} since {}{reason}\n", dependency.since)
}
