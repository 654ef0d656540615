use futures_util::future::{join, join_all};
use lunasec_api::Code;

use super::world::{World, call, call_with, new_value};

const WRITERS: usize = 16;
/// Interleavings tried on the store in memory; on disk a few will do.
const ROUNDS: usize = 20;

async fn on_both(test: impl AsyncFn(&World)) {
    for _ in 0..ROUNDS {
        test(&World::in_memory()).await;
    }
    for _ in 0..3 {
        test(&World::embedded()).await;
    }
}

#[tokio::test]
async fn of_writers_with_the_same_version_exactly_one_wins() {
    on_both(async |world| {
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
    })
    .await;
}

#[tokio::test]
async fn unconditional_writers_all_succeed_and_are_counted() {
    on_both(async |world| {
        let token = world.tokenize("value").await;
        let sets = (0..WRITERS).map(|at| {
            let token = &token;
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
    })
    .await;
}

#[tokio::test]
async fn many_deletes_leave_one_tombstone_each_for_value_and_metadata() {
    on_both(async |world| {
        let token = world.tokenize("value").await;
        let deletes = join_all((0..WRITERS).map(|_| world.delete(&token))).await;
        assert_eq!(deletes, vec![Ok(()); WRITERS]);
        assert_eq!(world.records().await, 2);
        assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
    })
    .await;
}

#[tokio::test]
async fn metadata_written_during_a_delete_brings_nothing_back() {
    on_both(async |world| {
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
        assert_eq!(world.records().await, 2);
    })
    .await;
}

#[tokio::test]
async fn a_retry_during_a_delete_brings_nothing_back() {
    on_both(async |world| {
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
        assert_eq!(world.records().await, 2);
    })
    .await;
}

#[tokio::test]
async fn concurrent_duplicates_store_one_record() {
    on_both(async |world| {
        let call = call_with("key");
        let same = join_all((0..50).map(|_| world.vault.tokenize(&call, new_value("value")))).await;
        let tokens: Vec<_> = same.into_iter().map(|given| given.unwrap().token).collect();
        assert!(tokens.iter().all(|token| token.expose() == tokens[0].expose()));
        assert_eq!(world.records().await, 1);
    })
    .await;
}
