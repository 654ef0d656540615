"""What Kubernetes, its restricted Pod Security Standard, helm and YAML ask of the chart."""

import functools
import json
import re

import helm_python
import pytest
from chart import EVERYTHING, IMAGES, PLACE, files, kinds, merged, objects, pod_templates
from kubernetes_validate import utils

# Read once, not for each object.
utils.schema_contents = functools.cache(utils.schema_contents)
VERSIONS = [each for each in dict.fromkeys(utils.all_versions()) if tuple(map(int, each.split(".")[:2])) >= (1, 29)]
RENDERED = {"defaults": IMAGES, "everything": EVERYTHING, "rules in a ConfigMap": merged(EVERYTHING, {"alerts": {"kind": "ConfigMap"}})}
GUARD = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
OPERATORS = {"PodMonitor", "PrometheusRule"}


def test_the_versions_are_from_native_sidecars_to_the_newest():
    assert VERSIONS[0].startswith("1.29") and len(VERSIONS) >= 9


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("values", ["defaults", "everything"])
def test_every_object_is_one_of_that_version_of_kubernetes(version, values):
    for each in objects(RENDERED[values]):
        # What guards the webhook is rendered from the version on that has it.
        is_later = each["kind"] in GUARD and version.startswith("1.29")
        if each["kind"] not in OPERATORS and not is_later:
            utils.validate(each, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_is_seen():
    [service] = [each for each in objects() if each["kind"] == "Service"]
    service["spec"]["portz"] = []
    with pytest.raises(utils.ValidationError):
        utils.validate(service, VERSIONS[-1], strict=True)


def test_the_kinds_of_the_prometheus_operator_have_their_shape():
    among = [each for each in objects(EVERYTHING) if each["kind"] in OPERATORS]
    assert kinds(among) == OPERATORS
    for each in among:
        assert each["apiVersion"] == "monitoring.coreos.com/v1" and set(each) == {"apiVersion", "kind", "metadata", "spec"}
        if each["kind"] == "PodMonitor":
            assert set(each["spec"]) == {"namespaceSelector", "selector", "podMetricsEndpoints"}
            assert all(set(end) == {"port", "path", "interval"} for end in each["spec"]["podMetricsEndpoints"])
            continue
        assert set(each["spec"]) == {"groups"}
        for group in each["spec"]["groups"]:
            assert set(group) == {"name", "rules"}
            for rule in group["rules"]:
                assert {"alert", "expr", "labels", "annotations"} <= set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
                assert re.fullmatch(r"\d+m", rule.get("for", "1m")) and rule["labels"]["severity"] in ("warning", "critical")
                assert all(isinstance(value, str) for value in [*rule["labels"].values(), *rule["annotations"].values()])


def breaches(pod: dict) -> list[str]:
    """What the restricted Pod Security Standard does not allow in a pod's spec."""
    own = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    found += [f"volume {each['name']}" for each in pod.get("volumes", []) if not set(each) - {"name"} <= allowed]
    found += ["sysctls"] * bool(own.get("sysctls"))
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context = container.get("securityContext", {})
        wrong = {
            "privileged": context.get("privileged"),
            "escalation": context.get("allowPrivilegeEscalation") is not False,
            "capabilities": context.get("capabilities") != {"drop": ["ALL"]},
            "root": not context.get("runAsNonRoot", own.get("runAsNonRoot")) or context.get("runAsUser", own.get("runAsUser")) == 0,
            "seccomp": context.get("seccompProfile", own.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"),
            "host port": any(port.get("hostPort") for port in container.get("ports", [])),
            "/proc": context.get("procMount", "Default") != "Default",
        }
        found += [f"{container['name']}: {name}" for name, is_wrong in wrong.items() if is_wrong]
    return found


def test_pods_pass_the_restricted_pod_security_standard():
    pods = dict(pod_templates(objects(EVERYTHING)))
    assert set(pods) == {"Deployment lunasec-injector", "CronJob lunasec-sweep", "Job lunasec-check"}
    for name, template in pods.items():
        assert breaches(template["spec"]) == [], name
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["runAsUser"] == {"injector": 64734}.get(container["name"], 64733)
            assert container["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in container["resources"]["limits"]


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        ("allowPrivilegeEscalation", True, "escalation"), ("runAsUser", 0, "root"), ("privileged", True, "privileged"),
        ("capabilities", {"drop": ["NET_RAW"]}, "capabilities"), ("seccompProfile", {"type": "Unconfined"}, "seccomp"),
    ],
)  # fmt: skip
def test_a_breach_of_the_standard_is_seen(at, value, words):
    pod = dict(pod_templates(objects()))["Deployment lunasec-injector"]["spec"]
    pod["containers"][0]["securityContext"][at] = value
    assert breaches(pod) == [f"injector: {words}"]


@pytest.mark.parametrize("values", RENDERED)
def test_helm_has_nothing_to_say(values):
    report = helm_python.lint(PLACE, RENDERED[values], strict=True, namespace="lunasec")
    assert not report["errors"] and report["total_charts_linted"] == 1, json.dumps(report)
    assert [each for each in report["messages"] if each["severity"] > 1] == []


@pytest.mark.parametrize("values", RENDERED)
def test_the_same_values_render_the_same(values):
    first = files(RENDERED[values])
    with helm_python.Chart.load(PLACE) as again:
        second = again.render(RENDERED[values], name="lunasec", namespace="lunasec")
    assert first == {name: text for name, text in second.items() if name in first} and len(first) + 1 == len(second)


def test_no_two_objects_are_one():
    among = [(each["apiVersion"], each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in objects(EVERYTHING)]
    assert len(among) == len(set(among))


def test_lists_that_an_upgrade_merges_are_merged_by_name():
    """Why an upgrade keeps the injector's caBundle: API servers merge webhooks by their name, not the list as a whole."""
    for version in VERSIONS:
        definitions = utils.schema_contents(f"kubernetes-json-schema/v{version}-local/_definitions.json", version)["$defs"]
        entries = definitions["io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration"]["properties"]["webhooks"]
        assert (entries["x-kubernetes-patch-merge-key"], entries["x-kubernetes-patch-strategy"]) == ("name", "merge")
        if "x-kubernetes-list-type" in entries:
            assert (entries["x-kubernetes-list-type"], entries["x-kubernetes-list-map-keys"]) == ("map", ["name"])
