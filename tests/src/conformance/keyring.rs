//! What holds of the keyring that sidecars share.

use std::sync::Arc;

use lunasec_core::{ids::Namespace, limits};
use lunasec_sidecar::{
    env::SystemClock,
    keys::{Context, KeyError, Keyring, Purpose, Settings, Wrapper},
    store::Name,
};

use super::{WRITERS, race};
use crate::{Backend, sidecar::random_hex};

/// Everything, in turn.
pub async fn all(backend: &Backend) {
    of_many_sidecars_one_makes_the_key(backend).await;
    of_many_sidecars_one_makes_the_index_key(backend).await;
    a_wrapped_key_opens_in_its_context_only(&*(backend.wrapper)()).await;
    a_rewrapped_key_is_the_same_key(&*(backend.wrapper)()).await;
}

fn keyring(backend: &Backend) -> Arc<Keyring> {
    let (store, wrapper) = ((backend.store)(), (backend.wrapper)());
    let clock = Arc::new(SystemClock::default());
    Arc::new(Keyring::new(store, wrapper, clock, Settings::default()))
}

fn namespace() -> Namespace {
    Namespace::parse(&format!("n{}", random_hex(6))).unwrap()
}

async fn of_many_sidecars_one_makes_the_key(backend: &Backend) {
    let namespace = namespace();
    let keyrings: Vec<_> = (0..WRITERS).map(|_| keyring(backend)).collect();
    let keys = race(|at| {
        let (keyring, namespace) = (Arc::clone(&keyrings[at]), namespace.clone());
        async move { keyring.current(&namespace).await.unwrap() }
    })
    .await;
    let prefix = format!("{}{}/", Name::KEYS, namespace.as_str());
    let stored = (backend.store)().list(&prefix, None, limits::PAGE).await.unwrap();
    assert_eq!(stored, [Name::key(&namespace, keys[0].id)]);
    for key in &keys {
        assert_eq!((key.id, key.key.expose()), (keys[0].id, keys[0].key.expose()));
    }
    let late = keyring(backend).current(&namespace).await.unwrap();
    assert_eq!(late.key.expose(), keys[0].key.expose());
    let opening = keyring(backend).opening(&namespace, keys[0].id).await.unwrap();
    assert_eq!(opening.expose(), keys[0].key.expose());
}

async fn of_many_sidecars_one_makes_the_index_key(backend: &Backend) {
    let namespace = namespace();
    let keyrings: Vec<_> = (0..WRITERS).map(|_| keyring(backend)).collect();
    let keys = race(|at| {
        let (keyring, namespace) = (Arc::clone(&keyrings[at]), namespace.clone());
        async move { *keyring.index(&namespace).await.unwrap().expose() }
    })
    .await;
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(*keyring(backend).index(&namespace).await.unwrap().expose(), keys[0]);
}

async fn a_wrapped_key_opens_in_its_context_only(wrapper: &dyn Wrapper) {
    let (shop, other) = (namespace(), namespace());
    let context = Context { namespace: &shop, key: "1-0", purpose: Purpose::Data };
    let (key, wrapped) = wrapper.make(&context).await.unwrap();
    assert_eq!(wrapper.unwrap(&context, &wrapped).await.unwrap().expose(), key.expose());
    for wrong in [
        Context { namespace: &other, ..context.clone() },
        Context { key: "1-1", ..context.clone() },
        Context { purpose: Purpose::Index, ..context.clone() },
    ] {
        let error = wrapper.unwrap(&wrong, &wrapped).await.map(|_| ());
        assert!(matches!(error, Err(KeyError::Corrupted(_))), "{error:?}");
    }
    let mut flipped = wrapped;
    *flipped.last_mut().unwrap() ^= 1;
    let error = wrapper.unwrap(&context, &flipped).await.map(|_| ());
    assert!(matches!(error, Err(KeyError::Corrupted(_))), "{error:?}");
    let (another, _) = wrapper.make(&context).await.unwrap();
    assert_ne!(another.expose(), key.expose());
}

async fn a_rewrapped_key_is_the_same_key(wrapper: &dyn Wrapper) {
    let namespace = namespace();
    let context = Context { namespace: &namespace, key: "1-0", purpose: Purpose::Data };
    let (key, wrapped) = wrapper.make(&context).await.unwrap();
    let again = wrapper.rewrap(&context, &wrapped).await.unwrap();
    assert_ne!(again, wrapped);
    assert_eq!(wrapper.wrapped_under(&again), wrapper.wrapped_under(&wrapped));
    assert_eq!(wrapper.unwrap(&context, &again).await.unwrap().expose(), key.expose());
}
