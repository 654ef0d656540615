use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use lunasec_tests::{
    Sidecar,
    namespace::{bind, in_mount_namespace, mount_tmpfs, remount},
    sidecar::lunasec,
};
use tempfile::TempDir;

/// A stopped sidecar's directory, and a token in it.
fn stopped() -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let token = sidecar.tokenize("value");
    sidecar.stop();
    (directory, token)
}

fn refused(directory: &Path) -> String {
    let (status, log) = Sidecar::try_dev_in(directory).err().expect("it must not start");
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("local.key"), "it does not name the key file: {log}");
    log
}

#[test]
fn the_key_file_of_another_store_is_refused() {
    let ((one, token), (other, _)) = (stopped(), stopped());
    let (key, spare) = (one.path().join("local.key"), one.path().join("spare"));
    fs::rename(&key, &spare).unwrap();
    fs::copy(other.path().join("local.key"), &key).unwrap();
    let log = refused(one.path());
    assert!(log.contains("restore the right key file"), "{log}");
    fs::rename(&spare, &key).unwrap();
    assert_eq!(Sidecar::dev_in(one.path()).detokenize(&token).json()["value"], "value");
}

#[test]
fn a_missing_key_file_is_not_replaced() {
    let (directory, token) = stopped();
    let (key, spare) = (directory.path().join("local.key"), directory.path().join("spare"));
    fs::rename(&key, &spare).unwrap();
    for _ in 0..2 {
        assert!(refused(directory.path()).contains("restore it from a backup"));
        assert!(!key.exists());
    }
    fs::rename(&spare, &key).unwrap();
    assert_eq!(Sidecar::dev_in(directory.path()).detokenize(&token).json()["value"], "value");
}

/// An unmounted volume looks like this.
#[test]
fn a_missing_store_is_not_taken_for_an_empty_one() {
    let (directory, token) = stopped();
    let (store, spare) = (directory.path().join("store.redb"), directory.path().join("spare"));
    fs::rename(&store, &spare).unwrap();
    for _ in 0..2 {
        let log = refused(directory.path());
        assert!(log.contains("store.redb") && log.contains("--new-store"), "{log}");
        assert!(!store.exists());
    }
    fs::rename(&spare, &store).unwrap();
    assert_eq!(Sidecar::dev_in(directory.path()).detokenize(&token).json()["value"], "value");
    // Whoever means it can have it.
    fs::remove_file(&store).unwrap();
    let mut command = lunasec();
    command.args(["dev", "--new-store", "--admin", "127.0.0.1:0", "--dir"]).arg(directory.path());
    let socket = directory.path().join("lunasec.sock");
    let sidecar = Sidecar::spawn(command, directory.path(), socket).unwrap();
    assert_eq!(sidecar.detokenize(&token).code(), "not_found");
}

/// The keys of namespaces are made at different times, and so under different keys of the file.
#[test]
fn a_key_file_that_lacks_one_of_the_keys_in_use_is_refused() {
    let (directory, token) = stopped();
    let key = directory.path().join("local.key");
    let old = fs::read_to_string(&key).unwrap();
    let (other, _) = stopped();
    let new = fs::read_to_string(other.path().join("local.key")).unwrap();
    fs::write(&key, format!("{new}{old}")).unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let headers = [("lunasec-namespace", "aaa")];
    let answer = sidecar.connect().post_with("/v1/tokenize", &headers, br#"{"value": "v"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    sidecar.stop();
    fs::write(&key, &new).unwrap();
    let log = refused(directory.path());
    assert!(log.contains("restore the right key file"), "{log}");
    fs::write(&key, format!("{new}{old}")).unwrap();
    assert_eq!(Sidecar::dev_in(directory.path()).detokenize(&token).json()["value"], "value");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_remedy() {
    let (directory, _) = stopped();
    let key = directory.path().join("local.key");
    for mode in [0o640, 0o604, 0o620, 0o602, 0o777] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let log = refused(directory.path());
        assert!(log.contains(&format!("chmod 600 {}", key.display())), "{log}");
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    // Its owner can read it, whatever its mode.
    chown(&key, Some(65_534), None).unwrap();
    let log = refused(directory.path());
    assert!(log.contains(&format!("chown 0 {}", key.display())), "{log}");
    chown(&key, Some(0), None).unwrap();
    Sidecar::dev_in(directory.path());
}

/// As a kubelet mounts a Secret: root's, for everybody to read, in memory, and not to be written to.
#[test]
fn a_key_file_that_was_mounted_as_a_secret_is_taken_whatever_its_mode() {
    in_mount_namespace(
        "embedded::key_file::a_key_file_that_was_mounted_as_a_secret_is_taken_whatever_its_mode",
        || {
            let (directory, token) = stopped();
            let key = directory.path().join("local.key");
            let secret = directory.path().join("secret");
            let mounted = secret.join("standby.key");
            let mode = |mode| {
                remount(&secret, "rw");
                fs::set_permissions(&mounted, fs::Permissions::from_mode(mode)).unwrap();
                remount(&secret, "ro");
            };
            mount_tmpfs(&secret, "1m");
            fs::copy(&key, &mounted).unwrap();
            fs::remove_file(&key).unwrap();
            // By a link, as it is mounted.
            symlink("secret/standby.key", &key).unwrap();
            for readable in [0o444, 0o440, 0o644] {
                mode(readable);
                let sidecar = Sidecar::dev_in(directory.path());
                assert_eq!(sidecar.detokenize(&token).json()["value"], "value", "{readable:o}");
            }
            for writable in [0o464, 0o446] {
                mode(writable);
                refused(directory.path());
            }
            mode(0o444);
            chown_there(&secret, &mounted, 65_534);
            refused(directory.path());
            chown_there(&secret, &mounted, 0);
            remount(&secret, "rw");
            refused(directory.path());
            // On a disk it lies for whoever has the disk.
            let disk = directory.path().join("disk");
            fs::create_dir(&disk).unwrap();
            fs::copy(&mounted, disk.join("standby.key")).unwrap();
            fs::remove_file(&key).unwrap();
            symlink("disk/standby.key", &key).unwrap();
            bind(&disk, &disk);
            remount(&disk, "bind,ro");
            refused(directory.path());
        },
    );
}

fn chown_there(mount: &Path, file: &Path, owner: u32) {
    remount(mount, "rw");
    chown(file, Some(owner), None).unwrap();
    remount(mount, "ro");
}

#[test]
fn a_damaged_key_file_is_refused_and_not_echoed() {
    let (directory, token) = stopped();
    let key = directory.path().join("local.key");
    let text = fs::read_to_string(&key).unwrap();
    let digits = text.trim().rsplit(':').next().unwrap();
    let damaged: [&[u8]; 8] = [
        &[],
        b"\n",
        &[0; 4],
        &[0xff; 86],
        &text.as_bytes()[..40],
        &text.as_bytes()[1..],
        &[text.as_bytes(), b"and more"].concat(),
        &[text.as_bytes(), b"\n\n"].concat(),
    ];
    for bytes in damaged {
        fs::write(&key, bytes).unwrap();
        let log = refused(directory.path());
        assert!(!log.contains(&digits[..16]), "it prints the key");
    }
    // One wrong digit is another key.
    let other = if digits.starts_with('0') { "1" } else { "0" };
    fs::write(&key, text.replace(digits, &format!("{other}{}", &digits[1..]))).unwrap();
    assert!(refused(directory.path()).contains("restore the right key file"));
    fs::write(&key, &text).unwrap();
    assert_eq!(Sidecar::dev_in(directory.path()).detokenize(&token).json()["value"], "value");
}

#[test]
fn a_key_file_that_is_a_directory_is_refused() {
    let (directory, _) = stopped();
    let key = directory.path().join("local.key");
    fs::remove_file(&key).unwrap();
    fs::create_dir(&key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o700)).unwrap();
    refused(directory.path());
}
