use std::{fs, path::Path, sync::mpsc::channel, thread};

use bytes::Bytes;
use lunasec_sidecar::store::{EmbeddedStore, Name, Store, StoreError};
use lunasec_tests::{Dice, Sidecar, sidecar::PATIENCE};
use serde_json::json;
use tempfile::TempDir;

const PAGE: usize = 4_096;
/// Bytes in which the file says what it is and where its last two commits are.
const HEADER: usize = 320;

/// A way to damage a file, and its name.
struct Damage {
    name: String,
    bytes: Vec<u8>,
}

/// Flipped bits, zeroed pages, lost ends and foreign text, `flips` and `pages` of them at random
/// places and as many at the beginning, where the file says what it is.
fn damages(whole: &[u8], flips: usize, pages: usize) -> Vec<Damage> {
    let mut dice = Dice::new();
    let mut all = Vec::new();
    let mut add = |name: String, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.to_vec();
        change(&mut bytes);
        // To zero what is zero is no damage.
        if bytes != whole {
            all.push(Damage { name, bytes });
        }
    };
    for at in 0..flips {
        for at in [dice.below(whole.len()), at * HEADER / flips] {
            // The one bit that no checksum covers: which of the last two commits is the last. After
            // an unclean end, a file in which only this bit has flipped is a sound one.
            let bit = if at == 9 { 1 } else { 0 } + dice.below(7);
            add(format!("bit {bit} of byte {at}"), &|bytes| bytes[at] ^= 1 << bit);
        }
    }
    for at in 0..pages {
        let at = if at == 0 { 0 } else { dice.below(whole.len() / PAGE) };
        add(format!("zeroed page {at}"), &|bytes| bytes[at * PAGE..(at + 1) * PAGE].fill(0));
        add(format!("page {at} in place of the next"), &|bytes| {
            let next = (at + 1) * PAGE % bytes.len();
            bytes.copy_within(at * PAGE..(at + 1) * PAGE, next);
        });
    }
    for length in [0, 1, 8, 64, 320, PAGE, whole.len() / 2, whole.len() - PAGE, whole.len() - 1] {
        add(format!("cut to {length} bytes"), &|bytes| bytes.truncate(length));
    }
    add("followed by more".into(), &|bytes| bytes.extend_from_slice(&[7; PAGE]));
    add("text".into(), &|bytes| *bytes = b"# not a store\n".to_vec());
    add("much text".into(), &|bytes| bytes.fill(b'x'));
    all
}

fn name(at: usize) -> Name {
    Name::from_text(&format!("r/default/{:064x}", (at + 1) * 0x9e37_79b9_7f4a))
}

fn record(at: usize) -> Bytes {
    let length = [50, 300, 1_024, 3_000, 20_000][at % 5];
    vec![u8::try_from(at % 251).unwrap(); length].into()
}

const RECORDS: usize = 120;

/// The bytes of a store's file: after a clean end, and as kill -9 leaves them.
async fn files() -> [Vec<u8>; 2] {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = EmbeddedStore::open(&path).unwrap();
    for at in 0..RECORDS {
        store.put_new(&name(at), record(at)).await.unwrap();
    }
    let unclean = fs::read(&path).unwrap();
    drop(store);
    [fs::read(&path).unwrap(), unclean]
}

/// Runs `work` on a thread of its own, so that a hang is a failure like any other.
fn within_patience<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = channel();
    thread::spawn(move || sender.send(work()));
    receiver.recv_timeout(PATIENCE).expect("it hangs, or has panicked")
}

/// Whether a damaged file was refused; if not, every record must be right.
fn is_refused_or_right(path: &Path) -> Result<bool, String> {
    let store = match EmbeddedStore::open(path) {
        Ok(store) => store,
        Err(error) if error.to_string().contains("restore it from a backup") => return Ok(true),
        Err(error) => return Err(format!("refused in words that do not help: {error}")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for at in 0..RECORDS {
            match store.get(&name(at)).await {
                Ok(Some(object)) if object.bytes == record(at) => {}
                Ok(Some(_)) => return Err(format!("record {at} is another one")),
                Ok(None) => return Err(format!("record {at} looks as if it had never been")),
                Err(StoreError::Corrupted(_) | StoreError::Unavailable(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(false)
    })
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_harmless_and_never_read_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let mut wrong = Vec::new();
    for (end, whole) in ["clean", "unclean"].into_iter().zip(files().await) {
        let (mut refused, damages) = (0, damages(&whole, 150, 40));
        let count = damages.len();
        for damage in damages {
            fs::write(&path, &damage.bytes).unwrap();
            let at = path.clone();
            match within_patience(move || is_refused_or_right(&at)) {
                Ok(yes) => refused += usize::from(yes),
                Err(why) => wrong.push(format!("{end} end, {}: {why}", damage.name)),
            }
        }
        println!("{end} end: {refused} of {count} damaged files refused, the others harmless");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A stopped sidecar's directory, with values of all sizes in it.
fn stopped() -> (TempDir, Vec<(String, String)>) {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let tokens =
        [5, 300, 3_000, 30_000].into_iter().cycle().take(40).enumerate().map(|(at, length)| {
            let value = format!("{at} {}", "v".repeat(length));
            (sidecar.tokenize(&value), value)
        });
    let tokens = tokens.collect();
    sidecar.stop();
    (directory, tokens)
}

#[test]
fn a_sidecar_on_a_damaged_store_says_so_or_answers_right() {
    let (directory, tokens) = stopped();
    let path = directory.path().join("store.redb");
    let whole = fs::read(&path).unwrap();
    for damage in damages(&whole, 8, 8) {
        fs::write(&path, &damage.bytes).unwrap();
        match Sidecar::try_dev_in(directory.path()) {
            Err((status, log)) => {
                assert_eq!(status.code(), Some(3), "{}: {log}", damage.name);
                assert!(
                    log.contains("store.redb") && log.contains("restore it from a backup"),
                    "{}: {log}",
                    damage.name
                );
            }
            Ok(sidecar) => {
                for (token, value) in &tokens {
                    let answer = sidecar.detokenize(token);
                    let right = answer.json()["value"] == **value;
                    let honest = ["corrupted", "storage_unavailable"].contains(&&*answer.code());
                    assert!(right || honest, "{}: {}", damage.name, answer.text());
                }
            }
        }
    }
    fs::write(&path, &whole).unwrap();
    let sidecar = Sidecar::dev_in(directory.path());
    for (token, value) in &tokens {
        assert_eq!(sidecar.detokenize(token).json()["value"], **value);
    }
}

/// The file is damaged under a running sidecar, more and more.
#[test]
fn damage_under_a_running_sidecar_is_never_a_wrong_value() {
    let (directory, tokens) = stopped();
    let path = directory.path().join("store.redb");
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    let sidecar = Sidecar::dev_in(directory.path());
    let mut dice = Dice::new();
    for _ in 0..50 {
        use std::os::unix::fs::FileExt;
        let noise: Vec<u8> = (0..64).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
        file.write_all_at(&noise, dice.below(length - 64) as u64).unwrap();
        let (token, value) = &tokens[dice.below(tokens.len())];
        let answer = sidecar.detokenize(token);
        if answer.status == 200 {
            assert_eq!(answer.json()["value"], **value);
        }
        // Writes meet the damage too. They may fail, as anything may now, but not for ever in silence.
        let write = sidecar.post("/v1/tokenize", &json!({ "value": "new" }));
        assert!([200, 500, 503].contains(&write.status), "{}", write.text());
    }
}

#[test]
fn a_damaged_state_directory_is_refused_by_name() {
    let (directory, _) = stopped();
    let path = directory.path().join("state/idempotency.redb");
    for bytes in [&b""[..], b"text", &[0; 8_192]] {
        fs::write(&path, bytes).unwrap();
        let (status, log) = Sidecar::try_dev_in(directory.path()).err().unwrap();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("idempotency.redb") && log.contains("damaged"), "{log}");
    }
}
