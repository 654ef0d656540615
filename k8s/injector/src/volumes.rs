//! The volumes of the sidecar, and the one of the pod that may carry its journal.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, Volume, VolumeMount};
use serde_json::{Value, json};

use crate::{
    annotations::Annotations,
    mistakes::short,
    names::{
        CONFIG_VOLUME, NO_TOKEN_VOLUME, SOCKET_VOLUME, STANDBY_VOLUME, STATE_DIRECTORY,
        STATE_VOLUME, place,
    },
    settings::{Journal, Sidecar},
};

/// The volume of state and journal.
pub fn state(asked: &Annotations) -> &str {
    asked.journal_volume.as_deref().unwrap_or(STATE_VOLUME)
}

/// Those that a pod gets.
pub fn added(sidecar: &Sidecar, asked: &Annotations) -> Vec<Value> {
    let config = asked.config.as_ref().unwrap_or(&sidecar.config_map);
    let mut added = vec![
        json!({"name": SOCKET_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        json!({"name": CONFIG_VOLUME, "configMap": {"name": config}}),
        json!({"name": NO_TOKEN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    ];
    if asked.journal_volume.is_none() {
        // More than the sidecar's own bounds, which it keeps to by refusing: at this one the kubelet evicts the pod.
        let limit = asked.state_limit.as_ref().or(sidecar.state_limit.as_ref());
        let empty = limit.map_or(json!({}), |it| json!({"sizeLimit": it.to_string()}));
        added.push(json!({"name": STATE_VOLUME, "emptyDir": empty}));
    }
    if let Some(secret) = &asked.standby_key_secret {
        // Files of a Secret belong to root, and the sidecar is not root; no other container has this volume.
        let items = json!([{"key": "standby.key", "path": "standby.key"}]);
        let secret = json!({"secretName": secret, "items": items, "defaultMode": 0o444});
        added.push(json!({"name": STANDBY_VOLUME, "secret": secret}));
    }
    added.extend(asked.identity.iter().map(|it| it.volume()));
    added
}

/// Those of them that a node may lose when it is taken away, in the form of the cluster autoscaler's annotation: without
/// it, it keeps a node for any of these. The one with the only copy of a journal is not among them.
pub fn expendable(sidecar: &Sidecar, asked: &Annotations) -> Vec<&'static str> {
    let mut names = vec![SOCKET_VOLUME, NO_TOKEN_VOLUME];
    if asked.journal_volume.is_none() && !journal(sidecar, asked) {
        names.push(STATE_VOLUME);
    }
    names
}

/// Whether what was acknowledged as journaled outlives what the pod, or whoever runs the cluster, has not taken into
/// account. Without that there is no journal.
pub fn journal(sidecar: &Sidecar, asked: &Annotations) -> bool {
    asked.journal_volume.is_some()
        || asked.journal_loss
        || sidecar.journal == Journal::EphemeralAcknowledged
}

/// What is wrong with the volume that a pod names for its journal.
pub fn mistake(sidecar: &Sidecar, asked: &Annotations, pod: &PodSpec) -> Option<String> {
    let name = asked.journal_volume.as_ref()?;
    let mut volumes = pod.volumes.iter().flatten();
    let Some(volume) = volumes.find(|it| it.name == *name) else {
        return Some(format!(
            "lunasec.io/journal-volume names {name}, and the pod has no volume of that name; declare it in \
             spec.volumes or in volumeClaimTemplates"
        ));
    };
    let acknowledged = asked.journal_loss || sidecar.journal == Journal::EphemeralAcknowledged;
    match lasting(volume) {
        Lasting::Lasts => None,
        Lasting::DiesWithPod if acknowledged => None,
        Lasting::DiesWithPod => Some(format!(
            "lunasec.io/journal-volume names {name}, which dies with the pod, and every write that was acknowledged as \
             journaled with it; use a persistentVolumeClaim, or set lunasec.io/journal-loss: acknowledged"
        )),
        Lasting::NotWritable => Some(format!(
            "lunasec.io/journal-volume names {name}, which cannot be written; use a persistentVolumeClaim"
        )),
    }
}

/// What is wrong with a pod whose kubelet opens the journal's files to a group at each start.
pub fn opened(asked: &Annotations, spec: &PodSpec) -> Option<String> {
    let context = spec.security_context.as_ref().filter(|_| asked.journal_volume.is_some())?;
    (context.fs_group_change_policy.as_deref() == Some("Always")).then(|| {
        "fsGroupChangePolicy Always opens the journal's files to the pod's group at each start, and the sidecar does not \
         start with such files; take it out or set OnRootMismatch"
            .to_owned()
    })
}

/// Names of the pod's volumes that are the one with the journal, which may be declared more than once.
pub fn of_the_journal<'a>(asked: &Annotations, spec: &'a PodSpec) -> HashSet<&'a str> {
    let all = || spec.volumes.iter().flatten();
    let journal = all().find(|it| Some(&it.name) == asked.journal_volume.as_ref());
    let Some(journal) = journal else { return HashSet::new() };
    let same = all().filter(|it| it.name == journal.name || is_same(it, journal));
    same.map(|it| it.name.as_str()).collect()
}

fn is_same(one: &Volume, other: &Volume) -> bool {
    let claim =
        |it: &Volume| it.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    if claim(one).is_some() || claim(other).is_some() {
        return claim(one) == claim(other);
    }
    // What is made for the pod is another one each time; all else is what its fields say.
    let is_made = one.empty_dir.is_some() || one.ephemeral.is_some() || one.csi.is_some();
    let unnamed = |it: &Volume| Volume { name: String::new(), ..it.clone() };
    !is_made && unnamed(one) == unnamed(other)
}

/// What is wrong with a container that could remove or replace the journal.
pub fn shared(journal: &HashSet<&str>, container: &Container) -> Option<String> {
    let mounts = container.volume_mounts.iter().flatten();
    let mut mounts = mounts.filter(|it| journal.contains(it.name.as_str()));
    let at = mounts.find(|it| it.read_only != Some(true) && !is_beside(it))?;
    let name = short(&at.name);
    Some(format!(
        "container {} can write to {name} at {}, where the journal is: it could remove it, and what was acknowledged with \
         it; use a volume of its own for the journal, or mount this one with readOnly: true or with a subPath",
        short(&container.name),
        short(&at.mount_path)
    ))
}

/// A directory beside that of the journal.
fn is_beside(mount: &VolumeMount) -> bool {
    let first = mount.sub_path.as_deref().map(place).and_then(|it| it.first().copied());
    mount.sub_path_expr.is_none() && first.is_some_and(|it| it != STATE_DIRECTORY)
}

enum Lasting {
    Lasts,
    DiesWithPod,
    NotWritable,
}

fn lasting(volume: &Volume) -> Lasting {
    let read_only = volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.as_ref().is_some_and(|it| it.read_only == Some(true));
    // A driver's inline volume is made for its pod, as the other two are.
    let ephemeral = volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.csi.is_some()
        || volume.git_repo.is_some();
    if read_only {
        Lasting::NotWritable
    } else if ephemeral || only_named(volume) {
        Lasting::DiesWithPod
    } else {
        Lasting::Lasts
    }
}

/// A volume without a source is an emptyDir, which the API server fills in later; nothing else is only a name.
fn only_named(volume: &Volume) -> bool {
    *volume == Volume { name: volume.name.clone(), ..Volume::default() }
}
