"""Who reaches whom: pods that can try it, and what a policy comes to. A policy is at work some time after it was made, and for
each pod some time after the pod was, so nothing is asked only once."""

from __future__ import annotations

import json

from .application import RESTRICTED
from .environment import STORAGE_IMAGE
from .kubectl import Json, get, kubectl, listed, until

#: Where the container listens that looks into the network.
PORTS = (8080, 8081)
#: The name server of whoever asks.
NAME_SERVER = ":53"
SECONDS = 60

LISTEN = f"""
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
listening = [socket.create_server(("", port)) for port in {PORTS}]
signal.pause()
"""

# No answer in these seconds is none: where a policy drops what is sent, nothing says so.
TRY = """
import concurrent.futures, json, re, socket, sys
def tried(address):
    host, port = address.rsplit(":", 1)
    host = host or re.search(r"^nameserver (\\S+)", open("/etc/resolv.conf").read(), re.M)[1]
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
        return "reached"
    except OSError as error:
        return str(error)
with concurrent.futures.ThreadPoolExecutor(len(sys.argv)) as all_at_once:
    print(json.dumps(list(all_at_once.map(tried, sys.argv[1:]))))
"""


def looking(template: Json) -> Json:
    """The same pod with a container more, which looks into the network that all containers of the pod have in common."""
    template["spec"]["containers"].append({
        "name": "network",
        "image": STORAGE_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", LISTEN],
        "securityContext": RESTRICTED,
    })  # fmt: skip
    return template


def only_looking(**labels: str) -> Json:
    """A pod with nothing else in it."""
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10002, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [],
    }
    return looking({"metadata": {"labels": labels}, "spec": spec})


def tried(namespace: str, pod: str, places: dict[str, str]) -> dict[str, str]:
    """What came of connecting to each place: "reached", or what was said instead."""
    said = kubectl("exec", pod, "-c", "network", "-n", namespace, "--", "python3", "-c", TRY, *places.values())
    return dict(zip(places, json.loads(said), strict=True))


def comes_to_reach(namespace: str, pod: str, places: dict[str, str], *wanted: str) -> None:
    """Of these places, those and no other."""
    last: dict[str, str] = {}

    def holds() -> bool:
        last.update(tried(namespace, pod, places))
        return {name for name, said in last.items() if said == "reached"} == set(wanted)

    try:
        until(f"{pod} reaches those", holds, SECONDS)
    except AssertionError:
        raise AssertionError(f"{pod} was to reach {', '.join(wanted) or 'nothing'} of these: {last}") from None


def address(namespace: str, pod: str) -> str:
    return get("pod", pod, namespace)["status"]["podIP"]


def addresses(namespace: str, name: str) -> list[str]:
    """Of the pods behind a service, and its own: whether a policy sees a connection before or after that is looked up is the
    cluster's business."""
    pods = [each["status"]["podIP"] for each in listed("pods", namespace, f"app={name}")]
    return [get("service", name, namespace)["spec"]["clusterIP"], *pods]


def api_servers() -> list[tuple[str, int]]:
    """Addresses and ports: of the service, and those behind it."""
    slices = listed("endpointslices", "default", "kubernetes.io/service-name=kubernetes")
    behind = [
        (at, port["port"])
        for each in slices
        for endpoint in each["endpoints"]
        for at in endpoint["addresses"]
        for port in each["ports"]
    ]
    return [(get("service", "kubernetes", "default")["spec"]["clusterIP"], 443), *behind]


def block(at: str) -> str:
    """Of one address, as policies want it."""
    return f"{at}/{128 if ':' in at else 32}"
