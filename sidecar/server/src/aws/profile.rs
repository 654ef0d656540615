//! What a shared profile says that matters before anything is asked of AWS: a program to run, which a sidecar does not,
//! and files that are read again and again.

use std::{env, path::PathBuf};

use aws_config::profile::{self, Profile, ProfileSet};
use aws_types::os_shim_internal::{Env, Fs};
use futures_util::FutureExt as _;

/// The profile that credentials would come from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Named {
    /// The profile whose `credential_process` would be run.
    pub runs_a_program: Option<String>,
    /// Where tokens of a web identity are read.
    pub token_files: Vec<PathBuf>,
}

/// What the profiles of this process's user and variables say; nothing where they cannot be read, or where credentials are
/// variables themselves, which go first.
pub fn named() -> Named {
    let given = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    if given("AWS_ACCESS_KEY_ID") && given("AWS_SECRET_ACCESS_KEY") {
        return Named::default();
    }
    named_in(&Fs::real(), &Env::real())
}

fn named_in(files: &Fs, variables: &Env) -> Named {
    // It waits for nothing but files, and there is no runtime yet.
    let profiles = profile::load(files, variables, &Default::default(), None).now_or_never();
    let Some(Ok(profiles)) = profiles else { return Named::default() };
    in_use(&profiles)
}

/// Follows the profiles as the SDK does.
fn in_use(profiles: &ProfileSet) -> Named {
    let (mut named, mut visited) = (Named::default(), Vec::new());
    let mut name = profiles.selected_profile();
    while let Some(profile) = profiles.get_profile(name).filter(|_| !visited.contains(&name)) {
        let has = |key| profile.get(key).is_some();
        if !visited.is_empty() && has("aws_access_key_id") {
            break;
        }
        visited.push(name);
        match profile.get("source_profile") {
            Some(source) if has("role_arn") && source != name => name = source,
            _ => {
                named.token_files.extend(profile.get("web_identity_token_file").map(Into::into));
                named.runs_a_program = program_of(profile);
                break;
            }
        }
    }
    named
}

/// The profile's own name, if it comes to its program: other ways go first.
fn program_of(profile: &Profile) -> Option<String> {
    let first = [
        "credential_source",
        "web_identity_token_file",
        "sso_session",
        "sso_start_url",
        "login_session",
    ];
    let runs = profile.get("credential_process").is_some()
        && !first.iter().any(|key| profile.get(key).is_some());
    runs.then(|| profile.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str, credentials: &str, variables: &[(&str, &str)]) -> Named {
        let files = Fs::from_slice(&[
            ("/home/me/.aws/config", config),
            ("/home/me/.aws/credentials", credentials),
            ("/elsewhere/config", "[default]\ncredential_process = /bin/elsewhere\n"),
        ]);
        let home = [("HOME", "/home/me")];
        let variables: Vec<_> = home.into_iter().chain(variables.iter().copied()).collect();
        named_in(&files, &Env::from_slice(&variables))
    }

    #[test]
    fn a_program_is_found_where_it_would_be_run() {
        let runs = |named: Named| named.runs_a_program;
        let process = "credential_process = /bin/keys --secret\n";
        let default = format!("[default]\n{process}");
        assert_eq!(runs(of(&default, "", &[])).as_deref(), Some("default"));
        assert_eq!(runs(of("", &default, &[])).as_deref(), Some("default"));
        let other = format!("[default]\nregion = eu\n[profile other]\n{process}");
        assert_eq!(runs(of(&other, "", &[])), None);
        let chosen = [("AWS_PROFILE", "other")];
        assert_eq!(runs(of(&other, "", &chosen)).as_deref(), Some("other"));
        let elsewhere = [("AWS_CONFIG_FILE", "/elsewhere/config")];
        assert_eq!(runs(of("", "", &elsewhere)).as_deref(), Some("default"));
        let chained =
            format!("[default]\nrole_arn = a\nsource_profile = base\n[profile base]\n{process}");
        assert_eq!(runs(of(&chained, "", &[])).as_deref(), Some("base"));
        let key = "[base]\naws_access_key_id = a\naws_secret_access_key = b\n";
        assert_eq!(runs(of(&chained, key, &[])), None, "the source's own keys go first");
        let ring = "[default]\nrole_arn = a\nsource_profile = b\n[profile b]\nrole_arn = a\nsource_profile = default\n";
        assert_eq!(runs(of(ring, "", &[])), None);
        assert_eq!(runs(of("[default", "", &[])), None);
        assert_eq!(runs(of("", "", &[])), None);
    }

    #[test]
    fn the_file_of_a_web_identity_goes_before_a_program_and_is_told() {
        let config = "[default]\nrole_arn = a\nweb_identity_token_file = /var/token\ncredential_process = /bin/keys\n";
        let named = of(config, "", &[]);
        assert_eq!(named, Named { runs_a_program: None, token_files: vec!["/var/token".into()] });
    }
}
