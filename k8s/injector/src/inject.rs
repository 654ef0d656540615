//! What becomes of a pod. No I/O, and nothing is remembered: the same pod and settings have the same answer.

use json_patch::{Patch, PatchError};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    annotations::{self, Annotations},
    container,
    edits::Edits,
    mistakes::{Mistakes, cut},
    names::{
        CONTAINER, EXPENDABLE, INJECTED, SOCKET, SOCKET_PLACE, SOCKET_VARIABLE, SOCKET_VOLUME,
    },
    settings::Settings,
    size, volumes,
};

mod already;
mod rules;

pub use rules::is_taken;

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// It gets a sidecar by this patch, and whoever made it these warnings.
    Injected {
        /// The changes.
        patch: Patch,
        /// What to think about.
        warnings: Vec<String>,
    },
    /// It is let through as it is.
    Skipped(Why),
    /// It is refused, for all of these reasons.
    Denied(Vec<String>),
}

/// Why a pod gets no sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It does not ask for one.
    NotWanted,
    /// It has one of ours.
    Already,
}

/// What cannot be read as a pod.
#[derive(Debug, thiserror::Error)]
#[error("this cannot be read as a pod: {0}")]
pub struct NoPod(String);

/// Decides.
pub fn decide(settings: &Settings, value: &Value) -> Result<Decision, NoPod> {
    if let Err(words) = size::of_pod(value) {
        return Ok(Decision::Denied(vec![format!(
            "the pod is too large for the injector: {words}"
        )]));
    }
    let pod = Pod::deserialize(value).map_err(|error| NoPod(cut(error.to_string())))?;
    let texts = pod.metadata.annotations.unwrap_or_default();
    match annotations::wanted(&texts) {
        Ok(true) => {}
        Ok(false) => return Ok(Decision::Skipped(Why::NotWanted)),
        Err(words) => return Ok(Decision::Denied(vec![words])),
    }
    let spec = pod.spec.ok_or_else(|| NoPod("it has no spec".to_owned()))?;
    if let Some(decision) = named_alike(settings, &texts, &spec, value) {
        return Ok(decision);
    }
    Ok(match Plan::new(settings, &texts, &spec) {
        Ok(plan) => match plan.patch(value.clone(), &spec) {
            Ok(patch) => Decision::Injected { patch, warnings: plan.warnings },
            Err(error) => Decision::Denied(vec![format!("the pod cannot be changed: {error}")]),
        },
        Err(mistakes) => Decision::Denied(mistakes),
    })
}

/// Lets a pod through that has our sidecar, and refuses one that has something else of that name.
fn named_alike(
    settings: &Settings,
    texts: &annotations::Texts,
    spec: &PodSpec,
    pod: &Value,
) -> Option<Decision> {
    let is_named = |it: &Container| it.name == CONTAINER;
    let first = spec.init_containers.iter().flatten().any(is_named);
    if !first && !spec.containers.iter().any(is_named) {
        return None;
    }
    if first && texts.contains_key(INJECTED) {
        let mistakes = already::mistakes(settings, texts, spec, pod);
        return Some(if mistakes.is_empty() {
            Decision::Skipped(Why::Already)
        } else {
            Decision::Denied(mistakes)
        });
    }
    let words = format!(
        "the pod has a container named {CONTAINER}, which is the sidecar's name; rename it, or, if it is a sidecar that \
         you wrote yourself, remove lunasec.io/inject"
    );
    Some(Decision::Denied(vec![words]))
}

/// All that a pod gets.
struct Plan<'a> {
    settings: &'a Settings,
    sidecar: Value,
    volumes: Vec<Value>,
    asked: Annotations,
    /// The cluster autoscaler's annotation.
    expendable: String,
    warnings: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(
        settings: &'a Settings,
        texts: &annotations::Texts,
        spec: &PodSpec,
    ) -> Result<Self, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let asked = Annotations::read(texts).unwrap_or_else(|words| {
            mistakes.extend(words);
            Annotations::default()
        });
        rules::of_pod(&settings.sidecar, &asked, spec, &mut mistakes);
        rules::of_asked(&settings.sidecar, &asked, spec, &mut mistakes);
        let journal = volumes::journal(&settings.sidecar, &asked);
        let own = spec.volumes.as_deref().unwrap_or_default();
        let sidecar =
            container::build(&settings.sidecar, &asked, journal, own).unwrap_or_else(|words| {
                mistakes.extend(words);
                Value::Null
            });
        if !mistakes.is_empty() {
            return Err(mistakes.into_words());
        }
        let volumes = volumes::added(&settings.sidecar, &asked);
        let expendable = joined(texts, &volumes::expendable(&settings.sidecar, &asked));
        let warnings = rules::warnings(&asked, spec);
        Ok(Self { settings, sidecar, volumes, asked, expendable, warnings })
    }

    fn patch(&self, pod: Value, spec: &PodSpec) -> Result<Patch, PatchError> {
        let mut edits = Edits::of(pod);
        for volume in &self.volumes {
            edits.append(&["spec", "volumes"], volume.clone())?;
        }
        // Before the sidecar goes in, so that places in the lists are as in `spec`.
        for (list, containers) in [
            ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
            ("containers", spec.containers.as_slice()),
        ] {
            for (at, container) in containers.iter().enumerate().filter(|(_, it)| self.chosen(it)) {
                give_socket(&mut edits, list, &at.to_string(), container)?;
            }
        }
        edits.prepend(&["spec", "initContainers"], self.sidecar.clone())?;
        self.groups(&mut edits, spec)?;
        let version = self.settings.version.clone();
        edits.set(&["metadata", "annotations"], INJECTED, version.into())?;
        edits.set(&["metadata", "annotations"], EXPENDABLE, self.expendable.as_str().into())?;
        // By labels network policies and monitors choose pods.
        edits.set(&["metadata", "labels"], INJECTED, "true".into())?;
        Ok(edits.finish())
    }

    fn chosen(&self, container: &Container) -> bool {
        self.asked.containers.as_ref().is_none_or(|names| names.contains(&container.name))
    }

    /// Lets the application's users open the socket. Not by fsGroup, which changes the owner of all of the pod's
    /// volumes; only a journal's volume needs that, for its root belongs to root and the sidecar is not root.
    fn groups(&self, edits: &mut Edits, spec: &PodSpec) -> Result<(), PatchError> {
        let context = spec.security_context.as_ref();
        let group = self.settings.sidecar.user;
        let has = context.and_then(|it| it.supplemental_groups.as_ref());
        if !has.is_some_and(|it| it.contains(&group.into())) {
            let place = ["spec", "securityContext"];
            match has {
                Some(_) => edits
                    .append(&["spec", "securityContext", "supplementalGroups"], group.into())?,
                None => edits.set(&place, "supplementalGroups", json!([group]))?,
            }
        }
        if self.asked.journal_volume.is_some() {
            let place = ["spec", "securityContext"];
            if context.and_then(|it| it.fs_group).is_none() {
                edits.set(&place, "fsGroup", group.into())?;
            }
            // Otherwise the kubelet opens all files to that group at each start, and the sidecar refuses those of its own.
            if context.and_then(|it| it.fs_group_change_policy.as_ref()).is_none() {
                edits.set(&place, "fsGroupChangePolicy", "OnRootMismatch".into())?;
            }
        }
        Ok(())
    }
}

/// The pod's own volumes that a node may lose, and ours.
fn joined(texts: &annotations::Texts, ours: &[&str]) -> String {
    let its_own = texts.get(EXPENDABLE).map(|it| it.split(',').map(str::trim).collect::<Vec<_>>());
    let mut names = its_own.unwrap_or_default();
    names.retain(|it| !it.is_empty() && !ours.contains(it));
    names.extend(ours);
    names.join(",")
}

/// Read-only: connecting works, and nobody can put another socket in its place.
fn give_socket(
    edits: &mut Edits,
    list: &str,
    at: &str,
    container: &Container,
) -> Result<(), PatchError> {
    let mount = json!({"name": SOCKET_VOLUME, "mountPath": SOCKET_PLACE, "readOnly": true});
    edits.append(&["spec", list, at, "volumeMounts"], mount)?;
    if !container.env.iter().flatten().any(|it| it.name == SOCKET_VARIABLE) {
        let variable = json!({"name": SOCKET_VARIABLE, "value": SOCKET});
        edits.append(&["spec", list, at, "env"], variable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
