//! What holds when many grant and revoke for the same session at once, in one sidecar and in many.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use lunasec_core::{grant::Action, token::Token};
use lunasec_sidecar::{
    store::{Name, Store},
    vault::Verdict,
};

use super::{WRITERS, race};
use crate::{
    Backend, World,
    grants::session,
    sidecar::random_hex,
    world::{HOUR, START},
};

const REVEAL: [Action; 1] = [Action::Detokenize];

/// Everything, in turn.
pub async fn all(backend: &Backend, rounds: usize) {
    for _ in 0..rounds {
        of_many_extensions_the_longest_wins(backend).await;
        the_first_grants_of_a_session_make_one_generation(backend).await;
        what_is_granted_after_a_revocation_counts(backend).await;
        a_revocation_takes_back_what_was_granted_before(backend).await;
        many_revocations_count_a_token_once(backend).await;
    }
}

/// As many sidecars as writers, and a session that none of them knows yet.
fn sidecars(backend: &Backend) -> (Vec<Arc<World>>, lunasec_core::ids::Session) {
    let sidecars = (0..WRITERS).map(|_| Arc::new(World::on(backend))).collect();
    (sidecars, session(&random_hex(8)))
}

async fn verdicts(sidecars: &[Arc<World>], name: &str, token: &Token) -> Vec<Verdict> {
    let session = session(name);
    let verdicts = sidecars.iter().map(|one| one.verdict(&session, token, Action::Detokenize));
    join_all(verdicts).await.into_iter().map(Result::unwrap).collect()
}

async fn of_many_extensions_the_longest_wins(backend: &Backend) {
    let (sidecars, session) = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    for first in [true, false] {
        // The second time they find a grant.
        let hours = move |at: usize| u32::try_from(at + 1).unwrap() * if first { 1 } else { 2 };
        let ends = race(|at| {
            let (one, session, token) = (Arc::clone(&sidecars[at]), session.clone(), token.clone());
            async move { one.grant(&session, &token, &REVEAL, hours(at) * HOUR).await.unwrap() }
        })
        .await;
        let end = |at| START + u64::from(hours(at)) * 3_600_000;
        let last = end(WRITERS - 1);
        for (at, granted) in ends.into_iter().enumerate() {
            assert!((end(at)..=last).contains(&granted), "{at}: {granted}");
        }
        let found = verdicts(&sidecars, session.expose(), &token).await;
        assert_eq!(found, vec![Verdict::Valid(last); WRITERS]);
    }
}

async fn the_first_grants_of_a_session_make_one_generation(backend: &Backend) {
    let (sidecars, session) = sidecars(backend);
    let sessions = async || sidecars[0].store.list(Name::SESSIONS, None, 1_000_000).await.unwrap();
    let before = sessions().await.len();
    let tokens = join_all(sidecars.iter().map(|one| one.tokenize("value"))).await;
    let tokens = Arc::new(tokens);
    race(|at| {
        let (one, session) = (Arc::clone(&sidecars[at]), session.clone());
        let tokens = Arc::clone(&tokens);
        async move { one.grant(&session, &tokens[at], &REVEAL, HOUR).await.unwrap() }
    })
    .await;
    assert_eq!(sessions().await.len() - before, 1);
    // Those of another generation would not count.
    for token in &*tokens {
        let found = verdicts(&sidecars[..1], session.expose(), token).await;
        assert_eq!(found, [Verdict::Valid(START + 3_600_000)]);
    }
}

/// Whoever is slow and grants for what was revoked meanwhile must not undo what came later.
async fn what_is_granted_after_a_revocation_counts(backend: &Backend) {
    let (sidecars, session) = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    race(|at| {
        let (one, session, token) = (Arc::clone(&sidecars[at]), session.clone(), token.clone());
        async move {
            if at % 4 == 0 {
                one.revoke_all(&session).await.unwrap();
            }
            one.grant(&session, &token, &REVEAL, HOUR).await.unwrap();
        }
    })
    .await;
    // One more revocation, and grants that begin after it, beside some that began before.
    let late = race(|at| {
        let (one, session, token) = (Arc::clone(&sidecars[at]), session.clone(), token.clone());
        async move {
            if at == 0 {
                one.revoke_all(&session).await.unwrap();
            }
            one.grant(&session, &token, &REVEAL, 2 * HOUR).await.unwrap()
        }
    });
    let last = START + 2 * 3_600_000;
    assert_eq!(late.await, vec![last; WRITERS]);
    let found = verdicts(&sidecars, session.expose(), &token).await;
    assert_eq!(found, vec![Verdict::Valid(last); WRITERS]);
}

async fn a_revocation_takes_back_what_was_granted_before(backend: &Backend) {
    let (sidecars, session) = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    let other = sidecars[0].tokenize("other").await;
    sidecars[0].grant(&session, &token, &REVEAL, HOUR).await.unwrap();
    // Each grant of a longer life writes the session's object, as the revocations do.
    race(|at| {
        let (one, session, other) = (Arc::clone(&sidecars[at]), session.clone(), other.clone());
        async move {
            if at % 2 == 0 {
                return one.revoke_all(&session).await.unwrap();
            }
            let hours = HOUR * 48 * u32::try_from(at).unwrap();
            one.grant(&session, &other, &REVEAL, hours).await.unwrap();
        }
    })
    .await;
    let found = verdicts(&sidecars, session.expose(), &token).await;
    assert_eq!(found, vec![Verdict::Denied; WRITERS]);
}

async fn many_revocations_count_a_token_once(backend: &Backend) {
    let (sidecars, session) = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    sidecars[0].grant(&session, &token, &Action::ALL, HOUR).await.unwrap();
    assert_eq!(sidecars[0].revoke(&session, &[&token; 3]).await, Ok(1));
    sidecars[0].grant(&session, &token, &REVEAL, HOUR).await.unwrap();
    let once = [&token];
    let (one, two) =
        join(sidecars[0].revoke(&session, &once), sidecars[1].revoke(&session, &once)).await;
    assert_eq!(one.unwrap() + two.unwrap(), 1);
    let found = verdicts(&sidecars, session.expose(), &token).await;
    assert_eq!(found, vec![Verdict::Denied; WRITERS]);
}
