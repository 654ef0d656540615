//! What holds when many change the same token at once, in one sidecar and in many.

use std::sync::{Arc, atomic::Ordering};

use futures_util::future::{join, join_all};
use lunasec_api::Code;

use super::{WRITERS, race};
use crate::{
    Backend, World,
    world::{call, call_with, new_value},
};

/// Everything, in turn.
pub async fn all(backend: &Backend, rounds: usize) {
    for _ in 0..rounds {
        of_writers_with_the_same_version_exactly_one_wins(backend).await;
        unconditional_writers_all_succeed_and_are_counted(backend).await;
        many_deletes_leave_one_tombstone_each_for_value_and_metadata(backend).await;
        metadata_written_during_a_delete_brings_nothing_back(backend).await;
        a_retry_during_a_delete_brings_nothing_back(backend).await;
        concurrent_duplicates_store_one_record(backend).await;
        of_many_sidecars_one_sets_the_metadata(backend).await;
        many_sidecars_delete_a_token_once(backend).await;
    }
}

async fn of_writers_with_the_same_version_exactly_one_wins(backend: &Backend) {
    let world = World::on(backend);
    let token = world.tokenize("value").await;
    for version in 0..3 {
        let texts: Vec<_> = (0..WRITERS).map(|at| format!(r#"{{"writer":{at}}}"#)).collect();
        let sets = texts.iter().map(|text| async {
            let set = world.vault.metadata_set(&call(), &token, text, Some(version)).await;
            set.map(|written| written.version).map_err(|failure| failure.code)
        });
        let results = join_all(sets).await;
        let winners: Vec<_> = (0..WRITERS).filter(|at| results[*at].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        for (at, result) in results.iter().enumerate() {
            let expected = if at == winners[0] { Ok(version + 1) } else { Err(Code::Conflict) };
            assert_eq!(*result, expected);
        }
        let described = world.vault.metadata_get(&call(), &token).await.unwrap();
        assert_eq!(
            (described.metadata, described.version),
            (texts[winners[0]].clone(), version + 1)
        );
    }
}

async fn unconditional_writers_all_succeed_and_are_counted(backend: &Backend) {
    let world = World::on(backend);
    let token = world.tokenize("value").await;
    let sets = (0..WRITERS).map(|at| {
        let (world, token) = (&world, &token);
        async move {
            let text = format!(r#"{{"writer":{at}}}"#);
            let written = world.vault.metadata_set(&call(), token, &text, None).await.unwrap();
            (written.version, text)
        }
    });
    let mut written = join_all(sets).await;
    written.sort();
    let versions: Vec<_> = written.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (1..=WRITERS as u64).collect::<Vec<_>>());
    let described = world.vault.metadata_get(&call(), &token).await.unwrap();
    assert_eq!((described.version, described.metadata), written.pop().unwrap());
}

async fn many_deletes_leave_one_tombstone_each_for_value_and_metadata(backend: &Backend) {
    let world = World::on(backend);
    let before = world.records().await;
    let token = world.tokenize("value").await;
    let deletes = join_all((0..WRITERS).map(|_| world.delete(&token))).await;
    assert_eq!(deletes, vec![Ok(()); WRITERS]);
    assert_eq!(world.records().await - before, 2);
    assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
}

async fn metadata_written_during_a_delete_brings_nothing_back(backend: &Backend) {
    let world = World::on(backend);
    let before = world.records().await;
    let token = world.tokenize("value").await;
    let sets = join_all((0..WRITERS).map(|_| async {
        let set = world.vault.metadata_set(&call(), &token, "{}", None).await;
        set.map(|_| ()).map_err(|failure| failure.code)
    }));
    let (sets, deleted) = join(sets, world.delete(&token)).await;
    assert_eq!(deleted, Ok(()));
    for set in sets {
        assert!(matches!(set, Ok(()) | Err(Code::NotFound)), "{set:?}");
    }
    assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
    let described = world.vault.metadata_get(&call(), &token).await;
    assert_eq!(described.err().map(|failure| failure.code), Some(Code::NotFound));
    let set = world.vault.metadata_set(&call(), &token, "{}", None).await;
    assert_eq!(set.err().map(|failure| failure.code), Some(Code::NotFound));
    assert_eq!(world.records().await - before, 2);
}

async fn a_retry_during_a_delete_brings_nothing_back(backend: &Backend) {
    let world = World::on(backend);
    let before = world.records().await;
    let value = || lunasec_sidecar::vault::NewValue {
        metadata: Some(r#"{"a":1}"#.into()),
        ..new_value("value")
    };
    let call = call_with("key");
    let token = world.vault.tokenize(&call, value()).await.unwrap().token;
    let retries = join_all((0..WRITERS).map(|_| world.vault.tokenize(&call, value())));
    let (retries, deleted) = join(retries, world.delete(&token)).await;
    assert_eq!(deleted, Ok(()));
    for retry in retries {
        assert_eq!(retry.unwrap().token.expose(), token.expose());
    }
    assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
    assert_eq!(world.records().await - before, 2);
}

async fn concurrent_duplicates_store_one_record(backend: &Backend) {
    let world = World::on(backend);
    let before = world.records().await;
    let call = call_with("key");
    let same = join_all((0..50).map(|_| world.vault.tokenize(&call, new_value("value")))).await;
    let tokens: Vec<_> = same.into_iter().map(|given| given.unwrap().token).collect();
    assert!(tokens.iter().all(|token| token.expose() == tokens[0].expose()));
    assert_eq!(world.records().await - before, 1);
}

/// As many sidecars as writers, which know each other by the store alone.
fn sidecars(backend: &Backend) -> Vec<Arc<World>> {
    (0..WRITERS).map(|_| Arc::new(World::on(backend))).collect()
}

async fn of_many_sidecars_one_sets_the_metadata(backend: &Backend) {
    let sidecars = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    let results = race(|at| {
        let (sidecar, token) = (Arc::clone(&sidecars[at]), token.clone());
        async move {
            let text = format!(r#"{{"writer":{at}}}"#);
            let set = sidecar.vault.metadata_set(&call(), &token, &text, Some(0)).await;
            set.map(|_| text).map_err(|failure| failure.code)
        }
    })
    .await;
    let winners: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(
        results.iter().filter(|result| **result == Err(Code::Conflict)).count(),
        WRITERS - 1
    );
    for sidecar in &sidecars {
        let described = sidecar.vault.metadata_get(&call(), &token).await.unwrap();
        assert_eq!((&described.metadata, described.version), (winners[0], 1));
    }
}

/// Who was slower finds the first one's tombstone, and writes none.
async fn many_sidecars_delete_a_token_once(backend: &Backend) {
    let sidecars = sidecars(backend);
    let token = sidecars[0].tokenize("value").await;
    let before = sidecars[0].records().await;
    let deletes = race(|at| {
        let (sidecar, token) = (Arc::clone(&sidecars[at]), token.clone());
        async move { sidecar.delete(&token).await }
    })
    .await;
    assert_eq!(deletes, vec![Ok(()); WRITERS]);
    let writes: usize =
        sidecars.iter().map(|sidecar| sidecar.store.writes.load(Ordering::SeqCst)).sum();
    // The value; then a tombstone over it, and one for its metadata.
    assert_eq!(writes, 3, "a tombstone was written twice");
    assert_eq!(sidecars[0].records().await - before, 1);
    for sidecar in &sidecars {
        assert_eq!(sidecar.detokenize(&token).await, Err(Code::NotFound));
    }
}
