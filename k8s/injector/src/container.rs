//! The sidecar's container.

use std::net::SocketAddr;

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Container, Volume};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    annotations::Annotations,
    edits, kept,
    names::{
        ADMIN_PORT, CONFIG_VOLUME, CONTAINER, NO_TOKEN_VOLUME, SOCKET, SOCKET_PLACE, SOCKET_VOLUME,
        STANDBY_VOLUME,
    },
    quantity::Quantity,
    settings::Sidecar,
    volumes,
};

const CONFIG: &str = "/etc/lunasec/lunasec.toml";
const CA_BUNDLE: &str = "/etc/lunasec/ca.pem";
const STATE_PLACE: &str = "/var/lib/lunasec";
/// Its `STATE_DIRECTORY`.
const STATE: &str = "/var/lib/lunasec/state";
const STANDBY_PLACE: &str = "/etc/lunasec-standby";
const STANDBY_KEY: &str = "/etc/lunasec-standby/standby.key";
/// Where a token of the Kubernetes API would be.
const API_TOKEN_PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Tries of the startup probe, one a second.
const START_TRIES: u32 = 120;

/// The container for a pod, or what is wrong with what the pod asks for. `journal` says whether there is one, `volumes`
/// are the pod's own.
pub fn build(
    sidecar: &Sidecar,
    asked: &Annotations,
    journal: bool,
    volumes: &[Volume],
) -> Result<Value, Vec<String>> {
    let container = made(sidecar, asked, journal)?;
    match &asked.json_patch {
        None => Ok(container),
        Some(patch) => changed(&container, patch, volumes)
            .map_err(|words| vec![format!("lunasec.io/json-patch cannot be used: {words}")]),
    }
}

/// The container before the pod's json-patch.
pub fn made(sidecar: &Sidecar, asked: &Annotations, journal: bool) -> Result<Value, Vec<String>> {
    Ok(json!({
        "name": CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": sidecar.pull_policy,
        "args": ["serve", "--config", CONFIG],
        // An init container that goes on: the kubelet starts it before the application and ends it after, and a Job
        // does not wait for it.
        "restartPolicy": "Always",
        "env": environment(sidecar, asked, journal),
        "ports": [{"name": ADMIN_PORT, "containerPort": admin(sidecar, asked).port(), "protocol": "TCP"}],
        // The application is started when this one has been answered.
        "startupProbe": probe("/ready", 1, START_TRIES),
        "livenessProbe": probe("/live", 10, 3),
        "resources": resources(sidecar, asked)?,
        "securityContext": {
            "runAsUser": sidecar.user,
            "runAsGroup": sidecar.user,
            "runAsNonRoot": true,
            "privileged": false,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts(asked),
    }))
}

/// Where its probes and metrics are.
pub fn admin(sidecar: &Sidecar, asked: &Annotations) -> SocketAddr {
    SocketAddr::new(sidecar.admin.ip(), asked.admin_port.unwrap_or(sidecar.admin.port()))
}

/// Whether a container of the sidecar's name can be one that was injected, by settings that were others perhaps: what
/// none of them changes.
pub fn is_ours(sidecar: &Sidecar, container: &Container) -> bool {
    let held = container.security_context.as_ref().is_some_and(|it| {
        it.run_as_user == Some(sidecar.user.into())
            && it.run_as_non_root == Some(true)
            && it.allow_privilege_escalation == Some(false)
            && it.read_only_root_filesystem == Some(true)
            && it.privileged != Some(true)
    });
    let mounts =
        |place: &str| container.volume_mounts.iter().flatten().any(|it| it.mount_path == place);
    container.restart_policy.as_deref() == Some("Always")
        && container.command.is_none()
        && held
        && mounts(SOCKET_PLACE)
        && mounts(API_TOKEN_PLACE)
}

fn changed(made: &Value, patch: &Patch, volumes: &[Volume]) -> Result<Value, String> {
    let changed = edits::patched(made.clone(), patch)?;
    Container::deserialize(&changed)
        .map_err(|error| format!("what comes of it is no container: {error}"))?;
    kept::mistake(made, &changed, volumes).map_or(Ok(changed), Err)
}

fn environment(sidecar: &Sidecar, asked: &Annotations, journal: bool) -> Value {
    let user = sidecar.user.to_string();
    let admin = admin(sidecar, asked).to_string();
    let level = asked.log_level.unwrap_or(sidecar.log_level).as_str();
    let mut variables = vec![
        ("LUNASEC_LISTEN__SOCKET", SOCKET),
        ("LUNASEC_LISTEN__GROUP", user.as_str()),
        ("LUNASEC_LISTEN__ADMIN", admin.as_str()),
        ("LUNASEC_LOG__LEVEL", level),
        ("LUNASEC_LOG__FORMAT", "json"),
        ("LUNASEC_DEGRADE__STATE_DIR", STATE),
        ("LUNASEC_DEGRADE__ON_STORAGE_OUTAGE", if journal { "journal" } else { "reject" }),
    ];
    if asked.standby_key_secret.is_some() {
        variables.push(("LUNASEC_DEGRADE__STANDBY_KEY_FILE", STANDBY_KEY));
    }
    if sidecar.ca_bundle {
        variables.push(("SSL_CERT_FILE", CA_BUNDLE));
    }
    if let Some(region) = &asked.aws_region {
        variables.push(("AWS_REGION", region.as_str()));
    }
    let identity = asked.identity.as_ref().map(|it| it.variables(&sidecar.pod_identity));
    variables.extend(identity.iter().flatten().map(|(name, value)| (*name, value.as_str())));
    variables.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn mounts(asked: &Annotations) -> Value {
    let state = volumes::state(asked);
    let mut mounts = vec![
        json!({"name": SOCKET_VOLUME, "mountPath": SOCKET_PLACE}),
        json!({"name": state, "mountPath": STATE_PLACE}),
        json!({"name": CONFIG_VOLUME, "mountPath": "/etc/lunasec", "readOnly": true}),
        // Admission leaves a container alone that has something there: the sidecar gets no token.
        json!({"name": NO_TOKEN_VOLUME, "mountPath": API_TOKEN_PLACE, "readOnly": true}),
    ];
    if asked.standby_key_secret.is_some() {
        mounts.push(json!({"name": STANDBY_VOLUME, "mountPath": STANDBY_PLACE, "readOnly": true}));
    }
    mounts.extend(asked.identity.iter().map(|it| it.mount()));
    mounts.into()
}

fn probe(path: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": ADMIN_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    })
}

fn resources(sidecar: &Sidecar, asked: &Annotations) -> Result<Value, Vec<String>> {
    let mut mistakes = Vec::new();
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for (key, short, request, limit) in [
        (
            "cpu",
            "cpu",
            (&asked.cpu_request, &sidecar.cpu_request),
            (&asked.cpu_limit, &sidecar.cpu_limit),
        ),
        (
            "memory",
            "mem",
            (&asked.mem_request, &sidecar.mem_request),
            (&asked.mem_limit, &sidecar.mem_limit),
        ),
    ] {
        let (request, limit) = (chosen(request), chosen(limit));
        if let (Some(request), Some(limit)) = (request, limit)
            && request.exceeds(limit)
        {
            mistakes.push(format!(
                "the sidecar's request of {key} is {request}, more than its limit, {limit}; set \
                 lunasec.io/{short}-request and lunasec.io/{short}-limit together"
            ));
        }
        requests.extend(request.map(|it| (key.to_owned(), it.to_string().into())));
        limits.extend(limit.map(|it| (key.to_owned(), it.to_string().into())));
    }
    if mistakes.is_empty() {
        Ok(json!({"requests": requests, "limits": limits}))
    } else {
        Err(mistakes)
    }
}

/// The pod's word goes before the settings'.
fn chosen<'a>((asked, set): (&'a Option<Quantity>, &'a Option<Quantity>)) -> Option<&'a Quantity> {
    asked.as_ref().or(set.as_ref())
}
