//! Names that the injector puts into pods, and the forms of names that Kubernetes takes.

/// The sidecar's container.
pub const CONTAINER: &str = "lunasec";
/// Annotations of ours begin so.
pub const PREFIX: &str = "lunasec.io/";
/// Whether a pod wants a sidecar.
pub const INJECT: &str = "lunasec.io/inject";
/// Set by the injector: an annotation with its version, and a label.
pub const INJECTED: &str = "lunasec.io/injected";
/// Volumes that the cluster autoscaler may lose with a node, divided by commas.
pub const EXPENDABLE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// The volume with the socket.
pub const SOCKET_VOLUME: &str = "lunasec-socket";
/// The volume with journal and disk cache, unless the pod brings its own.
pub const STATE_VOLUME: &str = "lunasec-state";
/// The volume with `lunasec.toml`.
pub const CONFIG_VOLUME: &str = "lunasec-config";
/// An empty volume where a token of the Kubernetes API would be.
pub const NO_TOKEN_VOLUME: &str = "lunasec-no-token";
/// The volume with the standby key.
pub const STANDBY_VOLUME: &str = "lunasec-standby-key";
/// The volume with the token that AWS takes.
pub const AWS_VOLUME: &str = "lunasec-aws-token";
/// All of these: a pod must have none of its own.
pub const VOLUMES: [&str; 6] =
    [SOCKET_VOLUME, STATE_VOLUME, CONFIG_VOLUME, NO_TOKEN_VOLUME, STANDBY_VOLUME, AWS_VOLUME];

/// Where the socket's volume is mounted.
pub const SOCKET_PLACE: &str = "/run/lunasec";
/// The directory of that of state and journal, in its volume.
pub const STATE_DIRECTORY: &str = "state";
/// The socket.
pub const SOCKET: &str = "/run/lunasec/lunasec.sock";
/// Where an application looks for it.
pub const SOCKET_VARIABLE: &str = "LUNASEC_SOCKET";
/// The sidecar's port for probes and metrics.
pub const ADMIN_PORT: &str = "lunasec-admin";

/// The parts of a path in a container, as the kernel comes to it: `/var/run` is `/run` in most images.
pub fn place(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    if parts.starts_with(&["var", "run"]) {
        parts.remove(0);
    }
    parts
}

/// Whether it is a DNS label, as names of containers and volumes are.
pub fn is_label(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Whether it is a DNS subdomain, as names of ConfigMaps and Secrets are.
pub fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_kubernetes_takes_them() {
        assert!(is_label("app-1") && is_subdomain("config.v1") && is_subdomain("a"));
        for bad in ["", "App", "-a", "a-", "a_b", "a b", "ä", "../x"] {
            assert!(!is_label(bad) && !is_subdomain(bad), "{bad}");
        }
        assert!(!is_subdomain("a..b") && !is_label(&"a".repeat(64)));
        assert!(!is_subdomain(&["a".repeat(63).as_str(); 5].join(".")));
    }
}
