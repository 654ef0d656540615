"""What the chart renders, by meaning."""

import tomllib

import pytest
from chart import AWS, EVERYTHING, find, kinds, notes, objects

INJECTOR = "lunasec-injector"


def settings(*values: dict) -> dict:
    return tomllib.loads(find(objects(*values), "ConfigMap", INJECTOR)["data"]["injector.toml"])


def test_the_defaults_are_an_injector_and_nothing_else():
    among = objects()
    assert kinds(among) == {
        "Deployment", "Service", "Secret", "ConfigMap", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role",
        "RoleBinding", "MutatingWebhookConfiguration", "PodDisruptionBudget", "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }  # fmt: skip
    assert {each["metadata"]["name"] for each in among} == {INJECTOR, f"{INJECTOR}-tls"}
    assert all(each["metadata"].get("namespace", "lunasec") == "lunasec" for each in among)


def test_the_settings_are_those_that_the_injector_knows():
    assert settings() == {
        "version": "0.1.0",
        "sidecar": {
            "image": "registry.example.com/lunasec/sidecar:0.1.0", "pull_policy": "IfNotPresent", "user": 64733, "config_map": "lunasec",
            "admin": "[::]:9464", "log_level": "info", "cpu_request": "50m", "cpu_limit": "", "mem_request": "64Mi",
            "mem_limit": "448Mi", "journal": "annotated", "ca_bundle": False, "state_limit": "2Gi", "pod_identity": "169.254.170.23",
        },
        "webhook": {
            "listen": "[::]:8443", "service": INJECTOR, "secret": f"{INJECTOR}-tls", "configuration": INJECTOR,
            "certificate_lifetime": "30d", "authority_lifetime": "365d",
            "excluded_namespaces": ["kube-system", "lunasec"], "unlabelled_namespaces": True,
        },
        "admin": {"listen": "[::]:8080"},
        "reconciler": {"every": "60s", "restart": False, "lease": INJECTOR},
        "log": {"level": "info", "format": "json"},
    }  # fmt: skip


def test_the_settings_name_objects_that_are_there():
    among, told = objects(), settings()["webhook"]
    service = find(among, "Service", told["service"])
    pod = find(among, "Deployment", INJECTOR)["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert ports[service["spec"]["ports"][0]["targetPort"]] == int(told["listen"].rpartition(":")[2])
    assert ports["admin"] == int(settings()["admin"]["listen"].rpartition(":")[2])
    find(among, "Secret", told["secret"])
    for entry in find(among, "MutatingWebhookConfiguration", told["configuration"])["webhooks"]:
        assert entry["clientConfig"]["service"] == {"name": told["service"], "namespace": "lunasec", "path": "/mutate", "port": 443}


def test_pods_of_the_injector_spread_and_are_replaced_one_by_one():
    spec = find(objects(), "Deployment", INJECTOR)["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == 2 and spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    terms = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors = [terms[0]["podAffinityTerm"]["labelSelector"], pod["topologySpreadConstraints"][0]["labelSelector"]]
    for selector in [*selectors, spec["selector"], find(objects(), "PodDisruptionBudget", INJECTOR)["spec"]["selector"]]:
        assert selector["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_changed_settings_make_new_pods_and_others_do_not():
    def checksum(*values: dict) -> str:
        return find(objects(*values), "Deployment", INJECTOR)["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

    assert checksum() != checksum({"sidecar": {"logLevel": "debug"}})
    assert checksum() == checksum({"alerts": {"enabled": True}})


def test_own_labels_of_pods_do_not_replace_those_that_select_them():
    pod = find(
        objects({"injector": {"podLabels": {"app.kubernetes.io/name": "other", "team": "platform"}}}), "Deployment", INJECTOR
    )["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/name"] == "lunasec" and pod["metadata"]["labels"]["team"] == "platform"


def webhooks(*values: dict) -> dict[str, dict]:
    return {each["failurePolicy"]: each for each in find(objects(*values), "MutatingWebhookConfiguration", INJECTOR)["webhooks"]}


def test_only_opted_in_namespaces_wait_for_the_injector():
    entries = webhooks()
    assert set(entries) == {"Fail", "Ignore"}
    for policy, operator in (("Fail", "In"), ("Ignore", "NotIn")):
        opted, excluded = entries[policy]["namespaceSelector"]["matchExpressions"]
        assert opted == {"key": "lunasec.io/injection", "operator": operator, "values": ["enabled"]}
        assert excluded == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "lunasec"]}
        assert entries[policy]["sideEffects"] == "None"
        [rule] = entries[policy]["rules"]
        assert (rule["resources"], rule["operations"]) == (["pods"], ["CREATE"])


def test_no_pod_without_the_annotation_waits_for_the_injector():
    for entry in webhooks().values():
        [condition] = entry["matchConditions"]
        assert condition["expression"].split(" && ") == [
            "has(object.metadata.annotations)",
            "'lunasec.io/inject' in object.metadata.annotations",
            "object.metadata.annotations['lunasec.io/inject'] != 'false'",
        ]


def test_unlabelled_namespaces_can_be_left_alone():
    assert set(webhooks({"webhook": {"unlabelledNamespaces": False}})) == {"Fail"}


def test_what_the_injector_keeps_is_not_named_by_the_chart():
    """Helm's merge of three states, and server-side apply, leave fields alone that the chart never names."""
    secret = find(objects(EVERYTHING), "Secret", f"{INJECTOR}-tls")
    assert secret["type"] == "Opaque" and not {"data", "stringData", "immutable"} & set(secret)
    for entry in webhooks(EVERYTHING).values():
        assert "caBundle" not in entry["clientConfig"]


def rules(among: list[dict], kind: str) -> set[tuple]:
    return {
        (group, resource, verb, tuple(rule.get("resourceNames", ())))
        for rule in find(among, kind, INJECTOR)["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


CLUSTER = {
    *(("", "pods", verb, ()) for verb in ("get", "list", "watch")),
    ("", "events", "create", ()),
    *(("admissionregistration.k8s.io", "mutatingwebhookconfigurations", verb, (INJECTOR,)) for verb in ("get", "list", "watch", "patch")),
}  # fmt: skip


def test_the_injector_may_do_this_and_nothing_else():
    assert rules(objects(), "ClusterRole") == CLUSTER
    assert rules(objects(), "Role") == {
        *(("", "secrets", verb, (f"{INJECTOR}-tls",)) for verb in ("get", "list", "watch", "update")),
        ("coordination.k8s.io", "leases", "create", ()),
        *(("coordination.k8s.io", "leases", verb, (INJECTOR,)) for verb in ("get", "update")),
    }


def test_only_a_reconciler_that_restarts_may_evict():
    assert rules(objects({"reconciler": {"restart": True}}), "ClusterRole") == CLUSTER | {("", "pods/eviction", "create", ())}


def test_only_a_reconciler_that_has_to_know_labels_sees_namespaces():
    labels = {("", "namespaces", verb, ()) for verb in ("list", "watch")}
    assert rules(objects({"webhook": {"unlabelledNamespaces": False}}), "ClusterRole") == CLUSTER | labels


def test_the_injector_changes_of_its_webhook_what_it_keeps_and_nothing_else():
    among = objects(namespace="elsewhere")
    spec = find(among, "ValidatingAdmissionPolicy", INJECTOR)["spec"]
    [rule] = spec["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["mutatingwebhookconfigurations"] and rule["operations"] == ["CREATE", "UPDATE"]
    [condition] = spec["matchConditions"]
    assert condition["expression"] == f"request.userInfo.username == 'system:serviceaccount:elsewhere:{INJECTOR}'"
    [validation] = spec["validations"]
    # Each field that the chart writes is compared; the injector's own is not.
    for entry in webhooks(EVERYTHING).values():
        for field in entry.keys() - {"name", "clientConfig"}:
            assert f"is.{field} == was.{field}" in validation["expression"]
        for field in entry["clientConfig"].keys() | {"url"}:
            assert f"is.clientConfig.{field} == was.clientConfig.{field}" in validation["expression"]
    assert "caBundle" not in validation["expression"]
    binding = find(among, "ValidatingAdmissionPolicyBinding", INJECTOR)["spec"]
    assert binding == {"policyName": INJECTOR, "validationActions": ["Deny"]}
    assert not {each for each in kinds(objects({"webhook": {"guard": False}})) if each.startswith("Validating")}


def test_bindings_bind_the_account_that_the_pods_run_as():
    among = objects(namespace="elsewhere")
    account = find(among, "Deployment", INJECTOR)["spec"]["template"]["spec"]["serviceAccountName"]
    for kind, role in (("ClusterRoleBinding", "ClusterRole"), ("RoleBinding", "Role")):
        binding = find(among, kind, INJECTOR)
        assert binding["roleRef"]["kind"] == role and binding["roleRef"]["name"] == INJECTOR
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "elsewhere"}]


def test_a_digest_stands_above_a_tag():
    digest = "sha256:" + "a" * 64
    images = {"sidecar": {"tag": "1"}, "injector": {"tag": "1", "digest": digest}}
    assert settings({"image": images})["sidecar"]["image"] == "registry.example.com/lunasec/sidecar:1"
    pod = find(objects({"image": images}), "Deployment", INJECTOR)["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"registry.example.com/lunasec/injector@{digest}"


@pytest.mark.parametrize("replicas", [1, 2])
def test_no_budget_keeps_a_node_from_being_drained(replicas):
    budget = find(objects({"injector": {"replicas": replicas}}), "PodDisruptionBudget", INJECTOR)["spec"]
    assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget


def test_the_budget_can_be_left_out():
    assert "PodDisruptionBudget" not in kinds(objects({"injector": {"podDisruptionBudget": {"enabled": False}}}))


def test_a_policy_of_injected_pods_lets_in_prometheus_and_out_what_is_listed():
    policy = find(objects(EVERYTHING), "NetworkPolicy", "lunasec-injected", "shop")["spec"]
    assert policy["podSelector"] == {"matchLabels": {"lunasec.io/injected": "true"}}
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert {"from": [prometheus], "ports": [{"protocol": "TCP", "port": 9464}]} in policy["ingress"]
    assert {"ports": [{"protocol": "TCP", "port": 8080}]} in policy["ingress"] and len(policy["ingress"]) == 2
    dns, storage = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53} and {port["protocol"] for port in dns["ports"]} == {"UDP", "TCP"}
    assert storage == {"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"protocol": "TCP", "port": 443}]}


def test_namespaces_that_are_not_listed_get_no_policy():
    found = [each["metadata"]["namespace"] for each in objects(EVERYTHING) if each["kind"] == "NetworkPolicy"]
    assert sorted(found) == ["desk", "lunasec", "shop"]


def test_the_policy_of_the_injector_is_for_api_server_prometheus_and_dns():
    policy = find(objects(EVERYTHING), "NetworkPolicy", INJECTOR)["spec"]
    api = [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert {"ports": [{"protocol": "TCP", "port": 8443}]} in policy["ingress"]
    assert [port["port"] for port in policy["ingress"][1]["ports"]] == [8080] and len(policy["ingress"]) == 2
    assert {"to": api, "ports": [{"protocol": "TCP", "port": 443}, {"protocol": "TCP", "port": 6443}]} in policy["egress"]
    assert len(policy["egress"]) == 2


def test_pod_monitors_select_injected_pods_anywhere_and_the_injector():
    among = objects({"podMonitor": {"enabled": True}})
    sidecars, injector = (find(among, "PodMonitor", name)["spec"] for name in ("lunasec-sidecars", INJECTOR))
    assert sidecars["namespaceSelector"] == {"any": True} and sidecars["podMetricsEndpoints"][0]["port"] == "lunasec-admin"
    assert sidecars["selector"]["matchLabels"] == {"lunasec.io/injected": "true"}
    pod = find(among, "Deployment", INJECTOR)["spec"]["template"]
    assert injector["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert injector["podMetricsEndpoints"][0]["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]


@pytest.mark.parametrize("namespace", ["shop", "desk"])
def test_a_sweep_in_each_namespace_with_an_account_of_its_own(namespace):
    among = objects(EVERYTHING, {"sweep": {"namespaces": {"shop": {"serviceAccountAnnotations": {"role": "shop"}}}, "serviceAccountAnnotations": {"role": "all"}}})
    job = find(among, "CronJob", "lunasec-sweep", namespace)["spec"]
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    assert job["concurrencyPolicy"] == "Forbid" and job["schedule"] == {"shop": "@daily", "desk": "17 3 * * *"}[namespace]
    account = find(among, "ServiceAccount", pod["serviceAccountName"], namespace)
    assert account["metadata"]["annotations"] == {"role": {"shop": "shop", "desk": "all"}[namespace]}
    assert account["automountServiceAccountToken"] is pod["automountServiceAccountToken"] is False
    assert pod["containers"][0]["args"] == ["sweep", "--config", "/etc/lunasec/lunasec.toml"]
    assert pod["volumes"][0]["configMap"]["name"] == find(among, "ConfigMap", "lunasec", namespace)["metadata"]["name"]
    assert {"name": "SSL_CERT_FILE", "value": "/etc/lunasec/ca.pem"} in pod["containers"][0]["env"]


def test_a_ca_bundle_is_in_every_namespace_and_the_injector_knows():
    for namespace in ("shop", "desk"):
        data = find(objects(EVERYTHING), "ConfigMap", "lunasec", namespace)["data"]
        assert data["ca.pem"] == EVERYTHING["caBundle"] and set(data) == {"lunasec.toml", "ca.pem"}
    assert settings(EVERYTHING)["sidecar"]["ca_bundle"] is True


def test_a_journal_on_an_emptydir_is_told_to_the_injector_once_its_loss_is_acknowledged():
    told = {"journal": {"volume": "emptyDir", "acknowledgeLoss": True}, "config": {"degrade": {"on_storage_outage": "journal"}}}
    assert settings(told)["sidecar"]["journal"] == "ephemeral-acknowledged"


def test_namespaces_are_merged_over_config_table_by_table():
    shop = {"storage": {"prefix": "shop/", "bucket": "other"}, "degrade": {"disk_cache": True}, "keys": {"namespaces": {"my-shop": "alias/shop"}}}
    toml = tomllib.loads(find(objects({"config": AWS, "namespaces": {"shop": shop, "desk": {}}}), "ConfigMap", "lunasec", "shop")["data"]["lunasec.toml"])
    assert toml["storage"] == {**AWS["storage"], "prefix": "shop/", "bucket": "other"} and toml["clients"] == AWS["clients"]
    assert toml["degrade"] == {"disk_cache": True, "on_storage_outage": "reject", "state_dir": "/var/lib/lunasec/state"}
    assert toml["keys"] == {**AWS["keys"], "namespaces": {"my-shop": "alias/shop"}}


def test_namespaces_in_which_nothing_is_injected_are_told_to_the_injector_as_to_the_api_server():
    values = {"webhook": {"excludedNamespaces": ["legacy", "kube-system"], "unlabelledNamespaces": False}}
    told = settings(values)["webhook"]
    assert told["excluded_namespaces"] == ["kube-system", "lunasec", "legacy"] and told["unlabelled_namespaces"] is False
    assert webhooks(values)["Fail"]["namespaceSelector"]["matchExpressions"][1]["values"] == told["excluded_namespaces"]


def test_configurations_stay_where_they_shall():
    for keep, notes_of in ((True, {"helm.sh/resource-policy": "keep"}), (False, None)):
        found = find(objects(EVERYTHING, {"sidecar": {"keepConfigMaps": keep}}), "ConfigMap", "lunasec", "shop")
        assert found["metadata"].get("annotations") == notes_of


def test_what_is_given_stands_above_the_charts_own():
    own = {
        "affinity": {"nodeAffinity": {}}, "topologySpreadConstraints": [{"maxSkew": 2}], "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "podSecurityContext": {"fsGroup": 7}, "securityContext": {"runAsUser": 1000710000},
    }  # fmt: skip
    pod = find(objects({"injector": own}), "Deployment", INJECTOR)["spec"]["template"]["spec"]
    assert pod["affinity"] == own["affinity"] and pod["topologySpreadConstraints"] == own["topologySpreadConstraints"]
    assert pod["securityContext"]["fsGroup"] == 7 and pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    assert container["securityContext"]["runAsUser"] == 1000710000 and container["securityContext"]["readOnlyRootFilesystem"] is True
    assert [each["name"] for each in container["env"]] == ["POD_NAME", "POD_NAMESPACE", "HTTPS_PROXY"]


def test_common_labels_are_on_every_object_and_replace_none():
    for each in objects(EVERYTHING, {"commonLabels": {"team": "platform", "app.kubernetes.io/name": "other"}}):
        labels = each["metadata"]["labels"]
        assert labels["team"] == "platform" and labels["app.kubernetes.io/name"] == "lunasec", each["kind"]


def test_alerts_that_nobody_can_answer_are_told():
    told = {"alerts": {"enabled": True}}
    assert "LunasecInjectorAway fires for ever" in notes(told)
    assert "LunasecInjectorAway" not in notes(told, {"podMonitor": {"enabled": True}}) + notes()


def test_the_notes_say_what_is_next():
    assert "No namespace has a lunasec.toml yet" in notes() and "kubectl label" not in notes()
    for namespace in ("shop", "desk"):
        assert f"kubectl label namespace {namespace} lunasec.io/injection=enabled" in notes(EVERYTHING)
