//! Pods that cannot have a sidecar, and what to think about in those that can.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};

use crate::{
    annotations::Annotations,
    container,
    identity::Identity,
    mistakes::{Mistakes, short},
    names::{CONTAINER, SOCKET_PLACE, VOLUMES, place},
    settings::Sidecar,
    volumes,
};

/// What a pod has that no pod with a sidecar may have.
pub(super) fn of_pod(sidecar: &Sidecar, asked: &Annotations, spec: &PodSpec, found: &mut Mistakes) {
    if spec.host_network == Some(true) {
        let words = "spec.hostNetwork is true; the sidecar's admin port would be open on the node, and two such pods \
                     would fight for it: use the pod's own network";
        found.add(|| words.to_owned());
    }
    if is_windows(spec) {
        let words =
            "the pod is for Windows, and the sidecar is for Linux; remove lunasec.io/inject";
        found.add(|| words.to_owned());
    }
    for volume in spec.volumes.iter().flatten().filter(|it| VOLUMES.contains(&it.name.as_str())) {
        found.add(|| {
            format!("the pod has a volume named {}, which is the sidecar's; rename it", volume.name)
        });
    }
    let admin = container::admin(sidecar, asked).port();
    for container in containers(spec) {
        not_as_sidecar(sidecar, spec, container, found);
        not_as_group(sidecar, spec, container, found);
        of_mounts(container, found);
        of_ports(admin, container, found);
    }
}

/// Whether a container beside the sidecar is its user.
pub fn is_taken(sidecar: &Sidecar, spec: &PodSpec) -> bool {
    let mut others = containers(spec).filter(|it| it.name != CONTAINER);
    others.any(|it| effective_user(spec, it) == Some(sidecar.user.into()))
}

fn not_as_sidecar(sidecar: &Sidecar, spec: &PodSpec, it: &Container, found: &mut Mistakes) {
    if effective_user(spec, it) == Some(sidecar.user.into()) {
        found.add(|| {
            format!(
                "container {} runs as user {}, which is the sidecar's: it could read the sidecar's files and its \
                 memory; set its securityContext.runAsUser to another one",
                short(&it.name),
                sidecar.user
            )
        });
    }
}

/// Its group opens the sidecar's socket, and may own what a volume has for it: each container gets it beside its own.
fn not_as_group(sidecar: &Sidecar, spec: &PodSpec, it: &Container, found: &mut Mistakes) {
    let own = it.security_context.as_ref().and_then(|it| it.run_as_group);
    let of_pod = || spec.security_context.as_ref()?.run_as_group;
    if own.or_else(of_pod) == Some(sidecar.user.into()) {
        found.add(|| {
            format!(
                "container {} runs in group {}, which is the sidecar's own; set its securityContext.runAsGroup to another one",
                short(&it.name),
                sidecar.user
            )
        });
    }
}

fn of_mounts(container: &Container, found: &mut Mistakes) {
    for mount in container.volume_mounts.iter().flatten() {
        if is_ours(&mount.mount_path) {
            found.add(|| {
                format!(
                    "container {} mounts {} at {}, where the sidecar's socket is; mount it elsewhere",
                    short(&container.name),
                    short(&mount.name),
                    short(&mount.mount_path)
                )
            });
        }
        if VOLUMES.contains(&mount.name.as_str()) {
            found.add(|| mounts_ours(container, mount));
        }
    }
}

fn mounts_ours(container: &Container, mount: &VolumeMount) -> String {
    let (name, volume) = (short(&container.name), &mount.name);
    format!("container {name} mounts {volume}, which is a volume of the sidecar")
}

fn of_ports(admin: u16, container: &Container, found: &mut Mistakes) {
    let is_admin = |protocol: Option<&str>| protocol.is_none_or(|it| it == "TCP");
    let mut ports = container.ports.iter().flatten();
    if ports.any(|it| it.container_port == i32::from(admin) && is_admin(it.protocol.as_deref())) {
        found.add(|| {
            format!(
                "container {} listens on port {admin}, where the sidecar's probes and metrics are; give the sidecar \
                 another one by lunasec.io/admin-port",
                short(&container.name)
            )
        });
    }
}

/// What a pod asks for and its spec does not go with.
pub(super) fn of_asked(
    sidecar: &Sidecar,
    asked: &Annotations,
    spec: &PodSpec,
    found: &mut Mistakes,
) {
    found.extend(volumes::mistake(sidecar, asked, spec));
    found.extend(volumes::opened(asked, spec));
    let journal = volumes::of_the_journal(asked, spec);
    found.extend(containers(spec).filter_map(|it| volumes::shared(&journal, it)));
    let there: HashSet<_> = containers(spec).map(|it| it.name.as_str()).collect();
    for name in asked.containers.iter().flatten().filter(|it| !there.contains(it.as_str())) {
        found.add(|| {
            let some: Vec<_> = containers(spec).map(|it| short(&it.name)).take(10).collect();
            format!(
                "lunasec.io/containers names {name}, and the pod has no such container; it has {}",
                some.join(", ")
            )
        });
    }
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
        let names: Vec<_> = nameless.iter().map(|it| short(&it.name)).take(4).collect();
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
            "lunasec: volume {name} has the journal, and other containers see it, too"
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

/// At the socket's place or below it.
fn is_ours(path: &str) -> bool {
    place(path).starts_with(&place(SOCKET_PLACE))
}
