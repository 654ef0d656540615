//! What of the sidecar's container stays as it was made, whatever a pod's json-patch, or another webhook, does to it.

use k8s_openapi::api::core::v1::Volume;
use serde_json::{Map, Value};

use crate::{mistakes::short, names::place};

/// What may be changed. Of `env` and `volumeMounts` only a part.
const FREE: [&str; 10] = [
    "image",
    "imagePullPolicy",
    "env",
    "volumeMounts",
    "resources",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "terminationMessagePath",
    "terminationMessagePolicy",
];
/// Variables that begin so are kept, if the injector set them: the socket, its group, the admin port, and what becomes
/// of writes while storage is away.
const KEPT: [&str; 2] = ["LUNASEC_LISTEN__", "LUNASEC_DEGRADE__"];

/// What an operator adds to `args` for one start, once a journal is older than its age.
const STALE: &str = "--replay-stale-journal";

/// What a container has that the one that was made must not become, in words. `volumes` are the pod's own.
pub fn mistake(made: &Value, is: &Value, volumes: &[Volume]) -> Option<String> {
    let (Some(made), Some(is)) = (made.as_object(), is.as_object()) else {
        return Some("it is no container".to_owned());
    };
    fields(made, is).or_else(|| variables(made, is)).or_else(|| mounts(made, is, volumes))
}

fn fields(made: &Map<String, Value>, is: &Map<String, Value>) -> Option<String> {
    let there =
        |of: &Map<String, Value>, key: &str| of.get(key).filter(|it| !it.is_null()).cloned();
    let replays = is_stale_replayed(items(made, "args"), items(is, "args"));
    let is_free = |key: &str| FREE.contains(&key) || (key == "args" && replays);
    let mut keys = made.keys().chain(is.keys()).filter(|key| !is_free(key));
    let changed = keys.find(|key| there(made, key) != there(is, key))?;
    Some(format!(
        "it changes {}; what may be changed is {}, and {STALE} may be added to args",
        short(changed),
        FREE.join(", ")
    ))
}

fn is_stale_replayed(made: &[Value], is: &[Value]) -> bool {
    is.strip_prefix(made).is_some_and(|more| *more == [STALE])
}

fn variables(made: &Map<String, Value>, is: &Map<String, Value>) -> Option<String> {
    let kept = items(made, "env").iter().filter(|it| {
        it["name"].as_str().is_some_and(|name| KEPT.iter().any(|prefix| name.starts_with(prefix)))
    });
    let mut changed = kept.filter(|variable| {
        // The last one of a name counts.
        let last = items(is, "env").iter().rev().find(|it| it["name"] == variable["name"]);
        last != Some(*variable)
    });
    let name = changed.next()?["name"].as_str().unwrap_or_default();
    Some(format!("it changes the variable {name}, which the injector sets"))
}

fn mounts(
    made: &Map<String, Value>,
    is: &Map<String, Value>,
    volumes: &[Volume],
) -> Option<String> {
    let (ours, all) = (items(made, "volumeMounts"), items(is, "volumeMounts"));
    let path = |mount: &Value| mount["mountPath"].as_str().unwrap_or_default().to_owned();
    if let Some(gone) = ours.iter().find(|it| !all.contains(it)) {
        return Some(format!("it changes or removes the mount at {}", path(gone)));
    }
    let ours_at: Vec<_> = ours.iter().map(path).collect();
    let ours_at: Vec<_> = ours_at.iter().map(|it| place(it)).collect();
    for mount in all.iter().filter(|it| !ours.contains(it)) {
        let at = path(mount);
        let parts = place(&at);
        if ours_at.iter().any(|it| it.starts_with(&parts) || parts.starts_with(it)) {
            return Some(format!(
                "it mounts something at {}, over a mount of the sidecar",
                short(&at)
            ));
        }
        let volume = volumes.iter().find(|it| mount["name"] == it.name.as_str());
        if !volume.is_some_and(is_harmless) {
            let name = mount["name"].as_str().unwrap_or_default();
            return Some(format!(
                "it mounts {}; beside its own the sidecar mounts only volumes of the pod that are a configMap, a secret, \
                 a downwardAPI, a csi, or a projected one without a token of the Kubernetes API",
                short(name)
            ));
        }
    }
    None
}

/// Not the node's files, nothing that the application writes, and no token that the Kubernetes API takes.
fn is_harmless(volume: &Volume) -> bool {
    let sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
    let mut tokens = sources.filter_map(|it| it.service_account_token.as_ref());
    let is_for_somebody_else = volume.projected.is_some()
        && tokens.all(|it| it.audience.as_ref().is_some_and(|audience| !audience.is_empty()));
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.csi.is_some()
        || is_for_somebody_else
}

fn items<'a>(of: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
