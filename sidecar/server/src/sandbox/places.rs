//! Where the files lie that a sidecar reads and writes.
//!
//! All but a few rules are on directories: Kubernetes, package managers and editors put another file in the place of the
//! one that was there, and a rule on a file would go with the file.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
    process::geteuid,
};

use super::Sandbox;
use crate::{
    aws,
    config::{Config, Jwks, Keys, Storage},
    files, listen,
};

/// How what lies there is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Use {
    /// It is read.
    Read,
    /// It is read, and made first where it is missing.
    Make,
    /// It is written, and other files beside it.
    Write,
}

/// Files and directories that a sidecar uses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Places {
    /// Of these, all in the directories that they lie in.
    files: BTreeSet<(PathBuf, Use)>,
    /// All that is in these.
    directories: BTreeSet<(PathBuf, Use)>,
    /// Only these themselves.
    single: BTreeSet<PathBuf>,
}

/// What can be opened: a file, or all below a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    /// Where.
    pub path: PathBuf,
    /// To write, too.
    pub write: bool,
}

impl Places {
    /// What the configuration names.
    pub fn of(config: &Config) -> Self {
        let mut places = Self::default();
        places.file(&config.listen.socket, Use::Write);
        if let Storage::Embedded { path } = &config.storage {
            places.file(path, Use::Write);
        }
        if let Keys::Local { path } = &config.keys {
            places.file(path, Use::Make);
        }
        if let Some(key) = &config.degrade.standby_key_file {
            places.file(key, Use::Read);
        }
        if let Some(state) = &config.degrade.state_dir {
            places.directory(state, Use::Write);
        }
        if let Some(path) = &config.audit.path {
            places.file(path, Use::Write);
        }
        for issuer in &config.sessions {
            if let Jwks::File(path) = &issuer.jwks {
                places.file(path, Use::Read);
            }
        }
        places
    }

    /// The same, with the file that the configuration is read from.
    #[must_use]
    pub fn and_file(mut self, path: &Path) -> Self {
        self.file(path, Use::Read);
        self
    }

    /// The same, with what libraries read on this machine.
    #[must_use]
    pub fn and_machine(mut self, config: &Config) -> Self {
        self.authorities(|name| env::var_os(name));
        if config.uses_aws() {
            self.credentials(|name| env::var_os(name));
            for token in aws::profile::named().token_files {
                self.file(&token, Use::Read);
            }
        }
        self.single.extend(SINGLE.iter().map(PathBuf::from));
        for directory in READ {
            self.directory(Path::new(directory), Use::Read);
        }
        self.names();
        self
    }

    /// What names of hosts, users and groups are looked up in. A container has its own there as mounts, which nobody
    /// replaces, and beside them what is none of the sidecar's business; elsewhere they are replaced as files are.
    fn names(&mut self) {
        let device = |path: &Path| path.symlink_metadata().map(|it| it.dev()).ok();
        let mounted = device(Path::new("/etc/resolv.conf")) != device(Path::new("/etc"));
        if mounted && Path::new("/etc/resolv.conf").exists() {
            self.single.extend(NAMES.map(|name| Path::new("/etc").join(name)));
        } else {
            self.directory(Path::new("/etc"), Use::Read);
            self.file(Path::new("/etc/resolv.conf"), Use::Read);
        }
    }

    /// Certificate authorities, by the variables that name them.
    fn authorities(&mut self, variable: impl Fn(&str) -> Option<OsString>) {
        if let Some(file) = variable("SSL_CERT_FILE") {
            self.file(Path::new(&file), Use::Read);
        }
        for directory in variable("SSL_CERT_DIR").iter().flat_map(env::split_paths) {
            self.directory(&directory, Use::Read);
        }
    }

    /// Where the SDK of AWS finds credentials.
    fn credentials(&mut self, variable: impl Fn(&str) -> Option<OsString>) {
        let home = variable("HOME").map(PathBuf::from);
        let mut read = |path: PathBuf| {
            let path = match (path.strip_prefix("~"), &home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => path,
            };
            self.file(&path, Use::Read);
        };
        for name in CREDENTIALS {
            if let Some(path) = variable(name).filter(|path| !path.is_empty()) {
                read(path.into());
            }
        }
        if home.is_some() {
            read("~/.aws/config".into());
        }
    }

    fn file(&mut self, path: &Path, how: Use) {
        self.files.insert((path.to_owned(), how));
    }

    fn directory(&mut self, path: &Path, how: Use) {
        self.directories.insert((path.to_owned(), how));
    }

    /// Whether all of them could be used where these others can be.
    pub fn are_within(&self, others: &Self) -> bool {
        let of = |places: &Self| -> Vec<(PathBuf, Use)> {
            let above = |(path, how): &(PathBuf, Use)| (files::parent(path).to_owned(), *how);
            places.directories.iter().cloned().chain(places.files.iter().map(above)).collect()
        };
        let open = of(others);
        let is_open = |(path, how): &(PathBuf, Use)| {
            open.iter().any(|(other, most)| other == path && most >= how)
        };
        of(self).iter().all(is_open)
    }

    /// Makes the directories that would be made while they still can be. Whoever needs one that cannot be made says so.
    pub(super) fn prepare(&self, config: &Config) {
        let socket = &config.listen.socket;
        let group = config.listen.group.as_deref();
        if group.is_none_or(|group| listen::group_id(group).is_some()) {
            let _ = listen::prepare_directory(socket, group.and_then(listen::group_id));
        }
        let written = self.directories.iter().filter(|(_, how)| *how == Use::Write);
        for (directory, _) in written {
            let _ = files::create_private_directory(directory);
        }
        let written = self.files.iter().filter(|(file, how)| is_written(file, *how));
        for (file, _) in written.filter(|(file, _)| file != socket) {
            let _ = files::create_private_directory(files::parent(file));
        }
    }

    /// What they come to on this machine as it is now.
    pub(super) fn rules(&self) -> BTreeSet<Rule> {
        let mut rules = BTreeSet::new();
        for (directory, how) in &self.directories {
            rules.insert(Rule { path: directory.clone(), write: *how == Use::Write });
        }
        for (file, how) in &self.files {
            let write = is_written(file, *how);
            rules.insert(Rule { path: files::parent(file).to_owned(), write });
            // Where it leads, if it is a link.
            if let Ok(found) = fs::canonicalize(file) {
                rules.insert(Rule { path: files::parent(&found).to_owned(), write });
            }
        }
        rules.extend(self.single.iter().map(|path| Rule { path: path.clone(), write: false }));
        rules
    }

    /// Directories of these that are not of much use as they are, and what is wrong with them.
    pub(super) fn out_of_reach(&self, sandbox: &Sandbox) -> Vec<(PathBuf, &'static str)> {
        let mut said = Vec::new();
        for Rule { path, write } in self.rules() {
            let is_root = fs::canonicalize(&path).is_ok_and(|path| path.parent().is_none());
            if is_root && sandbox.landlock.is_ok() {
                said.push((path, "a file that the sidecar uses lies in the root directory, so that the sandbox lets it open every file; give it a directory of its own"));
            } else if write && sandbox.capabilities.is_ok() && is_closed_to_root(&path) {
                said.push((path, "this directory is another user's, and the sandbox has given up root's right to write there; run: chown root, or run the sidecar as its owner"));
            }
        }
        said
    }
}

fn is_written(file: &Path, how: Use) -> bool {
    match how {
        Use::Read => false,
        Use::Make => !file.exists(),
        Use::Write => true,
    }
}

fn is_closed_to_root(path: &Path) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let tried = accessat(CWD, path, wanted, AtFlags::EACCESS);
    geteuid().is_root() && tried == Err(Errno::ACCESS)
}

/// Variables that name files of AWS's credentials.
const CREDENTIALS: [&str; 4] = [
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// In `/etc`.
const NAMES: [&str; 9] = [
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "host.conf",
    "gai.conf",
    "services",
    "passwd",
    "group",
    "ld.so.cache",
];

/// Devices that hold nothing.
const SINGLE: &[&str] = &["/dev/null", "/dev/urandom", "/dev/random"];

/// What holds no secret, and libraries look at: certificate authorities, how names are resolved, modules of the C library
/// that do it, and what this process may use of the machine.
const READ: &[&str] = &[
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
    "/run/systemd/resolve",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/proc/self",
    "/sys/fs/cgroup",
    "/sys/devices/system/cpu",
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "[listen]\nsocket = \"/run/l/l.sock\"\n[storage]\nkind = \"embedded\"\npath = \"/var/l/store.redb\"\n\
             [keys]\nkind = \"local\"\npath = \"/etc/l/local.key\"\n{more}"
        );
        Config::parse(&text, &[]).unwrap()
    }

    fn rules(places: &Places) -> Vec<(String, bool)> {
        let text = |rule: Rule| (rule.path.display().to_string(), rule.write);
        places.rules().into_iter().map(text).collect()
    }

    fn expect(places: &Places, expected: &[(&str, bool)]) {
        let expected: Vec<_> =
            expected.iter().map(|(path, write)| ((*path).into(), *write)).collect();
        assert_eq!(rules(places), expected);
    }

    #[test]
    fn each_path_of_a_configuration_has_its_directory() {
        let issuer =
            "[[sessions]]\nissuer = \"i\"\naudience = \"a\"\njwks = \"/etc/keys/jwks.json\"\n";
        let more = format!(
            "[degrade]\nstate_dir = \"/var/state\"\nstandby_key_file = \"/etc/standby/key\"\n\
             [audit]\nsink = \"file\"\npath = \"/var/log/l/audit.jsonl\"\n{issuer}"
        );
        let places = Places::of(&config(&more)).and_file(Path::new("lunasec.toml"));
        expect(
            &places,
            &[
                ("/etc/keys", false),
                // There is none yet.
                ("/etc/l", true),
                ("/etc/standby", false),
                ("/run/l", true),
                ("/var/l", true),
                ("/var/log/l", true),
                ("/var/state", true),
                (".", false),
            ],
        );
    }

    #[test]
    fn a_link_is_followed_to_where_it_leads_and_a_key_that_is_there_is_only_read() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir(at("real")).unwrap();
        fs::create_dir(at("named")).unwrap();
        fs::write(at("real/key"), "").unwrap();
        symlink("../real/key", at("named/key")).unwrap();
        let mut places = Places::default();
        places.file(&at("named/key"), Use::Make);
        let read = |path: &str| Rule { path: at(path), write: false };
        assert_eq!(places.rules(), BTreeSet::from([read("named"), read("real")]));
        fs::remove_file(at("real/key")).unwrap();
        let write = Rule { path: at("named"), write: true };
        assert_eq!(places.rules(), BTreeSet::from([write]));
    }

    #[test]
    fn variables_name_more() {
        let variables = [
            ("HOME", "/home/me"),
            ("SSL_CERT_FILE", "/certs/ca.pem"),
            ("SSL_CERT_DIR", "/more:/yet/more"),
            ("AWS_CONFIG_FILE", "~/conf/aws"),
            ("AWS_SHARED_CREDENTIALS_FILE", ""),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks/token"),
        ];
        let variable = |name: &str| {
            variables.iter().find(|(one, _)| *one == name).map(|(_, value)| value.into())
        };
        let mut places = Places::default();
        places.authorities(variable);
        places.credentials(variable);
        expect(
            &places,
            &[
                ("/certs", false),
                ("/home/me/.aws", false),
                ("/home/me/conf", false),
                ("/more", false),
                ("/var/run/secrets/eks", false),
                ("/yet/more", false),
            ],
        );
    }

    #[test]
    fn a_reload_may_name_other_files_of_the_same_directories() {
        let issuer = |file: &str| {
            let jwks = format!("jwks = \"{file}\"\n");
            Places::of(&config(&format!("[[sessions]]\nissuer = \"i\"\naudience = \"a\"\n{jwks}")))
        };
        let started = issuer("/etc/keys/one.json");
        assert!(issuer("/etc/keys/two.json").are_within(&started));
        assert!(!issuer("/etc/other/one.json").are_within(&started));
    }
}
