//! The outage drill that the documentation tells to watch, run to its end.

use std::{path::Path, process::Command};

use lunasec_tests::sidecar::binary;

#[test]
fn in_the_drill_nothing_is_lost() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut drill = Command::new(root.join("dev/drill"));
    drill.args(["--rounds", "1", "--pause", "0", "--lunasec"]).arg(binary());
    let output = drill.output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{seen}{}", String::from_utf8_lossy(&output.stderr));
    assert!(seen.contains("nothing was lost"), "{seen}");
    // What is taken while storage is away, and what is refused, with its reason.
    for said in [
        "order journaled",
        "ship to a known customer from memory",
        "storage_unavailable: storage does not answer",
    ] {
        assert!(seen.contains(said), "{said}: {seen}");
    }
}
