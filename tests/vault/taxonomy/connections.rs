//! What happens below HTTP, on sockets of this machine.

use std::{net::TcpListener, time::Duration};

use futures_util::future::{join, join_all};
use lunasec_sidecar::env::{Clock, SystemClock};
use lunasec_tests::{
    authority::Authority,
    fake::{endpoint, serve},
    proxy::Proxy,
};
use tokio::net::{TcpSocket, TcpStream};

use super::*;

fn fake() -> Arc<Mutex<Fake>> {
    Arc::new(Mutex::new(Fake::new(BUCKET, KEY)))
}

/// Storage counts as away after some requests, and each says what to do; keys too.
async fn is_away(rig: &Rig, advice: &str) {
    let names: Vec<_> =
        (0..limits::BREAKER_FAILURES).zip(1..).map(|(_, number)| name(number)).collect();
    let (namespace, reads) = (Namespace::default(), names.iter().map(|name| rig.store.get(name)));
    let (reads, made) = join(join_all(reads), rig.keys.make(&context(&namespace))).await;
    for failed in reads.into_iter().map(Result::unwrap_err) {
        let StoreError::Unavailable(cause) = &failed else { panic!("{failed:?}") };
        assert!(cause.contains(advice), "{cause}");
        assert_eq!(said::<()>(Err(failed)), Err(Code::StorageUnavailable));
    }
    assert!(rig.storage_is_away());
    let failed = made.unwrap_err();
    assert!(failed.to_string().contains(advice), "{failed}");
    assert_eq!(said::<()>(Err(failed)), Err(Code::KeysUnavailable));
}

#[tokio::test]
async fn a_name_that_nobody_knows() {
    let rig = Rig::at("https://s3.nowhere.invalid", fake()).await;
    is_away(&rig, "name servers").await;
}

#[tokio::test]
async fn nobody_listens() {
    let (listener, endpoint) = endpoint().await;
    drop(listener);
    is_away(&Rig::at(&endpoint, fake()).await, "nothing listens").await;
}

/// Its queue is full, and the kernel drops whoever else knocks.
#[tokio::test]
async fn a_connection_that_is_not_made() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut full = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        full.push(stream);
    }
    is_away(&Rig::at(&format!("http://{address}"), fake()).await, "routes, firewalls").await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() {
    let identity = Authority::new("a stranger").identity("127.0.0.1");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    // It ends with the process, as its listener does.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = std::io::copy(&mut identity.accept(stream), &mut std::io::sink());
        }
    });
    is_away(&Rig::at(&endpoint, fake()).await, "certificate authority").await;
}

async fn is_away_for(fault: Fault) {
    let fake = fake();
    let rig = Rig::at(&serve(Arc::clone(&fake)).await, fake).await;
    (1..=9).for_each(|number| rig.lies_there(&name(number)));
    rig.fail(Asked::Get, fault.clone());
    rig.fail(Asked::Make, fault);
    is_away(&rig, "").await;
    rig.fake().heal();
    rig.opener.storage_breaker().answered();
    assert_eq!(bytes(rig.store.get(&name(1)).await), Some(OLD));
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer() {
    is_away_for(Fault::Reset).await;
}

#[tokio::test]
async fn a_connection_that_ends_within_the_answer() {
    is_away_for(Fault::Tear).await;
}

#[tokio::test]
async fn a_connection_that_stays_silent() {
    is_away_for(Fault::Hang).await;
}

/// By the answers that come anyway, also those that refuse.
#[tokio::test]
async fn the_clocks_are_compared_by_each_answer_of_storage() {
    let fake = fake();
    let rig = Rig::at(&serve(Arc::clone(&fake)).await, fake).await;
    let skew = || {
        let metrics = rig.telemetry.render();
        let line = |line: &str| line.strip_prefix("lunasec_clock_skew_seconds ")?.parse().ok();
        metrics.lines().find_map(line)
    };
    assert_eq!(skew(), Some(0));
    let now = SystemClock::default().now();
    let hour = 3_600_000;
    for ahead in [0, hour, -hour] {
        rig.clock.set(now.saturating_add_signed(ahead));
        assert_eq!(said(rig.store.get(&name(1)).await).map(|object| object.is_none()), Ok(true));
        let seen: i64 = skew().unwrap();
        assert!((seen - ahead / 1_000).abs() < 60, "{seen} s");
        rig.clock.pass(limits::CACHED_NOTHING_AGE);
    }
}

/// As after a failover of what stands between: the next request finds that out, and its second attempt is answered.
#[tokio::test]
async fn connections_that_the_network_has_forgotten() {
    let fake = fake();
    let proxy = Proxy::before(&serve(Arc::clone(&fake)).await).await;
    let rig = Rig::at(&proxy.endpoint, fake).await;
    let names: Vec<_> = (0..16).map(name).collect();
    rig.fail(Asked::Get, Fault::Delay(Duration::from_millis(50)));
    for read in join_all(names.iter().map(|name| rig.store.get(name))).await {
        assert!(read.unwrap().is_none());
    }
    rig.fake().heal();
    proxy.forgets.send_modify(|times| *times += 1);
    // Of each of the others that were kept.
    for number in 100..103 {
        assert!(rig.store.get(&name(number)).await.unwrap().is_none());
    }
    assert_eq!(rig.fake().count(Asked::Get), 16 + 3);
}
