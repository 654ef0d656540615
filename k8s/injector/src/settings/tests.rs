use super::*;

const LEAST: &str = "version = \"0.1.0\"\n[sidecar]\nimage = \"lunasec/sidecar:0.1.0\"\n";

#[test]
fn what_is_not_said_has_a_default() {
    let read = Settings::read(LEAST).unwrap();
    assert_eq!(read.sidecar.user, 64_733);
    for address in [read.sidecar.admin, read.webhook.listen, read.admin] {
        assert_eq!(address.ip(), std::net::Ipv6Addr::UNSPECIFIED, "{address}");
    }
    assert_eq!(read.sidecar.admin.port(), 9464);
    assert_eq!(read.sidecar.pod_identity, "169.254.170.23");
    assert_eq!(read.sidecar.state_limit.unwrap().to_string(), "2Gi");
    assert!(read.sidecar.cpu_limit.is_none());
    assert_eq!(read.sidecar.mem_limit.unwrap().to_string(), "448Mi");
    assert_eq!(read.sidecar.journal, Journal::Annotated);
    assert_eq!(read.webhook.certificate_lifetime, Duration::from_secs(30 * 86_400));
    assert!(!read.reconciler.restart && read.log.json);
    assert!(read.webhook.excluded_namespaces.is_empty() && read.webhook.unlabelled_namespaces);
}

#[test]
fn each_setting_is_read() {
    let read = Settings::read(include_str!("../../tests/injector.toml")).unwrap();
    assert_eq!(read.version, "0.1.0");
    assert_eq!(read.sidecar.pull_policy, "IfNotPresent");
    assert_eq!(read.sidecar.pod_identity, "[fd00:ec2::23]");
    assert_eq!(read.webhook.secret, "lunasec-injector-tls");
    assert_eq!(read.webhook.listen.port(), 8443);
    assert_eq!(read.webhook.excluded_namespaces, ["kube-system", "monitoring"]);
    assert!(
        !Settings::read(
            &include_str!("../../tests/injector.toml")
                .replace("unlabelled_namespaces = true", "unlabelled_namespaces = false")
        )
        .unwrap()
        .webhook
        .unlabelled_namespaces
    );
    assert_eq!(read.admin.port(), 8080);
    assert_eq!(read.reconciler.every, Duration::from_secs(60));
}

#[test]
fn all_mistakes_are_named_at_once() {
    let words = Settings::read(
        "stray = 1\n[sidecar]\nuser = 0\npull_policy = \"Sometimes\"\ncpu_limit = \"x\"\nca_bundle = \"yes\"\n\
         pod_identity = \"10.0.0.1\"\ncolour = 1\nmem_request = \"1Gi\"\n[webhook]\nlisten = 8443\nexcluded_namespaces = [\"ops\", \"No\"]\n\
         unlabelled_namespaces = \"no\"\ncertificate_lifetime = \"1y\"\n\
         [reconciler]\nevery = \"0s\"\n[log]\nformat = \"xml\"\n[other]\na = 1\n",
    )
    .unwrap_err();
    for part in [
        "version is missing",
        "sidecar.image is missing",
        "sidecar.user is 0; it must be a number from 1",
        "sidecar.pull_policy is \"Sometimes\"",
        "sidecar.cpu_limit is \"x\"",
        "sidecar.ca_bundle is \"yes\"",
        "sidecar.pod_identity is \"10.0.0.1\"; it must be 169.254.170.23 or [fd00:ec2::23]",
        "sidecar.mem_request is 1Gi, more than sidecar.mem_limit, 448Mi",
        "webhook.listen is 8443",
        "webhook.excluded_namespaces is [\"ops\",\"No\"]; it must be a list of names of namespaces",
        "webhook.unlabelled_namespaces is \"no\"; it must be true or false",
        "an authority must outlive what it signs",
        "reconciler.every is \"0s\"",
        "log.format is \"xml\"; it must be json or text",
        "stray is no setting",
        "sidecar.colour is no setting",
        "other.a is no setting",
    ] {
        assert!(words.iter().any(|it| it.contains(part)), "{part} is not in {words:#?}");
    }
    assert_eq!(words.len(), 17, "{words:#?}");
}

#[test]
fn what_is_no_toml_is_told() {
    assert!(Settings::read("version = ").unwrap_err()[0].contains("no TOML"));
    let words = Settings::read(&format!("{LEAST}[webhook]\n").replace("[webhook]", "webhook = 1"))
        .unwrap_err();
    assert!(words[0].contains("no setting"), "{words:?}");
}
