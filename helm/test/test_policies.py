"""Network policies: who may talk to whom, and on which ports."""

import pytest
from chart import EVERYTHING, find, merged, objects

INJECTOR = "lunasec-injector"
POLICIES = (("lunasec-injected", "shop"), (INJECTOR, "lunasec"), ("lunasec-sweep", "desk"))


def policies(**changed: object) -> dict[str, dict]:
    among = objects(merged(EVERYTHING, {"networkPolicy": changed}))
    return {name: find(among, "NetworkPolicy", name, namespace)["spec"] for name, namespace in POLICIES}


def blocks(*cidrs: str) -> list[dict]:
    return [{"ipBlock": {"cidr": each}} for each in cidrs]


def ports(protocol: str, *numbers: int) -> list[dict]:
    return [{"protocol": protocol, "port": each} for each in numbers]


@pytest.mark.parametrize("name", [name for name, _ in POLICIES])
def test_name_servers_are_found_by_labels_ports_and_addresses(name):
    dns = policies(dnsNamespace="openshift-dns", dnsPodLabels={"dns": "default"}, dnsPorts=[5353], dnsCidrs=["169.254.20.10/32"])[name]["egress"][0]
    selector = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}},
        "podSelector": {"matchLabels": {"dns": "default"}},
    }
    assert dns == {"to": [selector, *blocks("169.254.20.10/32")], "ports": [*ports("UDP", 5353), *ports("TCP", 5353)]}


def test_from_where_the_webhook_is_called_is_not_where_the_api_server_is():
    policy = policies(injector={"webhookCidrs": ["10.2.0.0/16"], "egress": [{"cidrs": ["10.3.0.0/16"], "ports": [514], "protocol": "UDP"}]})[INJECTOR]
    assert policy["ingress"][0] == {"ports": ports("TCP", 8443), "from": blocks("10.2.0.0/16")}
    assert policy["egress"][1:] == [
        {"to": blocks("10.0.0.1/32"), "ports": ports("TCP", 443, 6443)},
        {"to": blocks("10.3.0.0/16"), "ports": ports("UDP", 514)},
    ]


def test_an_application_may_talk_udp():
    shop = {"shop": {"egress": [{"cidrs": ["10.4.0.0/16"], "ports": [8125], "protocol": "UDP"}], "ingressPorts": [], "ingressUdpPorts": [5000]}}
    policy = policies(sidecars={"namespaces": shop})["lunasec-injected"]
    assert policy["egress"][1:] == [{"to": blocks("10.4.0.0/16"), "ports": ports("UDP", 8125)}]
    assert policy["ingress"][1:] == [{"ports": ports("UDP", 5000)}]


def test_a_sweep_gets_out_to_what_is_listed_and_nothing_gets_in():
    among = objects(EVERYTHING)
    policy = find(among, "NetworkPolicy", "lunasec-sweep", "desk")["spec"]
    pod = find(among, "CronJob", "lunasec-sweep", "desk")["spec"]["jobTemplate"]["spec"]["template"]
    assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["policyTypes"] == ["Ingress", "Egress"] and "ingress" not in policy
    assert policy["egress"][1:] == [{"to": blocks("2001:db8::/32"), "ports": ports("TCP", 443)}]


def test_other_ports_are_told_to_everyone_who_needs_them():
    among = objects(EVERYTHING, {"sidecar": {"adminPort": 9777}, "webhook": {"port": 9443}, "injector": {"adminPort": 9080}})
    settings = find(among, "ConfigMap", INJECTOR)["data"]["injector.toml"]
    for line in ('admin = "[::]:9777"', 'listen = "[::]:9443"', 'listen = "[::]:9080"'):
        assert line in settings
    pod = find(among, "Deployment", INJECTOR)["spec"]["template"]["spec"]
    assert {each["name"]: each["containerPort"] for each in pod["containers"][0]["ports"]} == {"webhook": 9443, "admin": 9080}
    assert [each["ports"][0]["port"] for each in find(among, "NetworkPolicy", INJECTOR)["spec"]["ingress"]] == [9443, 9080]
    assert find(among, "NetworkPolicy", "lunasec-injected", "shop")["spec"]["ingress"][0]["ports"] == ports("TCP", 9777)


def test_on_the_nodes_network_an_injector_leaves_its_ports_before_the_next_one_takes_them():
    spec = find(objects({"injector": {"hostNetwork": True}}), "Deployment", INJECTOR)["spec"]
    assert spec["template"]["spec"]["hostNetwork"] is True and spec["template"]["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}
    assert "hostNetwork" not in find(objects(), "Deployment", INJECTOR)["spec"]["template"]["spec"]
