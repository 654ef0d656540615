//! Real faults on real processes: the release binary with a journal, on a server of S3 and KMS behind a relay, and
//! clients that go on through all of it. After healing a sidecar that has seen nothing must find everything that
//! was acknowledged: what was stored opens, what was revoked is refused, what was deleted is not back.

use std::{
    path::PathBuf,
    process::{Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use lunasec_core::limits;
use lunasec_sidecar::{env::SystemEntropy, keys::LocalKeys};
use lunasec_tests::{
    Dice, Sidecar,
    aws::{Cloud, Engine, Server, wait},
    proxy::Proxy,
    sidecar::PATIENCE,
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
    /// What else it is told.
    more: Vec<(&'static str, &'static str)>,
    arguments: Vec<&'static str>,
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
        Self::in_directory(cloud, tempfile::tempdir().unwrap())
    }

    fn in_directory(mut cloud: Cloud, temporary: tempfile::TempDir) -> Self {
        let directory = temporary.path().to_owned();
        let direct = cloud.place.endpoint.clone().unwrap();
        let proxy = wait(Proxy::before(&direct));
        cloud.place.endpoint = Some(proxy.endpoint.clone());
        cloud.keys.endpoint = Some(proxy.endpoint.clone());
        let (here, keeps, more, arguments) = (None, false, vec![], vec![]);
        let _temporary = temporary;
        Self { cloud, proxy, direct, here, directory, _temporary, keeps, more, arguments }
    }

    /// With a standby key and what was seen on the disk, so that a start with everything away goes on.
    fn keeping(mut self) -> Self {
        LocalKeys::create(&self.standby(), &SystemEntropy::default()).unwrap();
        self.keeps = true;
        self
    }

    fn standby(&self) -> PathBuf {
        self.directory.join("standby.key")
    }

    fn start(&mut self) {
        let started = self.try_start();
        let started =
            started.unwrap_or_else(|(status, log)| panic!("it ended with {status}:\n{log}"));
        self.here = Some(started);
    }

    fn try_start(&self) -> Result<Sidecar, (ExitStatus, String)> {
        let config = self.cloud.configure(&self.directory, "");
        let lunasec = self.cloud.lunasec();
        // A write beyond a limit must fail, not kill.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(lunasec.get_program());
        for (name, value) in lunasec.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.args(["serve", "--config"]).arg(config).args(&self.arguments);
        command.env("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", "journal");
        command.envs(self.more.iter().copied());
        if self.keeps {
            command.env("LUNASEC_DEGRADE__DISK_CACHE", "true");
            command.env("LUNASEC_DEGRADE__STANDBY_KEY_FILE", self.standby());
        }
        Sidecar::spawn(command, &self.directory, self.directory.join("lunasec.sock"))
    }

    /// A sidecar that remembers nothing, on the same bucket, and its directory.
    fn fresh(&self) -> (tempfile::TempDir, Sidecar) {
        let directory = tempfile::tempdir().unwrap();
        let variables = [
            ("LUNASEC_STORAGE__ENDPOINT", self.direct.as_str()),
            ("LUNASEC_KEYS__ENDPOINT", self.direct.as_str()),
        ];
        let sidecar = self.cloud.sidecar_with(directory.path(), "", &variables);
        (directory, sidecar)
    }

    fn here(&self) -> &Sidecar {
        self.here.as_ref().unwrap()
    }

    fn begin(&mut self) -> Clients {
        self.start();
        Clients::begin(self.here(), std::iter::repeat_with(Book::default).take(CLIENTS).collect())
    }

    fn pending(&self) -> u64 {
        let status = lunasec_tests::raw::get_tcp(&self.here().admin(), "/status").json();
        status["journal"]["pending"].as_u64().unwrap()
    }

    fn is_drained(&self) -> bool {
        self.pending() == 0
    }

    /// However long that takes: only what stands still is stuck.
    fn drain(&self) {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        while least > 0 {
            let pending = self.pending();
            if pending < least {
                (least, since) = (pending, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "{pending} are stuck\n{}", self.here().log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// All is well again: what was promised is there, for a sidecar that remembers nothing.
    fn check(self, what: &str, books: &[Book]) {
        self.drain();
        let (_directory, fresh) = self.fresh();
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
