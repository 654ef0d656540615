"""Pods that end: the sweeps, and the check before an upgrade."""

import tomllib

import pytest
from chart import AWS, EVERYTHING, check_toml, find, kinds, merged, objects

PLACEMENT = {
    "podAnnotations": {"sidecar.istio.io/inject": "false"}, "podLabels": {"team": "platform"}, "nodeSelector": {"kubernetes.io/arch": "arm64"},
    "tolerations": [{"key": "infra", "operator": "Exists"}], "priorityClassName": "low",
}  # fmt: skip
ROLE = "arn:aws:iam::111122223333:role/shop-sweep"


def sweep(namespace: str, **changed: object) -> dict:
    return find(objects(EVERYTHING, {"sweep": changed}), "CronJob", "lunasec-sweep", namespace)["spec"]


def pod_of(job: dict) -> dict:
    return job["jobTemplate"]["spec"]["template"]["spec"]


def test_a_sweep_can_write_where_its_configuration_says_that_the_state_is():
    state = tomllib.loads(find(objects(EVERYTHING), "ConfigMap", "lunasec", "shop")["data"]["lunasec.toml"])["degrade"]["state_dir"]
    pod = pod_of(sweep("shop"))
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "state"]
    assert state.startswith(mount["mountPath"] + "/") and not mount.get("readOnly")
    assert {"name": "state", "emptyDir": {}} in pod["volumes"]


def test_a_sweep_has_the_web_identity_of_an_injected_pod():
    for namespace, role in (("shop", ROLE), ("desk", ROLE.replace("shop", "all"))):
        pod = pod_of(sweep(namespace, awsRoleArn=ROLE.replace("shop", "all"), namespaces={"shop": {"awsRoleArn": ROLE}}))
        environment = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
        assert environment["AWS_ROLE_ARN"] == role
        [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "aws"]
        assert environment["AWS_WEB_IDENTITY_TOKEN_FILE"] == mount["mountPath"] + "/token"
        [token] = [each for each in pod["volumes"] if each["name"] == "aws"][0]["projected"]["sources"]
        assert token["serviceAccountToken"]["audience"] == "sts.amazonaws.com" and token["serviceAccountToken"]["path"] == "token"
    assert "aws" not in [each["name"] for each in pod_of(sweep("shop"))["volumes"]]


def placed(template: dict) -> bool:
    spec, meta = template["spec"], template["metadata"]
    assert spec["nodeSelector"] == PLACEMENT["nodeSelector"] and spec["tolerations"] == PLACEMENT["tolerations"]
    assert meta["annotations"] == PLACEMENT["podAnnotations"] and meta["labels"]["team"] == "platform"
    return spec["priorityClassName"] == "low"


def test_their_pods_run_where_they_are_told():
    among = objects(EVERYTHING, {"sweep": PLACEMENT, "check": PLACEMENT})
    assert placed(find(among, "CronJob", "lunasec-sweep", "shop")["spec"]["jobTemplate"]["spec"]["template"])
    assert placed(find(among, "Job", "lunasec-check")["spec"]["template"])


def test_sweeps_that_ended_go_and_those_that_are_late_wait():
    job = sweep("shop", startingDeadlineSeconds=60, ttlSecondsAfterFinished=0)
    assert job["startingDeadlineSeconds"] == 60 and job["jobTemplate"]["spec"]["ttlSecondsAfterFinished"] == 0


def test_before_anything_changes_the_sidecars_image_reads_every_configuration():
    among = objects(EVERYTHING, {"namespaces": {"bank": {}}})
    job, given = find(among, "Job", "lunasec-check"), find(among, "ConfigMap", "lunasec-check")
    for each in (job, given):
        notes = each["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-install,pre-upgrade" and notes["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
        assert each["metadata"]["namespace"] == "lunasec"
    assert int(given["metadata"]["annotations"]["helm.sh/hook-weight"]) < int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
    spec = job["spec"]["template"]["spec"]
    containers = [*spec["initContainers"], *spec["containers"]]
    assert [each["args"] for each in containers] == [["check", "--config", f"/configurations/{name}.toml"] for name in ("bank", "desk", "shop")]
    for each in containers:
        assert each["image"] == pod_of(find(among, "CronJob", "lunasec-sweep", "shop")["spec"])["containers"][0]["image"]
    assert job["spec"]["backoffLimit"] == 0 and spec["restartPolicy"] == "Never" and spec["automountServiceAccountToken"] is False
    for namespace in ("bank", "desk", "shop"):
        assert given["data"][f"{namespace}.toml"] == find(among, "ConfigMap", "lunasec", namespace)["data"]["lunasec.toml"]


@pytest.mark.parametrize(("age", "code"), [("5d", 0), ("400d", 2)])
def test_that_image_sees_what_the_schema_does_not(age, code):
    among = objects({"config": merged(AWS, {"degrade": {"journal_age": age}}), "namespaces": {"shop": {}}})
    said = check_toml(find(among, "ConfigMap", "lunasec-check")["data"]["shop.toml"])
    assert said.returncode == code and ("journal_age" in said.stdout + said.stderr) is (code == 2)


def test_there_is_no_check_where_there_is_nothing_to_check_or_nobody_wants_it():
    assert "Job" not in kinds(objects())
    assert "Job" not in kinds(objects(EVERYTHING, {"check": {"enabled": False}}))
