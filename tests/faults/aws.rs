//! Answers of S3 that are lost on the way.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use lunasec_sidecar::store::{Name, Store, StoreError};
use lunasec_tests::{
    aws::{Cloud, Engine},
    proxy::Proxy,
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
