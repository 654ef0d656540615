//! Real faults on real processes: the release binary with a journal, on a server of S3 and KMS behind a relay, and
//! clients that go on through all of it. After healing a sidecar that has seen nothing must find everything that
//! was acknowledged: what was stored opens, what was revoked is refused, what was deleted is not back.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use lunasec_core::limits;
use lunasec_sidecar::{env::SystemEntropy, keys::LocalKeys};
use lunasec_tests::{
    Dice, Sidecar,
    aws::{Cloud, Engine, Server, wait},
    proxy::Proxy,
    sidecar::{PATIENCE, eventually},
};

mod clients;
mod disk;
mod kills;
mod throttled;

use clients::{Book, Clients};

const CLIENTS: usize = 4;

/// A sidecar with a journal, and what lies behind its relay.
pub(crate) struct Site {
    cloud: Cloud,
    proxy: Proxy,
    /// Where the server is without the relay.
    direct: String,
    here: Option<Sidecar>,
    directory: PathBuf,
    /// What was mounted or made for this test.
    _temporary: tempfile::TempDir,
    /// Whether what was seen opens after a restart with everything away.
    keeps: bool,
}

impl Site {
    fn new(engine: Engine) -> Self {
        Self::of(wait(Cloud::new(engine)))
    }

    /// On a server of its own.
    fn on(engine: Engine, server: &Server) -> Self {
        Self::of(wait(Cloud::at(engine, server.endpoint.clone())))
    }

    fn of(cloud: Cloud) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let directory = temporary.path().to_owned();
        Self::kept(cloud, temporary, directory, false)
    }

    fn kept(
        mut cloud: Cloud,
        temporary: tempfile::TempDir,
        directory: PathBuf,
        keeps: bool,
    ) -> Self {
        let direct = cloud.place.endpoint.clone().unwrap();
        let proxy = wait(Proxy::before(&direct));
        cloud.place.endpoint = Some(proxy.endpoint.clone());
        cloud.keys.endpoint = Some(proxy.endpoint.clone());
        if keeps {
            LocalKeys::create(&directory.join("standby.key"), &SystemEntropy::default()).unwrap();
        }
        let (here, _temporary) = (None, temporary);
        Self { cloud, proxy, direct, here, directory, _temporary, keeps }
    }

    fn start(&mut self) {
        let standby = self.directory.join("standby.key");
        let mut variables = vec![("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", "journal")];
        if self.keeps {
            variables.push(("LUNASEC_DEGRADE__DISK_CACHE", "true"));
            variables.push(("LUNASEC_DEGRADE__STANDBY_KEY_FILE", standby.to_str().unwrap()));
        }
        self.here = Some(self.cloud.sidecar_with(&self.directory, "", &variables));
    }

    fn here(&self) -> &Sidecar {
        self.here.as_ref().unwrap()
    }

    fn begin(&mut self) -> Clients {
        self.start();
        Clients::begin(self.here(), std::iter::repeat_with(Book::default).take(CLIENTS).collect())
    }

    fn is_drained(&self) -> bool {
        let status = lunasec_tests::raw::get_tcp(&self.here().admin(), "/status").json();
        status["journal"]["pending"] == 0
    }

    /// All is well again: what was promised is there, for a sidecar that remembers nothing.
    fn check(mut self, what: &str, books: &[Book]) {
        eventually("the journal is drained", || self.is_drained());
        self.cloud.place.endpoint = Some(self.direct.clone());
        self.cloud.keys.endpoint = Some(self.direct.clone());
        let directory = tempfile::tempdir().unwrap();
        let fresh = self.cloud.sidecar(directory.path(), "");
        let broken: Vec<_> = books.iter().flat_map(|book| book.broken(&fresh)).collect();
        let sum = |of: fn(&Book) -> usize| books.iter().map(of).sum::<usize>();
        let (acknowledged, journaled) = (sum(|book| book.acknowledged), sum(|book| book.journaled));
        let (refused, promises) = (sum(|book| book.refused), sum(Book::promises));
        println!(
            "{what}: {acknowledged} acknowledged, of them {journaled} by the journal, {refused} refused, \
             {promises} promises checked, {} broken",
            broken.len()
        );
        assert!(broken.is_empty(), "{}\n{}", broken.join("\n"), self.here().log());
        assert!(journaled > 0, "the journal took nothing: that was no outage");
    }

    /// Clients before, during and after a fault.
    fn suffers(mut self, what: &str, fault: impl FnOnce(&Self, &Clients)) {
        let clients = self.begin();
        clients.wait_for(60);
        fault(&self, &clients);
        clients.wait_for(60);
        let books = clients.end();
        self.check(what, &books);
    }
}

/// Long enough that nobody waits for storage any more, and that much is journaled.
const MANY: usize = 300;

#[test]
fn a_server_that_is_stopped_and_goes_on_costs_nothing_that_was_acknowledged() {
    for engine in [Engine::Moto, Engine::LocalStack] {
        let server = Server::start(engine);
        Site::on(engine, &server).suffers("SIGSTOP of the server", |_, clients| {
            let paused = server.pause();
            clients.wait_for(MANY);
            drop(paused);
        });
    }
}

#[test]
fn a_relay_that_is_killed_again_and_again_in_the_middle_of_requests_costs_nothing() {
    Site::new(Engine::Moto).suffers("relay killed", |site, clients| {
        let mut dice = Dice::new();
        for _ in 0..20 {
            site.proxy.gone.send(true).unwrap();
            clients.wait_for(dice.below(30));
            site.proxy.gone.send(false).unwrap();
            clients.wait_for(dice.below(30));
        }
    });
}

#[test]
fn connections_that_are_refused_for_a_while_cost_nothing() {
    for engine in [Engine::Moto, Engine::LocalStack] {
        Site::new(engine).suffers("connections refused", |site, clients| {
            site.proxy.gone.send(true).unwrap();
            clients.wait_for(MANY);
            site.proxy.gone.send(false).unwrap();
        });
    }
}

#[test]
fn packets_that_are_dropped_for_a_while_cost_nothing() {
    use lunasec_tests::namespace::{drop_packets, in_network_namespace};
    let test = "rounds::packets_that_are_dropped_for_a_while_cost_nothing";
    in_network_namespace(test, || {
        Site::new(Engine::Moto).suffers("packets dropped", |_, clients| {
            drop_packets(true);
            clients.wait_for(MANY);
            drop_packets(false);
        });
    });
}

#[test]
fn replies_that_are_slow_and_now_and_then_too_late_cost_nothing() {
    Site::new(Engine::Moto).suffers("slow and jittery", |site, clients| {
        // So much for each piece of a request and of its answer, at most: some attempts are late, then nearly all.
        for (most, requests) in [(limits::STORAGE_ATTEMPT_TIME * 2 / 3, 16), (PATIENCE / 6, 60)] {
            site.proxy.slow.send(most).unwrap();
            clients.wait_for(requests);
        }
        site.proxy.slow.send(Duration::ZERO).unwrap();
    });
}
