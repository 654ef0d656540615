//! Real servers of S3 and KMS on this machine, started once for each test binary by `dev/server`, and
//! a bucket and a key for each test.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use aws_sdk_s3::{
    config::Credentials,
    types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration,
        VersioningConfiguration,
    },
};
use lunasec_core::ids::Namespace;
use lunasec_sidecar::{
    attempts::Attempts,
    aws::Aws,
    breaker::Breaker,
    config::{KmsKeys, S3Place},
    env::{Clock, SystemClock, SystemEntropy},
    keys::{self, Context, Kms, Purpose, Wrapper},
    store::{self, S3Store},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;

use crate::{
    Backend, raw,
    sidecar::{Sidecar, lunasec, random_hex},
};

/// The servers know every region by its name alone.
pub const REGION: &str = "eu-central-1";
/// How long a server may take that is installed first.
const INSTALLATION: Duration = Duration::from_secs(600);

/// A program that speaks S3 and KMS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Engine {
    /// The closer one to AWS, and the slower.
    LocalStack,
    /// The fast one. It decrypts with disabled keys and takes wrong checksums.
    Moto,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Self::LocalStack => "localstack",
            Self::Moto => "moto",
        }
    }

    /// Where it answers; started if it is not running yet.
    pub fn endpoint(self) -> String {
        static RUNNING: OnceLock<Mutex<HashMap<Engine, Server>>> = OnceLock::new();
        let mut running = RUNNING.get_or_init(Mutex::default).lock().unwrap();
        running.entry(self).or_insert_with(|| Server::start(self)).endpoint.clone()
    }
}

/// A server that runs for as long as this is held, or until this process ends.
pub struct Server {
    /// Where it answers.
    pub endpoint: String,
    child: Child,
}

impl Server {
    /// It ends when its standard input does, which is when this process ends.
    pub fn start(engine: Engine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port_file = directory.path().join("endpoint");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new(root.join("dev/server"));
        command.arg(engine.name()).arg("--port-file").arg(&port_file).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?} cannot be run: {error}; it needs Python 3, see dev/README.md")
        });
        let deadline = Instant::now() + INSTALLATION;
        loop {
            if let Ok(endpoint) = fs::read_to_string(&port_file) {
                return Self { endpoint: endpoint.trim().to_owned(), child };
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{command:?} ended with {status}; it says above what is missing");
            }
            assert!(Instant::now() < deadline, "{command:?} does not come up");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGSTOP: connections stay as they are, and nothing is answered until it goes on.
    pub fn pause(&self) -> Paused {
        let paused = Paused(child_of(self.child.id()));
        kill_process(paused.0, Signal::STOP).unwrap();
        paused
    }

    /// From now on moto checks signatures and policies, of everyone.
    pub fn check_access(&self) {
        let answer = self.ask("/moto-api/reset-auth", "", "0");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Makes a user with a policy; its access key and secret.
    pub fn user(&self, name: &str, policy: &str) -> (String, String) {
        let user = format!("&UserName={name}");
        self.iam("CreateUser", &user);
        let policy = escaped(policy);
        let policy = format!("{user}&PolicyName=least&PolicyDocument={policy}");
        self.iam("PutUserPolicy", &policy);
        let made = self.iam("CreateAccessKey", &user);
        (element(&made, "AccessKeyId"), element(&made, "SecretAccessKey"))
    }

    /// Makes a role with a policy, and takes it on.
    pub fn role(&self, name: &str, policy: &str) -> Role {
        let role = format!("&RoleName={name}");
        let made = self.iam("CreateRole", &format!("{role}&AssumeRolePolicyDocument=%7B%7D"));
        let arn = element(&made, "Arn");
        let policy = escaped(policy);
        self.iam("PutRolePolicy", &format!("{role}&PolicyName=least&PolicyDocument={policy}"));
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName=tests",
            escaped(&arn)
        );
        let taken = self.query("sts", &body);
        Role {
            key: element(&taken, "AccessKeyId"),
            secret: element(&taken, "SecretAccessKey"),
            session: element(&taken, "SessionToken"),
            arn,
        }
    }

    fn iam(&self, action: &str, more: &str) -> String {
        self.query("iam", &format!("Action={action}&Version=2010-05-08{more}"))
    }

    fn query(&self, service: &str, body: &str) -> String {
        let answer = self.ask("/", service, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    fn ask(&self, path: &str, service: &str, body: &str) -> raw::Answer {
        let scope = format!("test/20260101/{REGION}/{service}/aws4_request");
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none");
        // moto's own interface takes no form.
        let form =
            if service.is_empty() { "text/plain" } else { "application/x-www-form-urlencoded" };
        let headers = [("content-type", form), ("authorization", authorization.as_str())];
        let mut connection = raw::connect_tcp(self.endpoint.strip_prefix("http://").unwrap());
        connection.send(raw::request(path, &headers, body.as_bytes())).unwrap();
        connection.answer().unwrap()
    }
}

/// A server that is stopped for as long as this is held.
pub struct Paused(Pid);

impl Drop for Paused {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

/// What `dev/server` has started: moto, or what stands before LocalStack.
fn child_of(pid: u32) -> Pid {
    let is_child = |process: &u32| {
        // Its name is in brackets, and may be anything; some end meanwhile.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok()) == Some(pid)
    };
    let entries = fs::read_dir("/proc").unwrap();
    let processes = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let child = processes.into_iter().find(is_child).expect("dev/server has started a server");
    Pid::from_raw(child.try_into().unwrap()).unwrap()
}

/// A role, and credentials of it.
pub struct Role {
    /// Its name to AWS.
    pub arn: String,
    /// An access key.
    pub key: String,
    /// Its secret.
    pub secret: String,
    /// Its session's token.
    pub session: String,
}

/// As a form has it.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What the first element of that name holds.
fn element(xml: &str, tag: &str) -> String {
    let rest = xml.split(&format!("<{tag}>")).nth(1).expect(xml);
    rest.split('<').next().unwrap().to_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs what is asynchronous for a test that is not.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    // One for all: a client's connections live in the runtime they were made in.
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(work)
}

/// A bucket and a key of one test.
pub struct Cloud {
    /// Of which server.
    pub engine: Engine,
    /// Where the objects lie.
    pub place: S3Place,
    /// What wraps: an alias.
    pub keys: KmsKeys,
    /// A client that may do anything.
    pub s3: aws_sdk_s3::Client,
    /// The same.
    pub kms: aws_sdk_kms::Client,
}

/// Dummies: they open nothing anywhere.
fn aws() -> Aws {
    Aws::with_credentials(Credentials::new("test", "test", None, None, "tests"))
}

/// As a sidecar makes them.
pub fn attempts() -> Attempts {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let breaker = Arc::new(Breaker::new(Arc::clone(&clock)));
    Attempts::new(Arc::new(SystemEntropy::default()), clock, breaker)
}

impl Cloud {
    /// A new bucket and a new key.
    pub async fn new(engine: Engine) -> Self {
        Self::at(engine, engine.endpoint()).await
    }

    /// The same on a server that a test has to itself.
    pub async fn at(engine: Engine, endpoint: String) -> Self {
        let id = random_hex(8);
        let cloud = Self::of(engine, &endpoint, &format!("bucket-{id}"), &format!("alias/{id}"));
        cloud.make().await;
        cloud
    }

    /// A bucket and a key that are there.
    fn of(engine: Engine, endpoint: &str, bucket: &str, key: &str) -> Self {
        let endpoint = Some(endpoint.to_owned());
        let place = S3Place {
            bucket: bucket.into(),
            prefix: "tokens/".into(),
            region: REGION.into(),
            endpoint: endpoint.clone(),
            path_style: true,
        };
        let keys = KmsKeys {
            key_id: key.into(),
            region: REGION.into(),
            endpoint,
            accept_key_ids: Vec::new(),
            namespaces: std::collections::BTreeMap::new(),
        };
        let (s3, kms) = (aws().s3(&place), aws().kms(&keys));
        Self { engine, place, keys, s3, kms }
    }

    /// What a fake of S3 and KMS has, of which no more than a sidecar asks may be asked.
    pub fn fake(endpoint: &str, bucket: &str, key: &str) -> Self {
        Self::of(Engine::Moto, endpoint, bucket, key)
    }

    async fn make(&self) {
        let Self { place, s3, kms, keys, .. } = self;
        let region = BucketLocationConstraint::from(REGION);
        let configuration =
            CreateBucketConfiguration::builder().location_constraint(region).build();
        s3.create_bucket()
            .bucket(&place.bucket)
            .create_bucket_configuration(configuration)
            .send()
            .await
            .unwrap();
        let arn = self.new_key().await;
        let alias = kms.create_alias().alias_name(&keys.key_id).target_key_id(arn);
        alias.send().await.unwrap();
    }

    /// A new KMS key; its ARN.
    pub async fn new_key(&self) -> String {
        let made = self.kms.create_key().send().await.unwrap();
        made.key_metadata().and_then(|key| key.arn()).unwrap().to_owned()
    }

    /// The key that the alias names now; its ARN.
    pub async fn current_key(&self) -> String {
        let found = self.kms.describe_key().key_id(&self.keys.key_id).send().await.unwrap();
        found.key_metadata().and_then(|key| key.arn()).unwrap().to_owned()
    }

    /// Makes the alias name another key.
    pub async fn point_alias_to(&self, arn: &str) {
        // LocalStack takes an ARN, and then cannot find it.
        let id = arn.rsplit('/').next().unwrap();
        let alias = self.kms.update_alias().alias_name(&self.keys.key_id);
        alias.target_key_id(id).send().await.unwrap();
    }

    /// Turns versioning on.
    pub async fn version_bucket(&self) {
        let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let bucket = self.s3.put_bucket_versioning().bucket(&self.place.bucket);
        bucket.versioning_configuration(on).send().await.unwrap();
    }

    /// The names below a prefix, the bucket's own left out.
    pub async fn names(&self, prefix: &str) -> Vec<String> {
        use lunasec_sidecar::store::Store;
        let names = self.store().list(prefix, None, 100_000).await.unwrap();
        names.iter().map(|name| name.as_str().to_owned()).collect()
    }

    /// Everything in the bucket.
    pub async fn objects(&self) -> Vec<(String, Vec<u8>)> {
        let mut objects = Vec::new();
        for name in self.names("").await {
            let key = format!("{}{name}", self.place.prefix);
            let object = self.s3.get_object().bucket(&self.place.bucket).key(&key).send().await;
            let bytes = object.unwrap().body.collect().await.unwrap().to_vec();
            objects.push((key, bytes));
        }
        objects
    }

    /// The wrapped keys in the bucket.
    pub async fn wrapped_keys(&self) -> Vec<Vec<u8>> {
        let keys = format!("{}k/", self.place.prefix);
        let objects = self.objects().await.into_iter();
        objects.filter(|(name, _)| name.starts_with(&keys)).map(|(_, bytes)| bytes).collect()
    }

    /// Replaces the wrapped key of the default namespace by one under another KMS key, as whoever can
    /// write to the bucket could.
    pub async fn plant(&self, arn: &str) {
        let name = self.names("k/default/").await.remove(0);
        let strangers = KmsKeys { key_id: arn.to_owned(), ..self.keys.clone() };
        let namespace = Namespace::default();
        let id = name.rsplit('/').next().unwrap();
        let context = Context { namespace: &namespace, key: id, purpose: Purpose::Data };
        let (_, wrapped) = Kms::new(&aws(), &strangers).make(&context).await.unwrap();
        let key = format!("{}{name}", self.place.prefix);
        let put = self.s3.put_object().bucket(&self.place.bucket).key(key).body(wrapped.into());
        put.send().await.unwrap();
    }

    /// How many versions of records are no longer current.
    pub async fn noncurrent_versions(&self) -> usize {
        let listed =
            self.s3.list_object_versions().bucket(&self.place.bucket).send().await.unwrap();
        listed.versions().iter().filter(|version| version.is_latest() == Some(false)).count()
    }

    /// A store with a client of its own, as a sidecar has it.
    pub fn store(&self) -> store::Retried<S3Store> {
        store::Retried::new(S3Store::new(&aws(), &self.place), attempts())
    }

    /// A keeper of keys with a client of its own.
    pub fn wrapper(&self) -> keys::Retried<Kms> {
        keys::Retried::new(Kms::new(&aws(), &self.keys), attempts())
    }

    /// Itself, for the conformance functions.
    pub fn backend(self) -> Backend {
        let cloud = Arc::new(self);
        let for_keys = Arc::clone(&cloud);
        Backend::new(
            Box::new(move || Arc::new(cloud.store())),
            Box::new(move || Arc::new(for_keys.wrapper())),
        )
    }

    /// `lunasec serve` on it, in a directory that may have been used before, with `extra` lines below
    /// `[keys]` and further sections.
    pub fn sidecar(&self, directory: &Path, extra: &str) -> Sidecar {
        self.sidecar_with(directory, extra, &[])
    }

    /// The same, with variables that override the configuration.
    pub fn sidecar_with(
        &self,
        directory: &Path,
        extra: &str,
        variables: &[(&str, &str)],
    ) -> Sidecar {
        self.try_sidecar(directory, extra, variables).unwrap_or_else(|(status, log)| {
            panic!("the sidecar ended with {status} instead of starting:\n{log}")
        })
    }

    /// The same, or how it ended and what it said.
    pub fn try_sidecar(
        &self,
        directory: &Path,
        extra: &str,
        variables: &[(&str, &str)],
    ) -> Result<Sidecar, (ExitStatus, String)> {
        let config = self.configure(directory, extra);
        let mut command = self.lunasec();
        command.args(["serve", "--config"]).arg(config).envs(variables.iter().copied());
        Sidecar::spawn(command, directory, directory.join("lunasec.sock"))
    }

    /// Writes the configuration of such a sidecar.
    pub fn configure(&self, directory: &Path, extra: &str) -> PathBuf {
        let path = directory.join("lunasec.toml");
        fs::write(&path, self.config(directory, extra)).unwrap();
        path
    }

    fn config(&self, directory: &Path, extra: &str) -> String {
        let dir = directory.display();
        let S3Place { bucket, prefix, region, endpoint, .. } = &self.place;
        let endpoint = endpoint.as_deref().unwrap();
        let (key, keys) = (&self.keys.key_id, self.keys.endpoint.as_deref().unwrap());
        format!(
            "[listen]\nsocket = \"{dir}/lunasec.sock\"\nadmin = \"127.0.0.1:0\"\n\
             [degrade]\nstate_dir = \"{dir}/state\"\n\
             [storage]\nkind = \"s3\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\"\nregion = \"{region}\"\n\
             endpoint = \"{endpoint}\"\npath_style = true\n\
             [keys]\nkind = \"kms\"\nkey_id = \"{key}\"\nregion = \"{region}\"\nendpoint = \"{keys}\"\n{extra}"
        )
    }

    /// A command line with the credentials of a user that may do anything.
    pub fn lunasec(&self) -> Command {
        let mut command = lunasec();
        command
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }
}
