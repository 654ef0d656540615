//! Pods that cannot have a sidecar, and what to think about in those that can.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::{
    annotations::Annotations,
    container,
    identity::Identity,
    names::{SOCKET_PLACE, VOLUMES},
    settings::Sidecar,
    volumes,
};

/// What a pod has that no pod with a sidecar may have.
pub(super) fn of_pod(sidecar: &Sidecar, asked: &Annotations, spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    if spec.host_network == Some(true) {
        found.push(
            "spec.hostNetwork is true; the sidecar's admin port would be open on the node, and two such pods would \
             fight for it: use the pod's own network"
                .to_owned(),
        );
    }
    if is_windows(spec) {
        found.push(
            "the pod is for Windows, and the sidecar is for Linux; remove lunasec.io/inject"
                .to_owned(),
        );
    }
    for volume in spec.volumes.iter().flatten().filter(|it| VOLUMES.contains(&it.name.as_str())) {
        found.push(format!(
            "the pod has a volume named {}, which is the sidecar's; rename it",
            volume.name
        ));
    }
    let admin = container::admin(sidecar, asked).port();
    for container in containers(spec) {
        of_container(sidecar, spec, container, &mut found);
        of_ports(admin, container, &mut found);
    }
    found
}

fn of_container(sidecar: &Sidecar, spec: &PodSpec, container: &Container, found: &mut Vec<String>) {
    let name = &container.name;
    if effective_user(spec, container) == Some(sidecar.user.into()) {
        found.push(format!(
            "container {name} runs as user {0}, which is the sidecar's: it could read the sidecar's files and its \
             memory; set its securityContext.runAsUser to another one",
            sidecar.user
        ));
    }
    for mount in container.volume_mounts.iter().flatten() {
        if is_ours(&mount.mount_path) {
            found.push(format!(
                "container {name} mounts {} at {}, where the sidecar's socket is; mount it elsewhere",
                mount.name, mount.mount_path
            ));
        }
        if VOLUMES.contains(&mount.name.as_str()) {
            found.push(format!(
                "container {name} mounts {}, which is a volume of the sidecar",
                mount.name
            ));
        }
    }
}

fn of_ports(admin: u16, container: &Container, found: &mut Vec<String>) {
    let is_admin = |protocol: Option<&str>| protocol.is_none_or(|it| it == "TCP");
    let mut ports = container.ports.iter().flatten();
    if ports.any(|it| it.container_port == i32::from(admin) && is_admin(it.protocol.as_deref())) {
        found.push(format!(
            "container {} listens on port {admin}, where the sidecar's probes and metrics are; give the sidecar \
             another one by lunasec.io/admin-port",
            container.name
        ));
    }
}

/// What a pod asks for and its spec does not go with.
pub(super) fn of_asked(sidecar: &Sidecar, asked: &Annotations, spec: &PodSpec) -> Vec<String> {
    let mut found: Vec<_> = volumes::mistake(sidecar, asked, spec).into_iter().collect();
    for name in asked.containers.iter().flatten() {
        if !containers(spec).any(|it| it.name == *name) {
            let there: Vec<_> = containers(spec).map(|it| it.name.as_str()).collect();
            found.push(format!(
                "lunasec.io/containers names {name}, and the pod has no such container; it has {}",
                there.join(", ")
            ));
        }
    }
    found
}

/// What whoever made the pod should know. The API server shows 256 bytes of each.
pub(super) fn warnings(asked: &Annotations, spec: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    if spec.share_process_namespace == Some(true) {
        found.push(
            "lunasec: shareProcessNamespace lets the pod's containers see the sidecar's process; one with root or \
             CAP_SYS_PTRACE can read its memory"
                .to_owned(),
        );
    }
    // Policies know a caller by its uid.
    let nameless: Vec<_> = spec.containers.iter().filter(|it| own_user(it).is_none()).collect();
    if spec.containers.len() > 1 && !nameless.is_empty() {
        let names: Vec<_> = nameless.iter().map(|it| it.name.as_str()).take(4).collect();
        found.push(format!(
            "lunasec: the sidecar tells containers apart by runAsUser; these have none of their own: {}",
            names.join(", ")
        ));
    }
    if asked.identity == Some(Identity::Pod) {
        found.push(
            "lunasec: with aws-pod-identity every container of the pod can have the role; aws-role-arn gives it to \
             the sidecar alone"
                .to_owned(),
        );
    }
    journal(asked, spec, &mut found);
    found
}

fn journal(asked: &Annotations, spec: &PodSpec, found: &mut Vec<String>) {
    let Some(name) = &asked.journal_volume else { return };
    if spec.security_context.as_ref().and_then(|it| it.fs_group).is_none() {
        found.push(
            "lunasec: fsGroup is set to the sidecar's group, so that it can write the journal; it holds for the pod's \
             other volumes, too"
                .to_owned(),
        );
    }
    let mut mounts = containers(spec).flat_map(|it| it.volume_mounts.iter().flatten());
    if mounts.any(|it| it.name == *name) {
        found.push(format!(
            "lunasec: volume {name} has the journal, and other containers mount it, too"
        ));
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

fn own_user(container: &Container) -> Option<i64> {
    container.security_context.as_ref()?.run_as_user
}

fn effective_user(spec: &PodSpec, container: &Container) -> Option<i64> {
    own_user(container).or_else(|| spec.security_context.as_ref()?.run_as_user)
}

fn is_windows(spec: &PodSpec) -> bool {
    let selected = spec.node_selector.as_ref().and_then(|it| it.get("kubernetes.io/os"));
    spec.os.as_ref().is_some_and(|it| it.name == "windows")
        || selected.is_some_and(|it| it == "windows")
}

/// At the socket's place or below it; `/var/run` is `/run` in most images.
fn is_ours(path: &str) -> bool {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>();
    let parts =
        parts.strip_prefix(&["var"]).filter(|it| it.first() == Some(&"run")).unwrap_or(&parts);
    let ours: Vec<_> = SOCKET_PLACE.split('/').filter(|part| !part.is_empty()).collect();
    parts.starts_with(&ours)
}
