//! `lunasec sweep`: removes what expired, by asking the running sidecar step by step, or by opening
//! the store of a stopped one.

use std::{path::PathBuf, process::ExitCode};

use lunasec_api::{SweepPage, SweepRequest};
use lunasec_client::operator::{self, OperatorRoute};
use lunasec_core::{limits, words};

use super::{FAILED, Outcome, Stop, USAGE, check, context::client_at, open, print};
use crate::{
    env::{Clock, SystemClock},
    store::Name,
    vault::{Graces, sweep_page},
};

/// Arguments of `lunasec sweep`.
#[derive(clap::Args)]
pub(super) struct Sweep {
    /// The running sidecar's socket
    #[arg(long, env = lunasec_api::SOCKET_VARIABLE, default_value = lunasec_api::DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Open the store of this configuration instead; no sidecar may be running on an embedded one
    #[arg(long)]
    config: Option<PathBuf>,
    /// Keep records for this long after their expiry [default: the sidecar's sweep.expired_grace]
    #[arg(long)]
    grace: Option<String>,
    /// Keep tombstones for this long [default: the sidecar's sweep.tombstone_grace]
    #[arg(long)]
    tombstone_grace: Option<String>,
    /// Count, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

impl Sweep {
    pub(super) async fn run(self) -> Outcome {
        self.check_graces()?;
        let total = match &self.config {
            Some(config) => self.open_and_sweep(config).await?,
            None => self.ask().await?,
        };
        let verb = if self.dry_run { "would remove" } else { "removed" };
        let SweepPage { expired, tombstones, examined, requests, unreadable, .. } = total;
        let mut text = format!(
            "{verb} {expired} expired, {tombstones} tombstones\n\
             examined {examined} records with {requests} storage requests\n"
        );
        if unreadable > 0 {
            text += &format!("left {unreadable} records that this version cannot read\n");
        }
        if let Some(rate) = (requests * 1_000_000).checked_div(examined) {
            text += &format!("that is {rate} requests per million records\n");
        }
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn check_graces(&self) -> Result<(), Stop> {
        for grace in [&self.grace, &self.tombstone_grace].into_iter().flatten() {
            words::duration(grace).ok_or_else(|| {
                Stop::new(USAGE, "a grace is a whole number and one of ms, s, m, h, d, such as 24h")
            })?;
        }
        Ok(())
    }

    async fn ask(&self) -> Result<SweepPage, Stop> {
        let client = client_at(&self.socket).build();
        let client = client.map_err(|error| Stop::new(USAGE, error.detail()))?;
        let mut request = SweepRequest {
            after: None,
            expired_grace: self.grace.clone(),
            tombstone_grace: self.tombstone_grace.clone(),
            dry_run: self.dry_run,
        };
        let mut total = SweepPage::default();
        loop {
            let page = operator::post(&client, OperatorRoute::Sweep, &request).await;
            let page = page.map_err(|error| Stop::new(FAILED, error))?;
            request.after = add(&mut total, page);
            if request.after.is_none() {
                return Ok(total);
            }
        }
    }

    async fn open_and_sweep(&self, config: &std::path::Path) -> Result<SweepPage, Stop> {
        let config = check::load(config)?;
        let grace = |text: &Option<String>, default| {
            text.as_deref().and_then(words::duration).unwrap_or(default)
        };
        let graces = Graces {
            expired: grace(&self.grace, config.sweep.expired_grace),
            tombstone: grace(&self.tombstone_grace, config.sweep.tombstone_grace),
        };
        if graces.tombstone < limits::TOMBSTONE_GRACE_LEAST {
            return Err(Stop::new(USAGE, "tombstones are kept for at least 48h"));
        }
        let store = open::store(&config).await?;
        let now = SystemClock::default().now();
        let (mut total, mut after) = (SweepPage::default(), None::<Name>);
        loop {
            let page = sweep_page(&*store, graces, now, after.as_ref(), self.dry_run)
                .await
                .map_err(|error| Stop::new(FAILED, error))?;
            after = add(&mut total, page).map(|next| Name::from_text(&next));
            if after.is_none() {
                return Ok(total);
            }
        }
    }
}

/// Adds a step to the whole; gives where to go on.
fn add(total: &mut SweepPage, page: SweepPage) -> Option<String> {
    total.examined += page.examined;
    total.expired += page.expired;
    total.tombstones += page.tombstones;
    total.unreadable += page.unreadable;
    total.requests += page.requests;
    page.next
}
