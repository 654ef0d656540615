//! What works when: each cell of the tables in `docs/outages.md` is what a vault does, and is compared to the letter.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lunasec_api::{Code, Durability};
use lunasec_core::{grant::Action, limits, secret::DataKey, token::Token};
use lunasec_sidecar::{
    db::Db,
    env::{Clock, SystemEntropy, random},
    failure::Failure,
    journal::Bounds,
    keys::{Context, KeyError, Wrapper},
    vault::{Age, Terms, Verdict},
};
use lunasec_tests::{
    Backend, World,
    disk::Disk,
    grants::session,
    world::{Bridges, HOUR, START, call, new_value},
};
use tempfile::TempDir;

const BOUNDS: Bounds = Bounds { bytes: limits::JOURNAL_BYTES, age: limits::JOURNAL_AGE };
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A keeper of keys that can be away.
struct Keeper {
    inner: Arc<dyn Wrapper>,
    away: Arc<AtomicBool>,
}

impl Keeper {
    fn check(&self) -> Result<(), KeyError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(KeyError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Wrapper for Keeper {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.check()?;
        self.inner.make(context).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.check()?;
        self.inner.unwrap(context, wrapped).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.check()?;
        self.inner.rewrap(context, wrapped).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}

/// The columns of the tables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Column {
    AllIsWell,
    StorageAway,
    KeysAway,
    BothAway,
    Restarted,
    RestartedWithBoth,
}

use Column::{AllIsWell, BothAway, KeysAway, Restarted, RestartedWithBoth, StorageAway};

const COLUMNS: [Column; 6] =
    [AllIsWell, StorageAway, KeysAway, BothAway, Restarted, RestartedWithBoth];

/// A sidecar in the state of one column, and what it has seen.
struct Scene {
    here: World,
    seen: Token,
    unseen: Token,
    /// Sealed under a key that is not in memory.
    old: Token,
    journaled: Option<Token>,
    _backends: [Backend; 2],
    _directory: TempDir,
}

impl Scene {
    async fn new(column: Column, journals: bool) -> Self {
        let (base, directory) = (Backend::memory(), tempfile::tempdir().unwrap());
        let keys_away = Arc::new(AtomicBool::new(false));
        let backend = with_keeper(&base, &keys_away);
        let disk = Disk::default();
        let path = (column == RestartedWithBoth).then(|| directory.path().to_owned());
        let bridges = |disk: &Disk, starts| Bridges {
            journal: journals.then(|| (disk.ledger() as _, BOUNDS)),
            disk: path.clone(),
            starts,
        };
        let there = World::on(&base);
        let old = there.tokenize("old").await;
        let mut here = World::bridging(&backend, bridges(&disk, Duration::ZERO)).await;
        for world in [&there, &here] {
            world.clock.pass(DAY);
        }
        let (seen, unseen) = (there.tokenize("seen").await, there.tokenize("unseen").await);
        for token in [&seen, &unseen] {
            there.vault.metadata_set(&call(), token, "{}", None).await.unwrap();
            there.grant(&session("alice"), token, &[Action::Detokenize], DAY).await.unwrap();
        }
        // Everything that asks once: its answers, its keys.
        here.tokenize("warms").await;
        here.detokenize(&seen).await.unwrap();
        here.vault.metadata_get(&call(), &seen).await.unwrap();
        here.verdict(&session("alice"), &seen, Action::Detokenize).await.unwrap();
        let journaled = match journals {
            true => Some(journal_one(&here).await),
            false => None,
        };
        if matches!(column, Restarted | RestartedWithBoth) {
            let now = here.clock.now();
            drop(here);
            if let Some(path) = &path {
                released(path).await;
            }
            let starts = Duration::from_millis(now - START);
            here = World::bridging(&backend, bridges(&disk.pull(), starts)).await;
        }
        keys_away.store(!matches!(column, AllIsWell | StorageAway), Ordering::SeqCst);
        if !matches!(column, AllIsWell | KeysAway) {
            away(&here).await;
        }
        here.clock.pass(Duration::from_secs(1));
        let _backends = [base, backend];
        Self { here, seen, unseen, old, journaled, _backends, _directory: directory }
    }

    async fn reveal(&self, token: &Token) -> String {
        let revealed = self.here.vault.detokenize(&call(), token).await;
        read(revealed.map(|revealed| revealed.age))
    }

    async fn describe(&self, token: &Token) -> String {
        let described = self.here.vault.metadata_get(&call(), token).await;
        read(described.map(|described| described.age))
    }

    async fn set(&self, token: &Token) -> String {
        let set = self.here.vault.metadata_set(&call(), token, "{\"new\":1}", None).await;
        written(set.map(|set| set.durability))
    }

    async fn grant(&self, token: &Token) -> String {
        let terms = Terms { actions: vec![Action::Detokenize], expires_in: HOUR };
        let tokens = [Ok(token.clone())];
        let made = self.here.vault.grants_create(&call(), &session("bob"), &tokens, &terms).await;
        written(made.and_then(|mut items| items.pop().unwrap()).map(|made| made.durability))
    }

    async fn verify(&self, token: &Token) -> String {
        let (alice, tokens) = (session("alice"), [Ok(token.clone())]);
        let verified =
            self.here.vault.grants_verify(&call(), &alice, &tokens, Action::Detokenize).await;
        read(verified.and_then(|mut items| items.pop().unwrap()).map(|verified| verified.age))
    }

    async fn revoke(&self, token: &Token) -> String {
        let (alice, tokens) = (session("alice"), [token.clone()]);
        let revoked = self.here.vault.grants_revoke(&call(), &alice, &tokens).await;
        written(revoked.map(|revoked| revoked.durability))
    }

    async fn revoke_all(&self) -> String {
        let revoked = self.here.vault.grants_revoke_all(&call(), &session("alice")).await;
        written(revoked.map(|revoked| revoked.durability))
    }

    async fn delete(&self, token: &Token) -> String {
        let deleted = self.here.vault.delete(&call(), &[Ok(token.clone())]).await;
        written(deleted.and_then(|mut items| items.pop().unwrap()))
    }

    async fn tokenize(&self) -> String {
        let given = self.here.vault.tokenize(&call(), new_value("value")).await;
        written(given.map(|given| given.durability))
    }

    /// The cell of a row.
    async fn cell(&self, row: &str) -> String {
        match row {
            "tokenize" => self.tokenize().await,
            "detokenize, seen before" => self.reveal(&self.seen).await,
            "detokenize, journaled here" => match &self.journaled {
                Some(token) => self.reveal(token).await,
                None => "–".into(),
            },
            "detokenize, never seen" => self.reveal(&self.unseen).await,
            "detokenize, never seen, under a key never seen" => self.reveal(&self.old).await,
            "metadata/get, seen before" => self.describe(&self.seen).await,
            "metadata/get, never seen" => self.describe(&self.unseen).await,
            "metadata/set, the value seen before" => self.set(&self.seen).await,
            "metadata/set, the value never seen" => self.set(&self.unseen).await,
            "grants/create, the token seen before" => self.grant(&self.seen).await,
            "grants/create, the token never seen" => self.grant(&self.unseen).await,
            "grants/verify, seen before" => self.verify(&self.seen).await,
            "grants/verify, never seen" => self.verify(&self.unseen).await,
            "grants/revoke, seen before" => self.revoke(&self.seen).await,
            "grants/revoke, never seen" => self.revoke(&self.unseen).await,
            "grants/revoke, the whole session" => self.revoke_all().await,
            "delete, seen before" => self.delete(&self.seen).await,
            "delete, never seen" => self.delete(&self.unseen).await,
            other => panic!("the document has a row that no test knows: {other}"),
        }
    }
}

fn with_keeper(base: &Backend, away: &Arc<AtomicBool>) -> Backend {
    let (store, inner, away) = ((base.store)(), (base.wrapper)(), Arc::clone(away));
    let keeper = move || -> Arc<dyn Wrapper> {
        Arc::new(Keeper { inner: Arc::clone(&inner), away: Arc::clone(&away) })
    };
    Backend::new(Box::new(move || Arc::clone(&store)), Box::new(keeper))
}

/// Storage is away, and that is known.
async fn away(world: &World) {
    world.store.away.store(true, Ordering::SeqCst);
    for _ in 0..limits::BREAKER_FAILURES {
        let failure = world.detokenize(&nobodys()).await.unwrap_err();
        assert_eq!(failure, Code::StorageUnavailable);
    }
}

fn nobodys() -> Token {
    Token::from_random(random(&SystemEntropy::default()).unwrap())
}

/// One that waits; then storage is back.
async fn journal_one(world: &World) -> Token {
    away(world).await;
    let token = world.tokenize("journaled").await;
    world.store.away.store(false, Ordering::SeqCst);
    world.clock.pass(limits::BREAKER_PAUSE);
    // The probe of the first finds out.
    while world.detokenize(&nobodys()).await != Err(Code::NotFound) {
        tokio::task::yield_now().await;
    }
    token
}

/// Waits until the files of a state directory are nobody's any more, and all is written to them.
async fn released(directory: &Path) {
    for file in ["cache.redb", "standby.redb"] {
        while Db::open(&directory.join(file)).is_err() {
            tokio::task::yield_now().await;
        }
    }
}

fn read(result: Result<Age, Failure>) -> String {
    match result {
        Ok(age) if age == Age::default() => "answered".into(),
        Ok(_) => "answered, with its age".into(),
        Err(failure) => format!("`{}`", failure.code),
    }
}

fn written(result: Result<Durability, Failure>) -> String {
    match result {
        Ok(Durability::Stored) => "`stored`".into(),
        Ok(Durability::Journaled) => "`journaled`".into(),
        Err(failure) => format!("`{}`", failure.code),
    }
}

/// The rows of the table under a heading of the document.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let text = include_str!("../../docs/outages.md");
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells =
        |row: &str| row.trim_matches('|').split('|').map(|it| it.trim().to_owned()).collect();
    rows.map(cells).filter(|row: &Vec<String>| !row[0].starts_with("---")).skip(1).collect()
}

async fn compare(heading: &str, journals: bool) {
    let rows = documented(heading);
    assert_eq!(rows.len(), 18, "a row is missing");
    let mut wrong = Vec::new();
    for row in rows {
        assert_eq!(row.len(), 1 + COLUMNS.len(), "{row:?}");
        let mut does = vec![row[0].clone()];
        for column in COLUMNS {
            does.push(Scene::new(column, journals).await.cell(&row[0]).await);
        }
        if does != row {
            wrong.push(format!("| {} |", does.join(" | ")));
        }
    }
    assert!(wrong.is_empty(), "what it does is not what is documented:\n{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_works_when_with_a_journal_is_what_is_documented() {
    compare("With a journal", true).await;
}

#[tokio::test]
async fn what_works_when_without_a_journal_is_what_is_documented() {
    compare("Without a journal", false).await;
}

#[tokio::test]
async fn after_a_restart_a_grant_is_made_beside_those_that_the_disk_cache_knows() {
    let Scene { here, seen, .. } = Scene::new(RestartedWithBoth, true).await;
    let alice = session("alice");
    here.grant(&alice, &seen, &[Action::Delete], DAY).await.unwrap();
    for action in [Action::Detokenize, Action::Delete] {
        let verdict = here.verdict(&alice, &seen, action).await;
        assert!(matches!(verdict, Ok(Verdict::Valid(_))), "{action:?}: {verdict:?}");
    }
}
