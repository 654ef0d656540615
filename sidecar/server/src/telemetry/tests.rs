use std::sync::Arc;

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
