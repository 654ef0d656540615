use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};

use super::*;

const DAY: u64 = 86_400;
const LIVES: Lifetimes = Lifetimes {
    serving: Duration::from_secs(30 * DAY),
    authority: Duration::from_secs(365 * DAY),
    settle: Duration::from_secs(300),
};
const START: u64 = 1_800_000_000;

fn names() -> Vec<String> {
    vec!["lunasec-injector.lunasec.svc".to_owned()]
}

fn due(held: Option<&Held>, now: u64) -> Option<Held> {
    Held::due(held, now, &LIVES, &names()).unwrap()
}

/// What an API server does that trusts a bundle.
fn trusts(bundle: &str, held: &Held, now: u64) -> bool {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let leaf = CertificateDer::from_pem_slice(held.chain().as_bytes()).unwrap();
    let name = ServerName::try_from("lunasec-injector.lunasec.svc").unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_secs(now));
    verifier.verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
}

#[test]
fn the_first_authority_signs_at_once() {
    let held = due(None, START).unwrap();
    assert!(held.certified().is_ok());
    assert!(trusts(&held.bundle(), &held, START));
    assert!(trusts(&held.bundle(), &held, START - 1800), "a clock that is behind");
    assert!(!trusts(&held.bundle(), &held, START + 31 * DAY));
    assert_eq!(held.ends(), (START + 30 * DAY, START + 365 * DAY));
    assert_eq!(due(Some(&held), START + 19 * DAY), None, "nothing is due yet");
    assert_eq!(held.look_again(START, &LIVES), 20 * DAY);
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
    let first = due(None, START).unwrap();
    let next = due(Some(&first), START + 20 * DAY).unwrap();
    assert_eq!(next.bundle(), first.bundle());
    assert_ne!(next.chain(), first.chain());
    assert!(trusts(&first.bundle(), &next, START + 20 * DAY));
    assert_eq!(next.ends().0, START + 50 * DAY);
}

#[test]
fn a_new_authority_signs_only_after_it_was_distributed_and_had_time() {
    let first = due(None, START).unwrap();
    let mut now = START + 244 * DAY;
    let held = due(Some(&first), now).unwrap();
    let both = held.bundle();
    assert_eq!(both.matches("BEGIN").count(), 2);
    assert!(trusts(&first.bundle(), &held, now), "the old one signs yet");
    // However long it takes, it does not sign before it is known to be distributed.
    now += 10 * DAY;
    let waiting = due(Some(&held), now).unwrap_or(held);
    assert!(trusts(&first.bundle(), &waiting, now));
    let told = waiting.distributed(now).unwrap();
    assert_eq!(told.distributed(now + 1), None);
    let settling = due(Some(&told), now + 299).unwrap_or_else(|| told.clone());
    assert!(trusts(&first.bundle(), &settling, now + 299));
    assert_eq!(told.look_again(now, &LIVES), 300);
    let signed = due(Some(&told), now + 300).unwrap();
    assert!(!trusts(&first.bundle(), &signed, now + 300), "the new one signs");
    assert!(trusts(&both, &signed, now + 300), "which API servers have had");
    let later = START + 365 * DAY;
    let alone = due(Some(&signed), later).unwrap();
    assert_eq!(
        alone.bundle().matches("BEGIN").count(),
        1,
        "the old one is gone when it has expired"
    );
    assert!(trusts(&alone.bundle(), &alone, later));
}

#[test]
fn for_ten_years_whoever_has_the_last_bundle_trusts_the_next_certificate() {
    let mut held = due(None, START).unwrap();
    let mut known = held.bundle();
    let mut authorities = 1;
    for day in 0..3650 {
        let now = START + day * DAY;
        if let Some(next) = due(Some(&held), now) {
            held = next;
        }
        assert!(trusts(&known, &held, now), "day {day}: {held:?}");
        authorities += usize::from(known.len() < held.bundle().len());
        known = held.bundle();
        held = held.distributed(now).unwrap_or(held);
    }
    assert!(authorities > 10, "{authorities}");
}

#[test]
fn after_an_outage_longer_than_all_lives_it_begins_anew() {
    let first = due(None, START).unwrap();
    let now = START + 400 * DAY;
    let held = due(Some(&first), now).unwrap();
    assert_eq!(held.bundle().matches("BEGIN").count(), 1);
    assert!(trusts(&held.bundle(), &held, now));
}

#[test]
fn a_renamed_service_gets_a_certificate_of_its_name() {
    let first = due(None, START).unwrap();
    let other = Held::due(Some(&first), START, &LIVES, &["other.svc".to_owned()]).unwrap().unwrap();
    assert_eq!(other.bundle(), first.bundle());
    assert!(!trusts(&other.bundle(), &other, START));
}

#[test]
fn what_is_held_goes_through_json_and_keeps_its_keys_out_of_logs() {
    let held = due(None, START).unwrap();
    let json = serde_json::to_string(&held).unwrap();
    assert_eq!(serde_json::from_str::<Held>(&json).unwrap(), held);
    let shown = format!("{held:?}");
    assert!(!shown.contains("PRIVATE") && !shown.contains(&held.serving.key), "{shown}");
    let mut mixed = held.clone();
    mixed.serving.key = due(None, START).unwrap().serving.key;
    assert!(mixed.certified().is_err(), "a key of another certificate");
}

#[test]
fn what_somebody_damaged_is_found_out() {
    let held = due(None, START).unwrap();
    assert!(held.check().is_ok());
    // Also when there are two authorities, and while the older one signs.
    let two = due(Some(&held), START + 250 * DAY).unwrap();
    assert_eq!(two.authorities.len(), 2);
    assert!(two.check().is_ok());
    let other = due(None, START).unwrap();
    let damaged = |change: &dyn Fn(&mut Held)| {
        let mut held = held.clone();
        change(&mut held);
        held.check().unwrap_err().to_string()
    };
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for change in [
        &(|it: &mut Held| it.authorities[0].certificate = garbage.to_owned()) as &dyn Fn(&mut Held),
        &|it| it.authorities[0].certificate.clear(),
        &|it| it.authorities[0].certificate = it.serving.certificate.clone(),
        &|it| it.authorities[0].key = "no key".to_owned(),
        &|it| it.authorities[0].key.clone_from(&it.serving.key),
        &|it| it.authorities.clone_from(&other.authorities),
        &|it| it.authorities.clear(),
        &|it| it.serving.certificate = garbage.to_owned(),
        &|it| it.serving.key.clone_from(&other.serving.key),
        &|it| it.serving.names.clear(),
    ] {
        let words = damaged(change);
        assert!(!words.contains("no key") && words.contains("cannot be used"), "{words}");
    }
}
