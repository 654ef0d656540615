//! What must hold on every backend, whatever it is made of. Each function works under names of its
//! own, on a backend that may hold other things.

pub mod grants;
pub mod keyring;
pub mod store;
pub mod vault;

use futures_util::future::join_all;

use crate::Backend;

/// Who races for one object.
pub const WRITERS: usize = 16;

/// Everything, in turn. The races through the vault are run `rounds` times over: in memory that finds
/// interleavings, over a network each costs time.
pub async fn all(backend: &Backend, rounds: usize) {
    store::all(backend).await;
    keyring::all(backend).await;
    vault::all(backend, rounds).await;
    grants::all(backend, rounds).await;
}

/// Runs all at once, on as many threads as there are.
pub(crate) async fn race<F, T>(contender: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks = (0..WRITERS).map(|at| tokio::spawn(contender(at)));
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}
