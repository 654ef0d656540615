//! The command line in the name of an end user: by a session, by a JWT, and for a purpose.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lunasec_core::limits::JWT_BYTES;
use lunasec_tests::{
    Sidecar,
    apart::strict,
    aws::{Cloud, Engine, wait},
    issuer::{Signer, seconds},
    sidecar::{lunasec, random_hex},
};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    files::{command, feed, sample, tokens},
    sessions::{session_of, sidecar as trusting},
};

/// A user, and how commands speak in the user's name.
#[derive(Default)]
struct User {
    session: String,
    jwt: Option<String>,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl User {
    fn by_argument(session: &str) -> Self {
        Self { arguments: vec!["--session".into(), session.into()], ..Self::of(session) }
    }

    fn by_variable(session: &str) -> Self {
        Self { variables: vec![("LUNASEC_SESSION", session.into())], ..Self::of(session) }
    }

    /// Writes the file.
    fn by_jwt(file: &Path, session: &str, jwt: &str) -> Self {
        fs::write(file, format!("{jwt}\n")).unwrap();
        let arguments = vec!["--jwt-file".into(), file.display().to_string()];
        Self { jwt: Some(jwt.into()), arguments, ..Self::of(session) }
    }

    fn of(session: &str) -> Self {
        Self { session: session.into(), ..Self::default() }
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// One value through standard streams.
    fn ask(&self, sidecar: &Sidecar, verb: &str, input: &[u8]) -> Output {
        let mut command = lunasec();
        command.arg(verb).arg("--socket").arg(sidecar.socket());
        feed(self.speaking(command), input)
    }

    /// The chosen columns of a file.
    fn turn(&self, sidecar: &Sidecar, verb: &str, input: &Path, output: &Path) -> Output {
        self.speaking(command(sidecar.socket(), verb, input, output)).output().unwrap()
    }

    fn speaking(&self, mut command: Command) -> Command {
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, text)| (name, text)));
        command
    }

    /// Whatever must not be seen of the user.
    fn secrets(&self) -> Vec<&str> {
        self.jwt.iter().map(String::as_str).chain([self.session.as_str()]).collect()
    }

    /// Lets the user reveal these.
    fn grant(&self, sidecar: &Sidecar, tokens: &[&str]) {
        let bearer = self.jwt.as_ref().map(|jwt| format!("Bearer {jwt}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", &**bearer)).collect();
        for tokens in tokens.chunks(1_000) {
            let body = json!({ "session": self.session, "tokens": tokens, "expires_in": "1h" });
            let body = body.to_string();
            let mut connection = sidecar.connect();
            let answer = connection.post_with("/v1/grants/create", &headers, body.as_bytes());
            let granted = answer.text().matches("expires_at").count();
            assert_eq!(granted, tokens.len(), "{}", answer.text());
        }
    }
}

fn succeed(output: &Output) -> String {
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success(), "{words}");
    words
}

/// That it ended so and said why, and that nobody learns any of the secrets by it.
fn assert_refused(output: &Output, exit: i32, why: &[&str], secrets: &[&str]) {
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(exit), &b""[..]), "{words}");
    for why in why {
        assert!(words.contains(why), "{why:?} is not said: {words}");
    }
    for secret in secrets {
        assert!(!words.contains(secret), "{secret:?} is shown: {words}");
    }
}

/// A directory with the sample, and with its tokens.
struct Place {
    directory: TempDir,
    tokenized: Vec<u8>,
}

impl Place {
    fn new(sidecar: &Sidecar) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("in.csv"), sample()).unwrap();
        let nobody = User::default();
        succeed(&nobody.turn(sidecar, "tokenize", &path("in.csv"), &path("tokens.csv")));
        let tokenized = fs::read(path("tokens.csv")).unwrap();
        Self { directory, tokenized }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn tokens(&self) -> Vec<&str> {
        tokens(&self.tokenized)
    }

    fn reveal(&self, sidecar: &Sidecar, user: &User, output: &str) -> Output {
        user.turn(sidecar, "detokenize", &self.path("tokens.csv"), &self.path(output))
    }

    /// All that is beside an output, and would become it.
    fn traces(&self, output: &str) -> [Vec<u8>; 2] {
        ["partial", "progress"].map(|what| {
            fs::read(self.path(&format!("{output}.lunasec-{what}"))).expect("there is a trace")
        })
    }
}

/// What of the sample is secret: the pieces that became tokens.
fn values(place: &Place) -> HashSet<String> {
    let pieces = |file: &[u8]| -> HashSet<String> {
        let text = String::from_utf8(file.to_vec()).unwrap();
        let long = text.split([',', '\n', '\r', '"']).filter(|piece| piece.len() >= 8);
        long.map(ToOwned::to_owned).collect()
    };
    let values = &pieces(&sample()) - &pieces(&place.tokenized);
    assert!(values.len() > 1_000);
    values
}

/// By whatever way the two speak: what is granted to alice alone is seen by her alone.
fn only_its_owner_sees_it(sidecar: &Sidecar, alice: &User, bob: &User) {
    let token = User::default().ask(sidecar, "tokenize", b"alice's \xff");
    succeed(&token);
    let token = token.stdout;
    let text = str::from_utf8(&token).unwrap();
    alice.grant(sidecar, &[text]);
    let revealed = alice.ask(sidecar, "detokenize", &token);
    succeed(&revealed);
    assert_eq!(revealed.stdout, b"alice's \xff");
    let secrets = [&bob.secrets()[..], &["alice's", text]].concat();
    assert_refused(&bob.ask(sidecar, "detokenize", &token), 1, &["grant_denied"], &secrets);
    let nobody = User::default().ask(sidecar, "detokenize", &token);
    assert_refused(&nobody, 1, &["unauthenticated"], &secrets);

    let place = Place::new(sidecar);
    alice.grant(sidecar, &place.tokens());
    let refused = place.reveal(sidecar, bob, "bobs.csv");
    let values = values(&place);
    let mut secrets: Vec<_> = values.iter().map(String::as_str).collect();
    secrets.extend([&bob.secrets()[..], &place.tokens()].concat());
    assert_refused(&refused, 1, &["row 2, column email", "(grant_denied)"], &secrets);
    assert!(!place.path("bobs.csv").exists());
    for trace in place.traces("bobs.csv") {
        let trace = String::from_utf8(trace).unwrap();
        let shown = secrets.iter().find(|secret| trace.contains(**secret));
        assert_eq!(shown, None);
    }
    succeed(&place.reveal(sidecar, alice, "alices.csv"));
    assert!(fs::read(place.path("alices.csv")).unwrap() == sample());
}

#[test]
fn one_users_session_cannot_reveal_anothers_value() {
    let sidecar = Sidecar::serve(&strict());
    for way in [User::by_argument, User::by_variable] {
        only_its_owner_sees_it(&sidecar, &way(&random_hex(12)), &way(&random_hex(12)));
    }
    // An argument is nearer than a variable.
    let token = sidecar.tokenize("value");
    let alice = User::by_argument("alice");
    alice.grant(&sidecar, &[&token]);
    let both = |near: &str, far: &str| {
        let arguments = ["--session", near];
        User::by_variable(far).with(&arguments).ask(&sidecar, "detokenize", token.as_bytes())
    };
    assert_eq!(both("alice", "bob").stdout, b"value");
    assert_refused(&both("bob", "alice"), 1, &["grant_denied"], &["value"]);
}

/// At the sidecar that granted it, and at another that shares the bucket, also after that was killed.
#[test]
fn nor_on_s3_through_another_sidecar() {
    let cloud = wait(Cloud::new(Engine::Moto));
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = cloud.sidecar(one.path(), &strict());
    let mut second = cloud.sidecar(two.path(), &strict());
    let (alice, bob) = (User::by_argument("alice"), User::by_variable("bob"));
    let token = first.tokenize("hers alone");
    alice.grant(&first, &[&token]);
    bob.grant(&first, &[&first.tokenize("bob's")]);
    let check = |sidecar: &Sidecar| {
        let refused = bob.ask(sidecar, "detokenize", token.as_bytes());
        assert_refused(&refused, 1, &["grant_denied"], &[&token, "hers alone", "bob"]);
        let revealed = alice.ask(sidecar, "detokenize", token.as_bytes());
        succeed(&revealed);
        assert_eq!(revealed.stdout, b"hers alone");
    };
    check(&first);
    check(&second);
    second.kill();
    second = cloud.sidecar(two.path(), &strict());
    check(&second);
}

#[test]
fn nor_can_one_users_jwt() {
    let signer = Signer::es256("key");
    let (sidecar, _server) = trusting(&[&signer]);
    let directory = tempfile::tempdir().unwrap();
    let user = |name: &str, seconds_left: i64| {
        let session = format!("{name}-{}", random_hex(12));
        let mut claims = session_of(&session);
        claims["exp"] = seconds().saturating_add_signed(seconds_left).into();
        User::by_jwt(&directory.path().join(name), &session, &signer.jwt(&claims))
    };
    let (alice, bob) = (user("alice", 600), user("bob", 600));
    only_its_owner_sees_it(&sidecar, &alice, &bob);

    let expired = user("expired", -120);
    let token = sidecar.tokenize("value");
    let why = ["unauthenticated", "it has expired"];
    let refused = expired.ask(&sidecar, "detokenize", token.as_bytes());
    assert_refused(&refused, 1, &why, &expired.secrets());
    let place = Place::new(&sidecar);
    let refused = place.reveal(&sidecar, &expired, "back.csv");
    assert_refused(&refused, 1, &why, &expired.secrets());
    assert!(!place.path("back.csv").exists());

    // Both may be said if both say the same.
    alice.grant(&sidecar, &[&token]);
    let session = alice.session.clone();
    let same = alice.with(&["--session", &session]).ask(&sidecar, "detokenize", token.as_bytes());
    assert_eq!(same.stdout, b"value");
    let other = bob.with(&["--session", &session]);
    let refused = other.ask(&sidecar, "detokenize", token.as_bytes());
    assert_refused(&refused, 1, &["forbidden", "another session"], &other.secrets());
    // Nobody's word is enough here.
    let refused = User::by_argument(&session).ask(&sidecar, "detokenize", token.as_bytes());
    assert_refused(&refused, 1, &["unauthenticated"], &[&session, "value"]);
}

#[test]
fn a_file_that_holds_no_jwt_is_a_mistake_in_the_arguments() {
    let signer = Signer::eddsa("key");
    let (sidecar, _server) = trusting(&[&signer]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("jwt");
    let jwt = signer.jwt(&session_of("alice"));
    let ask = |file: &str| {
        let user = User::default().with(&["--jwt-file", file]);
        user.ask(&sidecar, "tokenize", b"value")
    };
    let longest = "x".repeat(JWT_BYTES);
    let (mixed, large) = ("something else than one JWT", "is too large: a JWT has at most 12 KiB");
    let cases: [(Vec<u8>, &str); 9] = [
        ("".into(), "is empty"),
        (" \t\r\n".into(), "is empty"),
        (b"\xff\xfe\x00marker".into(), mixed),
        ("\u{feff}marker".into(), mixed),
        (format!("Bearer {jwt}").into(), mixed),
        (format!("{jwt}\n{jwt}\n").into(), mixed),
        (format!("{jwt}\0").into(), mixed),
        (format!("{longest}\r\nx").into(), large),
        (" ".repeat(1 << 20).into(), large),
    ];
    for (content, why) in cases {
        fs::write(&file, content).unwrap();
        let refused = ask(file.to_str().unwrap());
        assert_refused(&refused, 2, &["--jwt-file", why], &[&jwt, "marker", "xxx"]);
    }
    let directory = directory.path().to_str().unwrap();
    // The JWT in its file's place, by mistake.
    for path in [&format!("{directory}/marker"), directory, &jwt, &longest] {
        let secrets = [&jwt, "marker", "xxx"];
        assert_refused(&ask(path), 2, &["--jwt-file cannot be read"], &secrets);
    }
    assert_refused(&ask("/dev/zero"), 2, &["is too large"], &[]);
    assert_eq!(sidecar.stored_records(), 0);
    // The longest that fits is the sidecar's to judge.
    fs::write(&file, format!("{longest}\r\n")).unwrap();
    let refused = ask(file.to_str().unwrap());
    assert_refused(&refused, 1, &["unauthenticated", "compact form"], &["xxx"]);
}

#[test]
fn what_no_header_can_hold_is_a_mistake_in_the_arguments() {
    let sidecar = Sidecar::dev();
    let refused = |user: &User, why: &str| {
        let one = user.ask(&sidecar, "tokenize", b"value");
        assert_refused(&one, 2, &[why], &["marker"]);
        let directory = tempfile::tempdir().unwrap();
        let (input, output) = (directory.path().join("in.csv"), directory.path().join("out.csv"));
        fs::write(&input, sample()).unwrap();
        let file = user.turn(&sidecar, "tokenize", &input, &output);
        assert_refused(&file, 2, &[why], &["marker"]);
        assert_eq!(directory.path().read_dir().unwrap().count(), 1, "something is left");
    };
    for odd in ["marker\n", " marker", "marker ", "a\tmarker", "marker\r\na: b", "\u{a0}marker"] {
        refused(&User::by_argument(odd), "a session is 1 to 1,024 bytes of text without control");
        refused(&User::by_variable(odd), "a session is 1 to 1,024 bytes of text without control");
        refused(&User::default().with(&["--purpose", odd]), "the purpose cannot be sent");
        refused(&User::default().with(&["--namespace", odd]), "the namespace cannot be sent");
    }
    for odd in [String::new(), "marker".repeat(200)] {
        refused(&User::by_argument(&odd), "a session is 1 to 1,024 bytes");
        refused(&User::by_variable(&odd), "a session is 1 to 1,024 bytes");
    }
    refused(&User::default().with(&["--purpose", ""]), "the purpose cannot be sent");
    let purpose = |bytes: usize| User::default().with(&["--purpose", &"marker".repeat(bytes / 6)]);
    refused(&purpose(15 * 1_024), "shorten them");
    refused(&purpose(100 * 1_024), "shorten them");
    let mut odd = lunasec();
    odd.arg("tokenize").env("LUNASEC_SESSION", OsStr::from_bytes(b"\xffmarker"));
    assert_refused(&odd.output().unwrap(), 2, &["UTF-8"], &["marker"]);
    assert_eq!(sidecar.stored_records(), 0);
    // What a head can carry, and an audit trail should not.
    let long = purpose(14 * 1_024).ask(&sidecar, "tokenize", b"value");
    assert_refused(&long, 1, &["lunasec-purpose has at most 1024 bytes"], &["marker"]);
    succeed(&purpose(1_020).ask(&sidecar, "tokenize", b"value"));
}

#[test]
fn help_shows_no_session() {
    let mut help = lunasec();
    help.args(["detokenize", "--help"]).env("LUNASEC_SESSION", "marker");
    let output = help.env("LUNASEC_PURPOSE", "marker").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("LUNASEC_SESSION") && text.contains("LUNASEC_PURPOSE"), "{text}");
    assert!(!text.contains("marker"), "{text}");
}

#[test]
fn a_purpose_is_said_where_the_policy_asks_for_it() {
    let sidecar = Sidecar::serve(&(strict() + "require_purpose = true\n"));
    let place = Place::new(&sidecar);
    let alice = || User::by_argument("alice");
    alice().grant(&sidecar, &place.tokens());
    let token = place.tokens()[0].as_bytes().to_vec();
    let why = ["invalid_request", "purpose"];
    assert_refused(&alice().ask(&sidecar, "detokenize", &token), 1, &why, &["alice"]);
    assert_refused(&place.reveal(&sidecar, &alice(), "none.csv"), 1, &why, &["alice"]);
    let argument = alice().with(&["--purpose", "a refund"]);
    let variable = User { variables: vec![("LUNASEC_PURPOSE", "a refund".into())], ..alice() };
    for (user, output) in [(argument, "argument.csv"), (variable, "variable.csv")] {
        succeed(&user.ask(&sidecar, "detokenize", &token));
        succeed(&place.reveal(&sidecar, &user, output));
        assert!(fs::read(place.path(output)).unwrap() == sample());
    }
}

/// What one user was shown must not become part of another's file.
#[test]
fn an_interrupted_run_is_taken_up_only_for_its_session() {
    let sidecar = Sidecar::serve(&strict());
    let place = Place::new(&sidecar);
    let (alice, bob) = (User::by_argument("alice"), User::by_variable("bob"));
    let tokens = place.tokens();
    let (first, rest) = tokens.split_at(1_200);
    alice.grant(&sidecar, first);
    let stopped = place.reveal(&sidecar, &alice, "out.csv");
    let resumable = "run the same command again to resume";
    assert_refused(&stopped, 1, &["(grant_denied)", resumable], &["alice"]);
    let traces = place.traces("out.csv");
    assert!(traces[0].len() > 1_000, "nothing of it was done");
    assert!(!traces[1].windows(5).any(|part| part == b"alice"));

    bob.grant(&sidecar, &place.tokens());
    for other in [&bob, &User::by_argument("alice2"), &User::default()] {
        let refused = place.reveal(&sidecar, other, "out.csv");
        let why = ["it was for another session or with another JWT", "--force"];
        assert_refused(&refused, 1, &why, &["alice", "bob"]);
        assert!(place.traces("out.csv") == traces, "it was touched");
    }
    alice.grant(&sidecar, rest);
    // However the session is named.
    let words = succeed(&place.reveal(&sidecar, &User::by_variable("alice"), "out.csv"));
    assert!(words.contains("resumed at row"), "{words}");
    assert!(fs::read(place.path("out.csv")).unwrap() == sample());
}

#[test]
fn and_for_its_jwt_or_for_the_next_one_of_a_session_that_is_named() {
    let signer = Signer::eddsa("key");
    let (sidecar, _server) = trusting(&[&signer]);
    let place = Place::new(&sidecar);
    let now = seconds();
    let jwt = |session: &str, more: u64| {
        let mut claims = session_of(session);
        claims["iat"] = now.into();
        claims["exp"] = (now + more).into();
        User::by_jwt(&place.path(&format!("{session}-{more}")), session, &signer.jwt(&claims))
    };
    let alice = |more: u64| jwt("alice", more);
    let tokens = place.tokens();
    let (first, rest) = tokens.split_at(1_200);
    alice(600).grant(&sidecar, first);
    let named = |user: User| user.with(&["--session", "alice"]);
    let users = [alice(600), named(alice(600))];
    for (user, output) in users.iter().zip(["alone.csv", "named.csv"]) {
        let stopped = place.reveal(&sidecar, user, output);
        assert_refused(&stopped, 1, &["(grant_denied)"], &user.secrets());
        let [_, progress] = place.traces(output);
        let progress = String::from_utf8(progress).unwrap();
        assert!(user.secrets().iter().all(|secret| !progress.contains(secret)), "{progress}");
    }
    alice(600).grant(&sidecar, rest);
    let why = ["it was for another session or with another JWT"];
    for other in [jwt("bob", 600), alice(700), named(alice(600))] {
        assert_refused(&place.reveal(&sidecar, &other, "alone.csv"), 1, &why, &other.secrets());
    }
    for (user, output) in [(&users[0], "alone.csv"), (&named(alice(700)), "named.csv")] {
        let words = succeed(&place.reveal(&sidecar, user, output));
        assert!(words.contains("resumed at row"), "{words}");
        assert!(fs::read(place.path(output)).unwrap() == sample());
    }
}
