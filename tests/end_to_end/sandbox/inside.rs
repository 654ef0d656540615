//! What goes on working: all that changes on a machine under a sidecar.

use std::{
    fs::{self, OpenOptions},
    net::UdpSocket,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use lunasec_tests::{
    Sidecar,
    apart::strict,
    authority::Authority,
    aws::{Cloud, Engine, wait},
    issuer::{JwksServer, Signer, jwks},
    namespace::{bind, in_network_namespace},
    sidecar::{NOBODY, eventually, lunasec},
};
use rustix::process::Signal;
use serde_json::json;

use super::{
    super::{
        aws::credentials,
        sessions::{issuer, reveal, session_of},
    },
    project, replace, status,
};

/// Whether the JWT's session is told apart by it, whatever it may do.
fn believes(sidecar: &Sidecar, signer: &Signer) -> bool {
    let token = lunasec_tests::sidecar::unknown_token();
    let code = reveal(sidecar, &signer.jwt(&session_of("alice")), &token).code();
    assert!(
        ["unauthenticated", "keys_unavailable", "grant_denied", "not_found"]
            .contains(&code.as_str()),
        "{code}"
    );
    code == "grant_denied" || code == "not_found"
}

/// Serves with the configuration in a directory of its own.
fn serve(config: &Path, place: &Path, variables: &[(&str, &str)]) -> Sidecar {
    let mut command = lunasec();
    command.envs(variables.iter().copied()).args(["serve", "--config"]).arg(config);
    Sidecar::spawn(command, place, place.join("lunasec.sock"))
        .unwrap_or_else(|(_, log)| panic!("{log}"))
}

/// What a minimal configuration says of the files in `place`, and more.
fn text(place: &Path, extra: &str) -> String {
    Sidecar::configure(place, extra);
    fs::read_to_string(place.join("lunasec.toml")).unwrap()
}

#[test]
fn keys_of_an_issuer_that_are_replaced() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let keys = tempfile::tempdir().unwrap();
    let by_rename = |signer: &Signer| {
        let path = keys.path().join("jwks.json");
        replace(&path, &jwks(&[signer]));
        path
    };
    let mounted = tempfile::tempdir().unwrap();
    let by_link =
        |signer: &Signer| project(mounted.path(), "jwks.json", &signer.kid, &jwks(&[signer]));
    let ways: [&(dyn Fn(&Signer) -> std::path::PathBuf + Sync); 2] = [&by_rename, &by_link];
    thread::scope(|scope| {
        for way in ways {
            scope.spawn(|| {
                let file = way(&old);
                let sidecar = Sidecar::serve(&(strict() + &issuer(&file.display().to_string())));
                eventually("the first keys", || believes(&sidecar, &old));
                way(&new);
                eventually("the next keys", || believes(&sidecar, &new));
                assert!(!believes(&sidecar, &old));
            });
        }
    });
}

#[test]
fn a_configuration_that_is_replaced_and_one_that_names_what_is_closed() {
    let (place, mounted, closed) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let put = |version: &str, extra: &str| {
        project(mounted.path(), "lunasec.toml", version, &text(place.path(), extra))
    };
    let config = put("1", "[limits]\nvalue = \"16 B\"\n");
    let mut sidecar = serve(&config, place.path(), &[]);
    let long = json!({ "value": "more than sixteen bytes" });
    assert_eq!(sidecar.post("/v1/tokenize", &long).code(), "payload_too_large");
    put("2", "[limits]\nvalue = \"32 B\"\n");
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_line(|line| line.contains("is in force")).unwrap();
    assert_eq!(sidecar.post("/v1/tokenize", &long).status, 200);
    // A file of a directory that nothing was said of at the start.
    let signer = Signer::es256("key");
    let keys = closed.path().join("jwks.json");
    fs::write(&keys, jwks(&[&signer])).unwrap();
    put("3", &(strict() + &issuer(&keys.display().to_string())));
    sidecar.signal(Signal::HUP);
    let line = sidecar.wait_for_line(|line| line.contains("needs a restart")).unwrap();
    assert!(line.contains("sandbox"), "{line}");
    if status(&sidecar)["landlock_abi"] != 0 {
        assert!(!believes(&sidecar, &signer));
        eventually("it is said", || sidecar.log().contains("Permission denied"));
        sidecar.stop();
        sidecar = serve(&config, place.path(), &[]);
    }
    eventually("the keys are read after a restart", || believes(&sidecar, &signer));
}

#[test]
fn an_authority_that_is_replaced() {
    let signer = Signer::es256("key");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let server = JwksServer::start_tls(&jwks(&[&signer]), new.identity("127.0.0.1"));
    let authorities = tempfile::tempdir().unwrap();
    let file = authorities.path().join("ca.pem");
    old.write(&file);
    let place = tempfile::tempdir().unwrap();
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let sidecar = Sidecar::serve_with(place.path(), &(strict() + &issuer(&server.url)), &variables);
    assert!(!believes(&sidecar, &signer));
    eventually("it says why not", || sidecar.log().contains("UnknownIssuer"));
    let draft = authorities.path().join("draft");
    new.write(&draft);
    fs::rename(draft, &file).unwrap();
    eventually("the next authority is believed", || believes(&sidecar, &signer));
}

/// As kubelet rotates it. What is exchanged ends at once, so that each request needs the token that is there.
#[test]
fn a_web_identity_whose_token_is_rotated() {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&shown);
    let sts = credentials::serve(move |asked| {
        seen.lock().unwrap().push(asked.field("WebIdentityToken")?.to_owned());
        let credentials = "<AccessKeyId>test</AccessKeyId><SecretAccessKey>test</SecretAccessKey>\
                           <SessionToken>test</SessionToken><Expiration>2020-01-01T00:00:00Z</Expiration>";
        Some(format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ))
    });
    let cloud = wait(Cloud::new(Engine::Moto));
    let (place, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let token = project(mounted.path(), "token", "1", "first.token");
    let config = cloud.configure(place.path(), "");
    let sidecar = credentials::serve_with(
        place.path(),
        &config,
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/shop"),
            ("AWS_ENDPOINT_URL_STS", &sts),
        ],
    );
    sidecar.tokenize("value");
    assert_eq!(shown.lock().unwrap().last().unwrap(), "first.token");
    project(mounted.path(), "token", "2", "second.token");
    sidecar.tokenize("value");
    assert_eq!(shown.lock().unwrap().last().unwrap(), "second.token");
}

/// It is standard error, which whoever started the sidecar rotates: by a copy, and by another file's taking its place.
#[test]
fn a_log_that_is_rotated() {
    let (place, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = logs.path().join("log");
    let log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    Sidecar::configure(place.path(), "");
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(place.path().join("lunasec.toml"));
    let mut child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let said = |path: &Path| fs::read_to_string(path).unwrap();
    let hang_up = |pid: u32| {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::HUP).unwrap();
    };
    eventually("it serves", || said(&path).contains("serving"));
    fs::copy(&path, logs.path().join("log.1")).unwrap();
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    hang_up(child.id());
    eventually("it goes on after a copy", || said(&path).contains("is in force"));
    let moved = logs.path().join("log.2");
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "").unwrap();
    hang_up(child.id());
    eventually("it goes on in the file", || said(&moved).matches("read again").count() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Not the one that is asked where no file names any.
const NAME_SERVER: &str = "127.0.0.53";

/// Answers to one name, once it is told to; a name server's protocol in as few lines as do. Of the two addresses only one
/// is served: a C library puts them in order, which it asks the kernel about where it can.
fn name_server(known: &Arc<AtomicBool>) {
    let (socket, known) = (UdpSocket::bind((NAME_SERVER, 53)).unwrap(), Arc::clone(known));
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let Some(end) = query[12..length].iter().position(|&byte| byte == 0) else { continue };
            let question = &query[12..12 + end + 5];
            let is_address = question[end + 2] == 1;
            let found = known.load(Ordering::SeqCst);
            let mut answer = query[..2].to_vec();
            let answers = if found && is_address { 2 } else { 0 };
            answer.extend([0x81, if found { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
            answer.extend(question);
            for last in 1..=answers {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, last]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

/// A sidecar that is to read its keys at `https://id.test`.
fn with_a_named_issuer(signer: &Signer) -> (JwksServer, tempfile::TempDir, Sidecar) {
    let authority = Authority::new("a company's own");
    let server = JwksServer::start_tls(&jwks(&[signer]), authority.identity("id.test"));
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("ca.pem");
    authority.write(&file);
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let url = server.url.replace("127.0.0.1", "id.test");
    let sidecar = Sidecar::serve_with(place.path(), &(strict() + &issuer(&url)), &variables);
    (server, place, sidecar)
}

/// In a container `/etc/resolv.conf` is a mount, and only a few files of `/etc` can be opened.
#[test]
fn a_name_that_is_new_in_a_container() {
    in_network_namespace("sandbox::inside::a_name_that_is_new_in_a_container", || {
        let files = tempfile::tempdir().unwrap();
        let (resolv, hosts) = (files.path().join("resolv.conf"), files.path().join("hosts"));
        fs::write(&resolv, format!("nameserver {NAME_SERVER}\n")).unwrap();
        fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
        // On a file system of its own, as it is there.
        let mounts = files.path().join("mounts");
        lunasec_tests::namespace::mount_tmpfs(&mounts, "1m");
        for (file, place) in [(&resolv, "/etc/resolv.conf"), (&hosts, "/etc/hosts")] {
            let mounted = mounts.join(file.file_name().unwrap());
            fs::copy(file, &mounted).unwrap();
            bind(&mounted, Path::new(place));
        }
        let known = Arc::new(AtomicBool::new(false));
        name_server(&known);
        let signer = Signer::es256("key");
        let (_server, _place, sidecar) = with_a_named_issuer(&signer);
        assert!(!believes(&sidecar, &signer));
        known.store(true, Ordering::SeqCst);
        eventually("the name is found", || believes(&sidecar, &signer));
        // What else lies in /etc is closed: the keys of an issuer, for one.
        if status(&sidecar)["landlock_abi"] != 0 {
            let listed = "/etc/shadow";
            assert!(Path::new(listed).exists());
            assert!(!opens(&sidecar, listed), "{listed} can be opened");
        }
    });
}

/// On a machine it is a file like others, which is replaced.
#[test]
fn a_name_server_that_is_new_on_a_machine() {
    in_network_namespace("sandbox::inside::a_name_server_that_is_new_on_a_machine", || {
        let files = tempfile::tempdir().unwrap();
        let etc = files.path().join("etc");
        lunasec_tests::namespace::mount_tmpfs(&etc, "64m");
        copy_names(&etc);
        bind(&etc, Path::new("/etc"));
        fs::write("/etc/resolv.conf", "nameserver 127.0.0.9\noptions timeout:1 attempts:1\n")
            .unwrap();
        name_server(&Arc::new(AtomicBool::new(true)));
        let signer = Signer::es256("key");
        let (_server, _place, sidecar) = with_a_named_issuer(&signer);
        assert!(!believes(&sidecar, &signer));
        replace(Path::new("/etc/resolv.conf"), &format!("nameserver {NAME_SERVER}\n"));
        eventually("the next name server is asked", || believes(&sidecar, &signer));
    });
}

fn copy_names(etc: &Path) {
    for name in ["nsswitch.conf", "passwd", "group", "hosts"] {
        let _ = fs::copy(Path::new("/etc").join(name), etc.join(name));
    }
}

/// Whether the running sidecar can open that file: it is told to read an issuer's keys there.
fn opens(sidecar: &Sidecar, path: &str) -> bool {
    Sidecar::configure(sidecar.directory(), &(strict() + &issuer(path)));
    sidecar.signal(Signal::HUP);
    let (denied, read) = (format!("{path}: Permission denied"), "it is no JWK Set");
    eventually("it tries to", || {
        believes(sidecar, &Signer::es256("another"));
        sidecar.log().contains(&denied) || sidecar.log().contains(read)
    });
    !sidecar.log().contains(&denied)
}

/// The group that its socket is for is not root's, and the right to give files to others is not kept for that.
#[test]
fn a_socket_for_a_group_and_root_keeps_no_right_for_it() {
    let place = tempfile::tempdir().unwrap();
    let run = place.path().join("run");
    let config = text(place.path(), "");
    let config = config.replace("[listen]\n", &format!("[listen]\ngroup = \"{NOBODY}\"\n"));
    let socket = run.join("lunasec.sock");
    let config = config.replace(
        &place.path().join("lunasec.sock").display().to_string(),
        &socket.display().to_string(),
    );
    let file = place.path().join("lunasec.toml");
    fs::write(&file, config).unwrap();
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(&file);
    let sidecar = Sidecar::spawn(command, place.path(), socket.clone()).ok().unwrap();
    for path in [&run, &socket] {
        assert_eq!(fs::metadata(path).unwrap().gid(), NOBODY, "{}", path.display());
    }
    let left = status(&sidecar)["capabilities_left"].to_string();
    assert!(!left.contains("CHOWN"), "{left}");
}

/// Root without its rights opens what it is let into; the log says so before something cannot be opened.
#[test]
fn a_directory_that_root_is_not_let_into_is_told_of() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&state, Some(NOBODY), Some(NOBODY)).unwrap();
    Sidecar::configure(place.path(), "");
    let start = |mode: &str| {
        let mut command = lunasec();
        command.env("LUNASEC_SANDBOX__MODE", mode).args(["serve", "--config"]);
        command.arg(place.path().join("lunasec.toml"));
        Sidecar::spawn(command, place.path(), place.path().join("lunasec.sock"))
    };
    let Err((ended, log)) = start("on") else { panic!("it got in") };
    assert_eq!(ended.code(), Some(3), "{log}");
    let told = format!("path={}", state.display());
    assert!(log.contains(&told) && log.contains("run: chown root"), "{log}");
    assert!(start("off").is_ok());
}
