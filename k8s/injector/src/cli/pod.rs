//! `lunasec-injector inject`: the same decision, without a cluster.

use serde_json::Value;

use crate::{
    inject::{Decision, decide},
    settings::Settings,
};

pub(super) struct Injected {
    pub(super) yaml: String,
    pub(super) warnings: Vec<String>,
}

/// The pod with its sidecar, or as it was if it asks for none.
pub(super) fn injected(settings: &Settings, text: &str) -> Result<Injected, String> {
    let mut pod: Value = serde_saphyr::from_str(text)
        .map_err(|error| format!("this is no YAML of one object: {error}"))?;
    if pod["kind"] != "Pod" || pod["apiVersion"] != "v1" {
        let kind = pod["kind"].as_str().unwrap_or("something without a kind");
        return Err(format!(
            "give a Pod of apiVersion v1, not {kind}; of a workload, its template is one"
        ));
    }
    let warnings = match decide(settings, &pod).map_err(|error| error.to_string())? {
        Decision::Injected { patch, warnings } => {
            json_patch::patch(&mut pod, &patch.0).map_err(|error| error.to_string())?;
            warnings
        }
        Decision::Skipped(_) => Vec::new(),
        Decision::Denied(words) => {
            return Err(format!("the pod would be refused:\n  {}", words.join("\n  ")));
        }
    };
    let yaml = serde_saphyr::to_string(&pod).map_err(|error| error.to_string())?;
    Ok(Injected { yaml, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::read(include_str!("../../tests/injector.toml")).unwrap()
    }

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    lunasec.io/inject: \"true\"\n\
                       spec:\n  containers:\n  - name: web\n    image: web:1\n    args: [\"yes\", \"0123\", \"1e3\", \"# no\"]\n";

    #[test]
    fn a_pod_of_yaml_gets_its_sidecar_and_texts_stay_texts() {
        let injected = injected(&settings(), POD).unwrap();
        let read: Value = serde_saphyr::from_str(&injected.yaml).unwrap();
        assert_eq!(read["spec"]["initContainers"][0]["name"], "lunasec");
        assert_eq!(read["metadata"]["annotations"]["lunasec.io/inject"], "true");
        assert_eq!(
            read["spec"]["containers"][0]["args"],
            serde_json::json!(["yes", "0123", "1e3", "# no"])
        );
        assert_eq!(read["spec"]["initContainers"][0]["securityContext"]["runAsUser"], 64_733);
    }

    #[test]
    fn what_is_no_pod_or_is_refused_is_told() {
        let said = |text: &str| injected(&settings(), text).err().unwrap();
        assert!(said("a: [").contains("no YAML"));
        assert!(said("apiVersion: apps/v1\nkind: Deployment\n").contains("not Deployment"));
        assert!(said("3").contains("give a Pod"));
        assert!(
            said(&POD.replace("spec:", "spec:\n  hostNetwork: true")).contains("would be refused")
        );
    }
}
