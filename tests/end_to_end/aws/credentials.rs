//! Where credentials come from. Each source has what opens the bucket and the key, on a moto that checks
//! signatures and policies; everything else that the chain could find is absent.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use lunasec_tests::{
    Sidecar,
    aws::{Cloud, Engine, Role, Server, wait},
    sidecar::lunasec,
};

use super::policy::policy;

/// A bucket and a key that a user and a role may use, and a server that is about to check that.
struct World {
    server: Server,
    cloud: Cloud,
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let server = Server::start(Engine::Moto);
        let cloud = wait(Cloud::at(Engine::Moto, server.endpoint.clone()));
        Self { server, cloud, directory: tempfile::tempdir().unwrap() }
    }

    fn policy(&self) -> String {
        policy(&self.cloud).to_string()
    }

    /// Writes a file of that name; its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A sidecar that finds nothing but what these variables name.
    fn sidecar(&self, variables: &[(&str, &str)]) -> Sidecar {
        let directory = self.directory.path();
        serve_with(directory, &self.cloud.configure(directory, ""), variables)
    }
}

/// A command line that finds no credentials of whoever runs the tests.
pub(crate) fn without_credentials(home: &Path) -> Command {
    let mut command = lunasec();
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// A sidecar in a directory that finds nothing but what these variables name.
pub(crate) fn serve_with(directory: &Path, config: &Path, variables: &[(&str, &str)]) -> Sidecar {
    let mut command = without_credentials(directory);
    command.envs(variables.iter().copied()).args(["serve", "--config"]).arg(config);
    Sidecar::spawn(command, directory, directory.join("lunasec.sock")).ok().unwrap()
}

fn works(sidecar: &Sidecar) {
    let answer = sidecar.post("/v1/tokenize", &serde_json::json!({ "value": "value" }));
    assert_eq!(answer.status, 200, "{}\n{}", answer.text(), sidecar.log());
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(sidecar.detokenize(&token).json()["value"], "value", "{}", sidecar.log());
}

#[test]
fn of_a_profile() {
    let world = World::new();
    let (key, secret) = world.server.user("shop", &world.policy());
    world.server.check_access();
    let profile = |name: &str, key: &str, secret: &str| {
        format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    };
    let text = profile("default", "AKIANOBODY", "x") + &profile("shop", &key, &secret);
    let path = world.file("credentials", &text);
    let file = ("AWS_SHARED_CREDENTIALS_FILE", path.as_str());
    works(&world.sidecar(&[file, ("AWS_PROFILE", "shop")]));
    // The other one is refused, so these were the right ones.
    let sidecar = world.sidecar(&[file]);
    let answer = sidecar.post("/v1/tokenize", &serde_json::json!({ "value": "value" }));
    assert_eq!(answer.code(), "storage_unavailable");
    super::assert_log(&sidecar, &["correct the AWS credentials"]);
}

#[test]
fn of_a_web_identity() {
    let world = World::new();
    let role = world.server.role("shop", &world.policy());
    let token = world.file("token", "header.claims.signature");
    let sidecar = world.sidecar(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &token),
        ("AWS_ROLE_ARN", &role.arn),
        ("AWS_ENDPOINT_URL_STS", &world.server.endpoint),
    ]);
    // moto does not let the exchange itself pass, which nobody signs, once it checks. What is exchanged is
    // kept until it ends.
    works(&sidecar);
    world.server.check_access();
    works(&sidecar);
}

#[test]
fn of_a_container_or_pod() {
    let world = World::new();
    let role = world.server.role("shop", &world.policy());
    world.server.check_access();
    let credentials = json(&role);
    let endpoint = serve(move |asked| {
        let well = asked.line == "GET /v1/credentials HTTP/1.1"
            && asked.header("authorization") == Some("a pod's own token");
        if well { Some(credentials.clone()) } else { None }
    });
    let token = world.file("token", "a pod's own token");
    works(&world.sidecar(&[
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{endpoint}/v1/credentials")),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token),
    ]));
}

/// Version 2 of the service: nothing without its token.
#[test]
fn of_an_instance() {
    const SESSION: &str = "a session of the metadata service";
    const ROLE: &str = "/latest/meta-data/iam/security-credentials/";
    let world = World::new();
    let role = world.server.role("shop", &world.policy());
    world.server.check_access();
    let credentials = json(&role);
    let endpoint = serve(move |asked| {
        let path = asked.line.split(' ').nth(1).unwrap();
        if asked.line == "PUT /latest/api/token HTTP/1.1" {
            return asked.header("x-aws-ec2-metadata-token-ttl-seconds").map(|_| SESSION.into());
        }
        if asked.header("x-aws-ec2-metadata-token") != Some(SESSION) {
            return None;
        }
        match path.strip_prefix(ROLE) {
            Some("") => Some("shop".into()),
            Some("shop") => Some(credentials.clone()),
            _ => None,
        }
    });
    works(&world.sidecar(&[
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint),
    ]));
}

/// As the services of containers and of instances write it.
fn json(role: &Role) -> String {
    serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": role.key,
        "SecretAccessKey": role.secret,
        "Token": role.session,
        "Expiration": "2099-01-01T00:00:00Z",
    })
    .to_string()
}

/// A request.
pub(crate) struct Asked {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Of a form that is posted, as it is spelled there.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.body.split('&').filter_map(|field| field.split_once('='));
        fields.find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// A server of HTTP: what it has no answer for is not found. Where it listens.
pub(crate) fn serve(answer: impl Fn(&Asked) -> Option<String> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(asked) = read(&mut stream) {
                let _ = stream.write_all(written(answer(&asked)).as_bytes());
            }
        }
    });
    endpoint
}

fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let mut asked = Asked { line, headers: headers.collect(), body: String::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).ok()?;
    Some(asked)
}

fn written(body: Option<String>) -> String {
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         x-aws-ec2-metadata-token-ttl-seconds: 21600\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
