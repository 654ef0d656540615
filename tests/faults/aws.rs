//! Answers of S3 that are lost on the way, and servers that know less of S3 than they should.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use lunasec_core::limits;
use lunasec_sidecar::store::{Name, Store, StoreError};
use lunasec_tests::{
    aws::{Cloud, Engine},
    proxy::{Hidden, Proxy},
};

const OURS: Bytes = Bytes::from_static(b"ours, and nobody else's");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_told_from_a_collision() {
    for engine in [Engine::Moto, Engine::LocalStack] {
        let direct = Cloud::new(engine).await;
        let proxy = Proxy::before(direct.place.endpoint.as_deref().unwrap()).await;
        let mut lossy = Cloud::new(engine).await;
        lossy.place = direct.place.clone();
        lossy.place.endpoint = Some(proxy.endpoint.clone());
        let (store, others) = (lossy.store(), direct.store());
        let lose = |answers| proxy.to_lose.store(answers, Ordering::SeqCst);

        // Created, and then changed, each with its first answers lost.
        let name = Name::from_text("r/lost/a");
        lose(2);
        let first = store.put_new(&name, OURS).await.unwrap();
        assert_eq!(others.get(&name).await.unwrap().unwrap().version, first);
        lose(1);
        let second = store.put_if(&name, Bytes::from_static(b"changed"), &first).await.unwrap();
        assert_eq!(others.get(&name).await.unwrap().unwrap().version, second);

        // Another's is another's, whether its answer comes or not.
        let taken = Name::from_text("r/lost/b");
        others.put_new(&taken, Bytes::from_static(b"another's")).await.unwrap();
        for answers in [0, 1] {
            lose(answers);
            assert_eq!(store.put_new(&taken, OURS).await, Err(StoreError::Precondition));
        }
        assert_eq!(others.get(&taken).await.unwrap().unwrap().bytes, "another's");

        // What is never answered is unknown, although it took effect.
        let unknown = Name::from_text("r/lost/c");
        lose(3);
        let result = store.put_new(&unknown, OURS).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        assert_eq!(others.get(&unknown).await.unwrap().unwrap().bytes, OURS);
        assert_eq!(proxy.to_lose.load(Ordering::SeqCst), 0);
    }
}

/// A cloud behind a proxy that hides something of its requests.
async fn hiding(engine: Engine, hidden: Hidden) -> (Cloud, Cloud) {
    let direct = Cloud::new(engine).await;
    let proxy = Proxy::hiding(direct.place.endpoint.as_deref().unwrap(), hidden).await;
    let mut ignorant = Cloud::new(engine).await;
    ignorant.place = direct.place.clone();
    ignorant.place.endpoint = Some(proxy.endpoint);
    (direct, ignorant)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_where_a_listing_begins_is_refused() {
    let hidden = Hidden { requests: "GET ", words: "start-after=" };
    let (direct, ignorant) = hiding(Engine::Moto, hidden).await;
    let (well, store) = (direct.store(), ignorant.store());
    let names: Vec<_> = (0..1_001).map(|at| Name::from_text(&format!("r/{at:04}"))).collect();
    let objects = names.iter().map(|name| (name.clone(), OURS)).collect();
    assert!(well.put_new_many(objects).await.iter().all(Result::is_ok));
    assert_eq!(well.list("r/", None, 2_000).await.unwrap(), names);
    assert_eq!(well.list("r/", Some(&names[999]), 2_000).await.unwrap(), names[1_000..]);
    // One page needs no beginning.
    assert_eq!(store.list("r/", None, 1_000).await.unwrap(), names[..1_000]);
    for refused in [
        store.list("r/", None, 2_000).await.map(|_| ()),
        store.list("r/", Some(&names[0]), 10).await.map(|_| ()),
        store.heads("r/", Some(&names[0]), 10, 10).await.map(|_| ()),
    ] {
        let Err(StoreError::Refused(cause)) = refused else { panic!("{refused:?}") };
        assert!(cause.contains("StartAfter"), "{cause}");
    }
    // Heads of more than a page are asked for by several steps, each with its beginning.
    let heads = well.heads("r/", None, 2_000, 10).await.unwrap();
    assert_eq!(heads.objects.len(), limits::HEADS);
    assert_eq!(heads.next.as_ref(), Some(&names[limits::HEADS - 1]));
    let last = well.heads("r/", Some(&names[limits::HEADS * 5 - 1]), 2_000, 10).await.unwrap();
    assert_eq!((last.objects.len(), last.next), (1, None));
}

/// LocalStack does not know the condition of a DELETE and says so; behind the proxy, moto ignores it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_server_does_not_compare_before_it_deletes_the_store_does() {
    let hidden = Hidden { requests: "DELETE ", words: "if-match:" };
    let (moto, ignorant) = hiding(Engine::Moto, hidden).await;
    let localstack = Cloud::new(Engine::LocalStack).await;
    for (store, others) in
        [(ignorant.store(), moto.store()), (localstack.store(), localstack.store())]
    {
        let name = Name::from_text("r/compared");
        let first = store.put_new(&name, Bytes::from_static(b"one")).await.unwrap();
        let second = others.put_if(&name, Bytes::from_static(b"two"), &first).await.unwrap();
        assert_eq!(store.remove_if(&name, &first).await, Ok(false));
        assert_eq!(others.get(&name).await.unwrap().unwrap().bytes, "two");
        assert_eq!(store.remove_if(&name, &second).await, Ok(true));
        assert!(others.get(&name).await.unwrap().is_none());
        assert_eq!(store.remove_if(&name, &second).await, Ok(false));
    }
}
