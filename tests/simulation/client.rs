//! Clients of the sidecars: they ask for this and that, of few tokens and sessions, so that they meet.

use std::{sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use lunasec_api::{Code, Durability, Encoding};
use lunasec_core::{grant::Action, ids::Session, secret::Plaintext, token::Token};
use lunasec_sidecar::{
    failure::Failure,
    vault::{Call, Form, NewValue, Terms, Verdict},
};
use lunasec_tests::{
    grants::session,
    world::{HOUR, call, call_with},
};
use tokio::pin;

use crate::{
    luck::Luck,
    model::{Asked, Fate, Verb},
    scene::Scene,
    site::{Sidecar, Site},
};

/// Sessions that clients speak of at once; after some verbs, a new one takes the place of the oldest.
const SESSIONS: usize = 3;
/// See [`SESSIONS`].
const VERBS: usize = 30;
/// Tokens that are used at once, about.
const TOKENS: usize = 6;
/// Idempotency keys of each sidecar's clients.
const KEYS: u64 = 4;

/// A token, and where its value is safe.
type Item = Result<(Token, Durability), Code>;

/// What came of a verb.
pub(crate) enum Answer {
    Given(Result<Vec<Item>, Code>),
    Value(Result<String, Code>),
    Metadata(Result<String, Code>),
    Verdict(Result<Verdict, Code>),
    /// Of a write, where it is safe; none where there was nothing to do.
    Written(Result<Option<Durability>, Code>),
}

/// Asks, again and again, for as long as the scene is played.
pub(crate) async fn live(scene: Arc<Scene>, site: Arc<Site>, mut luck: Luck) {
    loop {
        let pace = *scene.pace.lock().unwrap();
        tokio::time::sleep(luck.millis(0, pace)).await;
        let Some(sidecar) = site.running().filter(|_| !site.idles()) else { continue };
        let verb = draw(&mut luck, &scene);
        ask(&scene, &sidecar, verb, luck.draw()).await;
    }
}

fn draw(luck: &mut Luck, scene: &Scene) -> Verb {
    let known = scene.model().tokens.len();
    let who = scene.model().ops.len() / VERBS + luck.place(SESSIONS);
    // The last few, so that those who ask meet.
    let what = known - 1 - luck.place(known.clamp(1, TOKENS));
    match luck.below(100) {
        0..8 => Verb::Tokenize {
            batch: luck.percent(30).then(|| 2 + luck.place(2)),
            key: luck.percent(50).then(|| luck.below(KEYS)),
            metadata: luck.percent(30),
            expires: luck.percent(20).then(|| luck.millis(40_000, 200_000)),
        },
        8..30 => Verb::Reveal(what),
        30..38 => Verb::Describe(what),
        38..48 => Verb::Set(what),
        48..50 => Verb::Delete(what),
        50..66 => {
            let time = if luck.percent(20) { Duration::from_secs(60) } else { 20 * HOUR };
            Verb::Grant(who, what, time)
        }
        66..90 => Verb::Verify(who, what),
        90..95 => Verb::Revoke(who, what),
        _ => Verb::RevokeAll(who),
    }
}

/// Asks for one thing, and lets the model judge the answer.
pub(crate) async fn ask(scene: &Scene, sidecar: &Sidecar, verb: Verb, tag: u64) {
    let (site, start) = (sidecar.site, scene.at());
    let text = match verb {
        // A retry has to send the same.
        Verb::Tokenize { key: Some(key), .. } => format!("{{\"key\":\"{site} {key}\"}}"),
        _ => format!("{{\"tag\":\"{tag:x}\"}}"),
    };
    let verb = match verb {
        // Of the same form each time, too.
        Verb::Tokenize { key: Some(key), .. } => Verb::Tokenize {
            batch: (key % 2 == 1).then_some(2),
            key: Some(key),
            metadata: key % 4 > 1,
            expires: None,
        },
        verb => verb,
    };
    let op = scene.model().begin(verb.clone(), (site, sidecar.born), text.clone(), start);
    scene.note(format_args!("ask  {site} #{op} {verb:?}"));
    scene.count("verbs");
    let answer = {
        let (performed, gone) = (perform(scene, sidecar, &verb, &text), sidecar.gone());
        pin!(performed, gone);
        match select(performed, gone).await {
            Either::Left((answer, _)) => answer,
            Either::Right(_) => {
                scene.model().end(op, scene.at(), Fate::Unknown);
                return scene.note(format_args!("lost {site} #{op}"));
            }
        }
    };
    let (now, network) = (scene.at(), scene.network());
    let (trouble, answered) = (network.trouble[site], network.answered[site]);
    drop(network);
    let up = scene.model().up(site, trouble);
    let (born, keeps) = (sidecar.born, sidecar.keeps);
    let asked = Asked { site, start, now, up, answered, born, keeps };
    if answered < sidecar.born && matches!(answer, Answer::Value(Ok(_)) | Answer::Verdict(Ok(_))) {
        scene.count("answers out of what was kept over a restart");
    }
    told(scene, &asked, op, &verb, &text, answer);
}

/// What each verb comes to.
pub(crate) async fn perform(scene: &Scene, sidecar: &Sidecar, verb: &Verb, text: &str) -> Answer {
    let vault = &sidecar.vault;
    let token = verb.token().map(|at| scene.model().tokens[at].token.clone());
    let token = || token.clone().unwrap();
    let who = || -> Session { session(&format!("session {}", verb.session().unwrap())) };
    let safe = |durability| Ok(Some(durability));
    match verb {
        Verb::Tokenize { key, .. } => {
            let call = match key {
                Some(key) => call_with(&format!("key-{key}")),
                None => call(),
            };
            Answer::Given(tokenize(sidecar, &call, verb, text).await)
        }
        Verb::Reveal(_) => {
            let revealed = vault.detokenize(&call(), &token()).await;
            let plain = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            Answer::Value(revealed.map(|value| plain(value.expose())).map_err(code))
        }
        Verb::Describe(_) => {
            let described = vault.metadata_get(&call(), &token()).await;
            Answer::Metadata(described.map(|told| told.metadata).map_err(code))
        }
        Verb::Set(_) => {
            let set = vault.metadata_set(&call(), &token(), text, None).await;
            Answer::Written(set.map_err(code).and_then(|set| safe(set.durability)))
        }
        Verb::Delete(_) => {
            let deleted = single(vault.delete(&call(), &[Ok(token())]).await);
            Answer::Written(deleted.and_then(safe))
        }
        Verb::Grant(.., time) => {
            let terms = Terms { actions: vec![Action::Detokenize], expires_in: *time };
            let granted = vault.grants_create(&call(), &who(), &[Ok(token())], &terms).await;
            Answer::Written(single(granted).and_then(|granted| safe(granted.durability)))
        }
        Verb::Verify(..) => {
            let action = Action::Detokenize;
            let verified = vault.grants_verify(&call(), &who(), &[Ok(token())], action).await;
            Answer::Verdict(single(verified).map(|verified| verified.verdict))
        }
        Verb::Revoke(..) => {
            let revoked = vault.grants_revoke(&call(), &who(), &[token()]).await;
            Answer::Written(
                revoked
                    .map_err(code)
                    .map(|revoked| (revoked.count != Some(0)).then_some(revoked.durability)),
            )
        }
        Verb::RevokeAll(_) => {
            let revoked = vault.grants_revoke_all(&call(), &who()).await;
            Answer::Written(revoked.map_err(code).and_then(|revoked| safe(revoked.durability)))
        }
    }
}

async fn tokenize(
    sidecar: &Sidecar,
    call: &Call,
    verb: &Verb,
    text: &str,
) -> Result<Vec<Item>, Code> {
    let Verb::Tokenize { batch, metadata, expires, .. } = *verb else { return Ok(Vec::new()) };
    let value = |at: usize| NewValue {
        value: Plaintext::new(value(text, at).into_bytes()),
        form: Form::Value(Encoding::Utf8),
        metadata: metadata.then(|| text.into()),
        expires_in: expires,
    };
    let given = |given: lunasec_sidecar::vault::Given| (given.token, given.durability);
    match batch {
        None => {
            let one = sidecar.vault.tokenize(call, value(0)).await;
            one.map(|one| vec![Ok(given(one))]).map_err(code)
        }
        Some(count) => {
            let values = (0..count).map(|at| Ok(value(at))).collect();
            let all = sidecar.vault.tokenize_batch(call, values).await.map_err(code)?;
            Ok(all.into_iter().map(|one| one.map(given).map_err(code)).collect())
        }
    }
}

/// The value of an item.
fn value(text: &str, at: usize) -> String {
    format!("value {at} of {text}")
}

#[expect(clippy::needless_pass_by_value, reason = "as errors are mapped")]
fn code(failure: Failure) -> Code {
    failure.code
}

fn single<T>(items: Result<Vec<Result<T, Failure>>, Failure>) -> Result<T, Code> {
    items.map_err(code)?.pop().unwrap().map_err(code)
}

/// Takes an answer into the model.
fn told(scene: &Scene, asked: &Asked, op: usize, verb: &Verb, text: &str, answer: Answer) {
    let (site, mut model) = (asked.site, scene.model());
    let fate = |answer: &Result<Option<Durability>, Code>| match answer {
        Ok(Some(durability)) => Fate::from(*durability),
        _ => Fate::Unknown,
    };
    match answer {
        Answer::Given(given) => {
            scene.note(format_args!("told {site} #{op} {:?}", tokens(&given)));
            model.end(op, asked.now, Fate::Unknown);
            let items = given.unwrap_or_default();
            if !items.is_empty() && items.iter().all(Result::is_ok) {
                model.end(op, asked.now, Fate::Stored);
            }
            for (place, (token, durability)) in items.into_iter().enumerate().filter_map(kept) {
                model.given(asked, (op, place), token, value(text, place), durability.into());
            }
        }
        Answer::Value(answer) => {
            scene.note(format_args!("told {site} #{op} {answer:?}"));
            model.end(op, asked.now, Fate::Unknown);
            model.revealed(asked, verb.token().unwrap(), &answer);
        }
        Answer::Metadata(answer) => {
            scene.note(format_args!("told {site} #{op} {answer:?}"));
            model.end(op, asked.now, Fate::Unknown);
            model.found(asked, verb.token().unwrap(), answer.as_ref().err().copied());
            if let Ok(text) = answer {
                model.described(asked, verb.token().unwrap(), &text);
            }
        }
        Answer::Verdict(answer) => {
            scene.note(format_args!("told {site} #{op} {answer:?}"));
            model.end(op, asked.now, Fate::Unknown);
            model.verified(asked, verb.session().unwrap(), verb.token().unwrap(), &answer);
        }
        Answer::Written(answer) => {
            scene.note(format_args!("told {site} #{op} {answer:?}"));
            model.end(op, asked.now, fate(&answer));
        }
    }
}

fn kept((place, item): (usize, Item)) -> Option<(usize, (Token, Durability))> {
    item.ok().map(|given| (place, given))
}

/// Without what is secret elsewhere, and long.
fn tokens(given: &Result<Vec<Item>, Code>) -> Result<Vec<Result<Durability, Code>>, Code> {
    let shown = |item: &Item| item.as_ref().map(|(_, safe)| *safe).map_err(|code| *code);
    given.as_ref().map(|items| items.iter().map(shown).collect()).map_err(|code| *code)
}
