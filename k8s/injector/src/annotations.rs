//! What a pod asks for by its annotations. Every mistake is named, with what is allowed.

use std::collections::{BTreeMap, HashSet};

use json_patch::Patch;

use crate::{
    identity::{self, Identity},
    mistakes::{Mistakes, short},
    names::{INJECT, INJECTED, PREFIX, is_label, is_subdomain},
    quantity::{FORM, Quantity},
    settings::Level,
};

/// All of a pod.
pub type Texts = BTreeMap<String, String>;

/// Those that a pod may have, beside `inject` and `injected`.
const KNOWN: [&str; 17] = [
    "config",
    "cpu-request",
    "cpu-limit",
    "mem-request",
    "mem-limit",
    "log-level",
    "admin-port",
    "state-limit",
    "containers",
    "journal-volume",
    "journal-loss",
    "standby-key-secret",
    "aws-role-arn",
    "aws-pod-identity",
    "aws-region",
    "json-patch",
    "inject",
];

/// Containers that a pod names. It has fewer.
const NAMES: usize = 100;
const CONTAINERS: &str = "names of containers, divided by commas, 100 at most";
/// Of one annotation. The API server takes 256 KiB of all together, but only when it has asked the webhook.
const BYTES: usize = 64 << 10;

/// What they say.
#[derive(Debug, Default)]
pub struct Annotations {
    /// The ConfigMap with `lunasec.toml`.
    pub config: Option<String>,
    /// Request of processor time.
    pub cpu_request: Option<Quantity>,
    /// Limit of processor time.
    pub cpu_limit: Option<Quantity>,
    /// Request of memory.
    pub mem_request: Option<Quantity>,
    /// Limit of memory.
    pub mem_limit: Option<Quantity>,
    /// How much the sidecar logs.
    pub log_level: Option<Level>,
    /// The sidecar's port for probes and metrics.
    pub admin_port: Option<u16>,
    /// How large the volume may be that dies with the pod.
    pub state_limit: Option<Quantity>,
    /// Containers that get the socket, if not all.
    pub containers: Option<HashSet<String>>,
    /// The pod's volume that carries the journal.
    pub journal_volume: Option<String>,
    /// The journal may be lost with its pod.
    pub journal_loss: bool,
    /// The Secret with the standby key.
    pub standby_key_secret: Option<String>,
    /// Who the sidecar is to AWS.
    pub identity: Option<Identity>,
    /// The region of AWS.
    pub aws_region: Option<String>,
    /// Changes of the sidecar's container.
    pub json_patch: Option<Patch>,
}

/// Whether the pod wants a sidecar; a mistake if it says neither yes nor no.
pub fn wanted(texts: &Texts) -> Result<bool, String> {
    match texts.get(INJECT).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(mistake("inject", other, "\"true\" or \"false\"")),
    }
}

impl Annotations {
    /// Reads all of them, or names all mistakes.
    pub fn read(texts: &Texts) -> Result<Self, Vec<String>> {
        let mut reader = Reader { texts, mistakes: Mistakes::default() };
        unknown(texts, &mut reader.mistakes);
        let read = Self {
            config: reader.name("config", "ConfigMap"),
            cpu_request: reader.request("cpu-request"),
            cpu_limit: reader.limit("cpu-limit"),
            mem_request: reader.request("mem-request"),
            mem_limit: reader.limit("mem-limit"),
            log_level: reader.value("log-level", Level::parse, Level::FORM),
            admin_port: reader.value("admin-port", port, "a port from 1024 to 65535"),
            state_limit: reader.limit("state-limit"),
            containers: reader.value("containers", list, CONTAINERS),
            journal_volume: reader.value(
                "journal-volume",
                label,
                "the name of a volume of this pod",
            ),
            journal_loss: reader
                .value(
                    "journal-loss",
                    |it| (it == "acknowledged").then_some(()),
                    "\"acknowledged\"",
                )
                .is_some(),
            standby_key_secret: reader.name("standby-key-secret", "Secret"),
            identity: reader.identity(),
            aws_region: reader.value(
                "aws-region",
                identity::region,
                "a region such as eu-central-1",
            ),
            json_patch: reader.patch(),
        };
        if reader.mistakes.is_empty() { Ok(read) } else { Err(reader.mistakes.into_words()) }
    }
}

struct Reader<'a> {
    texts: &'a Texts,
    mistakes: Mistakes,
}

impl Reader<'_> {
    /// One that is too long was named before.
    fn text(&self, key: &str) -> Option<&str> {
        let text = self.texts.get(&format!("{PREFIX}{key}")).map(String::as_str);
        text.filter(|it| it.len() <= BYTES)
    }

    fn value<T>(&mut self, key: &str, parse: impl Fn(&str) -> Option<T>, form: &str) -> Option<T> {
        let text = self.text(key)?;
        let found = parse(text);
        if found.is_none() {
            let words = mistake(key, text, form);
            self.mistakes.add(|| words);
        }
        found
    }

    fn name(&mut self, key: &str, what: &str) -> Option<String> {
        let form = format!("the name of a {what} in the pod's namespace");
        self.value(key, |it| is_subdomain(it).then(|| it.to_owned()), &form)
    }

    fn request(&mut self, key: &str) -> Option<Quantity> {
        self.value(key, Quantity::parse, FORM)
    }

    fn limit(&mut self, key: &str) -> Option<Quantity> {
        let form = format!("{FORM}, and more than nothing");
        self.value(key, |it| Quantity::parse(it).filter(|it| !it.is_zero()), &form)
    }

    fn identity(&mut self) -> Option<Identity> {
        let form = "the ARN of a role of IAM, such as arn:aws:iam::123456789012:role/shop";
        let role = self.value("aws-role-arn", identity::role, form);
        let flag = |it: &str| it.parse::<bool>().ok();
        let pod = self.value("aws-pod-identity", flag, "\"true\" or \"false\"").unwrap_or_default();
        if pod && role.is_some() {
            let words = "lunasec.io/aws-role-arn and lunasec.io/aws-pod-identity are two ways to be \
                         somebody to AWS; keep one of them";
            self.mistakes.add(|| words.to_owned());
        }
        role.or_else(|| pod.then_some(Identity::Pod))
    }

    fn patch(&mut self) -> Option<Patch> {
        let text = self.text("json-patch")?;
        match serde_json::from_str(text) {
            Ok(patch) => Some(patch),
            Err(error) => {
                // The text itself is not repeated: it may be long, and may hold what somebody put there by mistake.
                self.mistakes.add(|| format!(
                    "lunasec.io/json-patch is no list of operations of RFC 6902 on the sidecar's container: {error}"
                ));
                None
            }
        }
    }
}

fn unknown(texts: &Texts, mistakes: &mut Mistakes) {
    let ours = texts.iter().filter(|(key, _)| key.as_str() != INJECTED);
    for (key, text) in ours.filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text))) {
        let key_there = short(key);
        if !KNOWN.contains(&key) {
            mistakes.add(|| {
                let known = KNOWN.join(", ");
                format!("lunasec.io/{key_there} is no annotation of LunaSec; there are {known}")
            });
        } else if text.len() > BYTES {
            mistakes.add(|| {
                format!("lunasec.io/{key_there} has {} bytes; {BYTES} are allowed", text.len())
            });
        }
    }
}

fn mistake(key: &str, text: &str, form: &str) -> String {
    let shown = short(text);
    format!("lunasec.io/{key} is {shown:?}; it must be {form}")
}

fn label(text: &str) -> Option<String> {
    is_label(text).then(|| text.to_owned())
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|it| *it >= 1024)
}

fn list(text: &str) -> Option<HashSet<String>> {
    let names: Option<Vec<_>> =
        text.split(',').take(NAMES + 1).map(|name| label(name.trim())).collect();
    names.filter(|it| it.len() <= NAMES).map(HashSet::from_iter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Annotations, Vec<String>> {
        Annotations::read(
            &pairs
                .iter()
                .map(|(key, text)| (format!("{PREFIX}{key}"), (*text).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn what_is_asked_for_is_read() {
        let read = read(&[
            ("inject", "true"),
            ("injected", "0.0.9"),
            ("config", "vault.v2"),
            ("cpu-request", "100m"),
            ("mem-limit", "1Gi"),
            ("log-level", "debug"),
            ("admin-port", "19464"),
            ("state-limit", "5Gi"),
            ("containers", "web, worker"),
            ("journal-volume", "data"),
            ("journal-loss", "acknowledged"),
            ("standby-key-secret", "standby"),
            ("aws-role-arn", "arn:aws:iam::123456789012:role/shop"),
            ("aws-region", "eu-central-1"),
            ("json-patch", r#"[{"op":"add","path":"/env/-","value":{"name":"A","value":"b"}}]"#),
        ])
        .unwrap();
        assert_eq!(read.config.as_deref(), Some("vault.v2"));
        assert_eq!(read.cpu_request.unwrap().to_string(), "100m");
        assert_eq!(read.mem_limit.unwrap().to_string(), "1Gi");
        assert_eq!(read.log_level, Some(Level::Debug));
        assert_eq!(read.admin_port, Some(19_464));
        assert_eq!(read.state_limit.unwrap().to_string(), "5Gi");
        assert_eq!(read.containers.unwrap(), ["web", "worker"].map(str::to_owned).into());
        assert_eq!(read.journal_volume.as_deref(), Some("data"));
        assert!(read.journal_loss);
        assert_eq!(read.standby_key_secret.as_deref(), Some("standby"));
        assert_eq!(
            read.identity,
            Some(Identity::Role("arn:aws:iam::123456789012:role/shop".into()))
        );
        assert_eq!(read.aws_region.as_deref(), Some("eu-central-1"));
        assert_eq!(read.json_patch.unwrap().0.len(), 1);
    }

    #[test]
    fn each_mistake_is_named_with_what_is_allowed() {
        for (key, text, allowed) in [
            ("config", "Not A Name", "the name of a ConfigMap"),
            ("cpu-request", "half", "50m"),
            ("cpu-limit", "0", "more than nothing"),
            ("mem-request", "64MB", "64Mi"),
            ("mem-limit", "-1", "64Mi"),
            ("log-level", "loud", "error, warn, info, debug or trace"),
            ("admin-port", "80", "a port from 1024 to 65535"),
            ("admin-port", "65536", "a port from 1024 to 65535"),
            ("state-limit", "0", "more than nothing"),
            ("containers", &["web"; 101].join(","), "100 at most"),
            ("json-patch", &" ".repeat(BYTES + 1), "65536 are allowed"),
            ("containers", "web,,worker", "divided by commas"),
            ("containers", "", "divided by commas"),
            ("journal-volume", "", "a volume of this pod"),
            ("journal-loss", "yes", "acknowledged"),
            ("standby-key-secret", "a/b", "the name of a Secret"),
            ("aws-role-arn", "shop", "arn:aws:iam::"),
            ("aws-pod-identity", "yes", "\"true\" or \"false\""),
            ("aws-region", "Frankfurt", "eu-central-1"),
            ("json-patch", "{}", "RFC 6902"),
            ("cpu_limit", "1", "cpu-limit"),
        ] {
            let words = read(&[(key, text)]).unwrap_err();
            assert_eq!(words.len(), 1, "{words:?}");
            assert!(words[0].contains(&format!("lunasec.io/{key}")), "{words:?}");
            assert!(words[0].contains(allowed), "{words:?} says nothing of {allowed}");
        }
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let words = read(&[("mem-limit", "x"), ("cpu-limit", "y"), ("sidecar", "z")]).unwrap_err();
        assert_eq!(words.len(), 3, "{words:?}");
    }

    #[test]
    fn one_cannot_be_two_to_aws() {
        let role = ("aws-role-arn", "arn:aws:iam::123456789012:role/shop");
        let words = read(&[role, ("aws-pod-identity", "true")]).unwrap_err();
        assert!(words[0].contains("keep one"), "{words:?}");
        assert!(read(&[role, ("aws-pod-identity", "false")]).is_ok());
    }

    #[test]
    fn a_pod_says_whether_it_wants_a_sidecar() {
        let texts = |text: &str| Texts::from([(INJECT.to_owned(), text.to_owned())]);
        assert_eq!(wanted(&texts("true")), Ok(true));
        assert_eq!(wanted(&texts("false")), Ok(false));
        assert_eq!(wanted(&Texts::new()), Ok(false));
        assert!(wanted(&texts("enabled")).unwrap_err().contains("\"true\" or \"false\""));
    }
}
