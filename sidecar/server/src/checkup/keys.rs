//! The keys: each configured one does what a sidecar asks of it, and every key that something in the
//! store is wrapped under is among them.

use std::collections::{BTreeMap, BTreeSet};

use lunasec_core::{ids::Namespace, limits};

use super::{Finding, State};
use crate::{
    config::KmsKeys,
    keys::{Context, KeyError, Keyring, Purpose, Wrapper},
    store::{Name, Store},
};

/// A namespace that no one has, for the key of all those without their own.
const NOBODYS: &str = "lunasec-check";

/// Looks at every configured key, and at one stored key for each that they are wrapped under.
pub async fn check_keys(
    keys: &KmsKeys,
    wrapper: &dyn Wrapper,
    stored: Option<(&dyn Store, &Keyring)>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut namespaces: BTreeMap<&str, &str> =
        keys.namespaces.iter().map(|(name, key)| (name.as_str(), key.as_str())).collect();
    namespaces.entry(NOBODYS).or_insert(&keys.key_id);
    for (namespace, key) in namespaces {
        if let Ok(namespace) = Namespace::parse(namespace) {
            findings.extend(configured(wrapper, &namespace, key).await);
        }
    }
    if let Some((store, keyring)) = stored {
        findings.extend(in_use(store, wrapper, keyring).await);
    }
    findings
}

async fn configured(wrapper: &dyn Wrapper, namespace: &Namespace, key: &str) -> Vec<Finding> {
    let context = Context { namespace, key: "check", purpose: Purpose::Data };
    let (made, wrapped) = match wrapper.make(&context).await {
        Ok(made) => made,
        Err(error) => return vec![Finding::wrong("key", words(error))],
    };
    let mut findings =
        vec![Finding::well("key", format!("{key} makes data keys (kms:GenerateDataKey)"))];
    findings.push(match wrapper.unwrap(&context, &wrapped).await {
        Ok(opened) if opened.expose() == made.expose() => {
            Finding::well("key", format!("{key} unwraps data keys (kms:Decrypt)"))
        }
        Ok(_) => Finding::wrong("key", format!("{key} unwraps to another key than it wrapped")),
        Err(error) => Finding::wrong("key", words(error)),
    });
    findings.push(match wrapper.rewrap(&context, &wrapped).await {
        Ok(_) => Finding::well("key", format!("{key} rewraps data keys (kms:ReEncrypt*)")),
        Err(KeyError::Refused(cause)) => Finding {
            about: "key",
            state: State::Unknown,
            words: format!("{cause}; only `lunasec keys rewrap` needs it"),
        },
        Err(error) => Finding::wrong("key", words(error)),
    });
    findings
}

async fn in_use(store: &dyn Store, wrapper: &dyn Wrapper, keyring: &Keyring) -> Vec<Finding> {
    const ABOUT: &str = "stored keys";
    let names = match store.list(Name::KEYS, None, limits::KEYS_IN_MEMORY).await {
        Ok(names) => names,
        Err(error) => return vec![Finding::wrong(ABOUT, error.to_string())],
    };
    if names.is_empty() {
        return vec![Finding::well(ABOUT, "there are none yet; the first tokenize makes one")];
    }
    let (mut seen, mut findings) = (BTreeSet::new(), Vec::new());
    for name in names {
        let under = match under(store, wrapper, &name).await {
            Ok(under) => under,
            Err(error) => {
                findings.push(Finding::wrong(ABOUT, format!("{name:?}: {}", words(error))));
                continue;
            }
        };
        if !seen.insert(under.clone()) {
            continue;
        }
        findings.push(match keyring.open_stored(&name).await {
            Ok(()) => Finding::well(ABOUT, format!("what is wrapped under {under} is unwrapped")),
            Err(error) => Finding::wrong(ABOUT, words(error)),
        });
    }
    findings
}

async fn under(store: &dyn Store, wrapper: &dyn Wrapper, name: &Name) -> Result<String, KeyError> {
    match store.get(name).await? {
        Some(object) => wrapper.wrapped_under(&object.bytes),
        None => Err(KeyError::Corrupted("it has vanished".into())),
    }
}

fn words(error: KeyError) -> String {
    match error {
        KeyError::Unavailable(cause)
        | KeyError::Refused(cause)
        | KeyError::Throttled(cause)
        | KeyError::Corrupted(cause) => cause,
        KeyError::Overloaded | KeyError::Store(_) => error.to_string(),
    }
}
