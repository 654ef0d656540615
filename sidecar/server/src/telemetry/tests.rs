use std::{future::pending, sync::Arc};

use futures_util::FutureExt;
use lunasec_core::limits;

use super::*;
use crate::env::FakeClock;

#[test]
fn a_dependency_that_comes_and_goes_is_logged_seldom_and_in_the_end_as_it_is() {
    let clock = Arc::new(FakeClock::default());
    let dependency = Telemetry::new(Arc::clone(&clock) as _).dependency("storage");
    let read = Request::read("get");
    let up = || dependency.note(read, None);
    let fails = || dependency.note(read, Some(UNAVAILABLE));
    assert_eq!((up(), fails(), up()), (false, true, true));
    for _ in 0..1_000 {
        assert_eq!((fails(), up()), (false, false));
    }
    assert!(!fails());
    clock.pass(limits::LOG_PAUSE);
    assert_eq!((fails(), fails()), (true, false), "it fails on, and the log has it");
    assert_eq!((up(), up()), (true, false));
    // Reads and writes fail apart, and are logged apart.
    assert!(dependency.note(Request::write("put_new"), Some(UNAVAILABLE)));
}

#[tokio::test]
async fn a_request_is_counted_once_whatever_becomes_of_it() {
    let telemetry = Telemetry::new(Arc::new(FakeClock::default()));
    let dependency = telemetry.dependency("storage");
    let asked = || dependency.begin(Request::read("get"));
    asked().answered("ok");
    asked().failed(UNAVAILABLE, "as told");
    asked().shed();
    asked().spared();
    drop(asked());
    let hangs = dependency.watch(Request::read("list"), pending::<Result<(), String>>());
    assert!(hangs.now_or_never().is_none());
    let metrics = telemetry.render();
    let mut counted: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("lunasec_dependency_requests_total"))
        .map(|line| line.replace("dependency=\"storage\",", ""))
        .collect();
    counted.sort();
    let expected = [
        r#"{operation="get",result="abandoned"} 1"#,
        r#"{operation="get",result="ok"} 1"#,
        r#"{operation="get",result="shed"} 1"#,
        r#"{operation="get",result="unavailable"} 1"#,
        r#"{operation="list",result="abandoned"} 1"#,
    ];
    assert_eq!(counted, expected);
    let timed = r#"duration_seconds_count{dependency="storage",operation="get"} 2"#;
    assert!(metrics.contains(timed), "{metrics}");
}
