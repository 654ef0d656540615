//! One client in several runtimes and threads: what stands still in one holds nobody elsewhere.

use std::{sync::mpsc, time::Duration};

use futures_util::future::poll_immediate;
use lunasec_client::{Client, Value};
use serde_json::json;
use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use crate::support::{
    scripted::{Act, Came, Scripted, ok, reveal},
    token,
};

const SOON: Duration = Duration::from_secs(5);

/// It stands still unless it is blocked on.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server that is always driven, and its client with a single connection.
fn server(decide: impl Fn(&Came, usize) -> Act + Send + Sync + 'static) -> (Runtime, Scripted) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(async { Scripted::new(decide) });
    (runtime, server)
}

fn client(server: &Scripted) -> Client {
    server.builder().connections(1).build().unwrap().with_deadline(SOON)
}

fn is_of(value: &Value, number: usize) {
    assert_eq!(value.reveal().unwrap(), format!("value of {}", token(number)));
}

#[test]
fn an_idle_connection_of_a_runtime_that_stands_still_is_not_anothers() {
    let (_servers, server) = server(|came, _| reveal(came));
    let (client, still, driven) = (client(&server), runtime(), runtime());
    is_of(&still.block_on(client.detokenize(token(1))).unwrap(), 1);
    is_of(&driven.block_on(client.detokenize(token(2))).unwrap(), 2);
    is_of(&still.block_on(client.detokenize(token(3))).unwrap(), 3);
}

#[test]
fn a_call_under_way_in_a_runtime_that_stands_still_takes_nobodys_place() {
    let (_servers, server) =
        server(|came, before| if before == 0 { Act::Hang } else { reveal(came) });
    let (client, still, driven) = (client(&server), runtime(), runtime());
    let mut call = Box::pin(client.detokenize(token(1)));
    still.block_on(async {
        tokio::select! {
            _ = &mut call => unreachable!("it hangs"),
            () = server.have_come(1) => {}
        }
    });
    is_of(&driven.block_on(client.detokenize(token(2))).unwrap(), 2);
}

#[test]
fn a_gathered_call_that_was_given_up_where_nothing_runs_any_more_holds_nobody() {
    for window in [Duration::ZERO, Duration::from_millis(1)] {
        let (_servers, server) = server(|came, _| reveal(came));
        let (still, driven) = (runtime(), runtime());
        let page = client(&server).gathering_for(window);
        let given_up =
            still.block_on(async { poll_immediate(Box::pin(page.detokenize(token(1)))).await });
        assert!(given_up.is_none());
        for _ in 0..2 {
            is_of(&driven.block_on(page.detokenize(token(1))).unwrap(), 1);
        }
        is_of(&still.block_on(page.detokenize(token(2))).unwrap(), 2);
    }
}

#[test]
fn a_thread_that_is_blocked_holds_its_own_gathered_calls_only() {
    for window in [Duration::ZERO, Duration::from_millis(1)] {
        let (_servers, server) = server(|came, _| reveal(came));
        let page = client(&server).gathering_for(window);
        let workers = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (begun, has_begun) = oneshot::channel();
        let (release, released) = mpsc::channel::<()>();
        workers.block_on(async {
            let other = page.clone();
            let blocked = tokio::spawn(async move {
                let mut call = Box::pin(other.detokenize(token(1)));
                assert!(poll_immediate(&mut call).await.is_none());
                begun.send(()).unwrap();
                released.recv().unwrap();
                call.await
            });
            has_begun.await.unwrap();
            let free = page.detokenize(token(2)).await;
            release.send(()).unwrap();
            is_of(&free.unwrap(), 2);
            is_of(&blocked.await.unwrap().unwrap(), 1);
        });
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_the_next_requests() {
    let made = |number| json!({ "token": token(number), "durability": "stored" });
    let server = Scripted::new(move |_, before| match before % 2 {
        0 => Act::Twice(made(before), made(9_000)),
        _ => ok(made(before)),
    });
    let client = client(&server);
    for number in 0..50 {
        let found = client.tokenize("4111").await.unwrap().token;
        assert_eq!(found.expose(), token(server.came().len() - 1), "{number}");
    }
}
