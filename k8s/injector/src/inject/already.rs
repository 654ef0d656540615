//! Pods that say that they were injected: rendered offline, shown a second time because a later webhook changed them, or
//! written by somebody who would like to have no rules. Only the first two have what they would get.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use serde_json::Value;

use super::Plan;
use crate::{
    annotations::Texts,
    container, kept,
    names::{CONTAINER, SOCKET_PLACE, SOCKET_VOLUME, VOLUMES, place},
    settings::Settings,
    volumes,
};

/// What is wrong with such a pod.
pub(super) fn mistakes(
    settings: &Settings,
    texts: &Texts,
    spec: &PodSpec,
    pod: &Value,
) -> Vec<String> {
    let bare = without_sidecar(spec);
    let asked = match Plan::new(settings, texts, &bare) {
        Ok(plan) => plan.asked,
        Err(mistakes) => return mistakes,
    };
    let journal = volumes::journal(&settings.sidecar, &asked);
    let made = match container::made(&settings.sidecar, &asked, journal) {
        Ok(made) => made,
        Err(mistakes) => return mistakes,
    };
    let null = Value::Null;
    let inits = pod["spec"]["initContainers"].as_array();
    let is = inits.into_iter().flatten().find(|it| it["name"] == CONTAINER).unwrap_or(&null);
    let own = bare.volumes.as_deref().unwrap_or_default();
    let why = kept::mistake(&made, is, own).or_else(|| {
        let there: HashMap<_, _> = pod["spec"]["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| Some((it["name"].as_str()?, it)))
            .collect();
        let added = volumes::added(&settings.sidecar, &asked);
        let is_there = |it: &Value| {
            it["name"].as_str().and_then(|name| there.get(name)).is_some_and(|is| covers(is, it))
        };
        let other = added.iter().find(|it| !is_there(it))?;
        Some(format!("its volume {} is another one", other["name"].as_str().unwrap_or_default()))
    });
    why.map(|why| {
        format!(
            "the pod says lunasec.io/injected, and its container {CONTAINER} is not what the injector puts in: {why}; \
             remove that annotation and that container, or lunasec.io/inject"
        )
    })
    .into_iter()
    .collect()
}

/// The pod as it would be if it had not been injected, as far as rules look at it.
fn without_sidecar(spec: &PodSpec) -> PodSpec {
    let mut bare = spec.clone();
    if let Some(inits) = &mut bare.init_containers {
        inits.retain(|it| it.name != CONTAINER);
    }
    if let Some(volumes) = &mut bare.volumes {
        volumes.retain(|it| !VOLUMES.contains(&it.name.as_str()));
    }
    let all = bare.init_containers.iter_mut().flatten().chain(&mut bare.containers);
    all.for_each(without_socket);
    bare
}

fn without_socket(container: &mut Container) {
    if let Some(mounts) = &mut container.volume_mounts {
        mounts.retain(|it| !is_socket(it));
    }
}

/// As it is given: a mount that can be written stays, and is a mistake.
fn is_socket(mount: &VolumeMount) -> bool {
    mount.name == SOCKET_VOLUME
        && mount.read_only == Some(true)
        && place(&mount.mount_path) == place(SOCKET_PLACE)
        && mount.sub_path.is_none()
        && mount.sub_path_expr.is_none()
}

/// Whether all of `expected` is there. The API server adds defaults.
fn covers(is: &Value, expected: &Value) -> bool {
    match (is, expected) {
        (Value::Object(is), Value::Object(expected)) => expected
            .iter()
            .all(|(key, expected)| is.get(key).is_some_and(|is| covers(is, expected))),
        (Value::Array(is), Value::Array(expected)) => {
            is.len() == expected.len()
                && is.iter().zip(expected).all(|(is, expected)| covers(is, expected))
        }
        _ => is == expected,
    }
}
