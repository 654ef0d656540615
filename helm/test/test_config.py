"""The lunasec.toml that is rendered is one that the sidecar takes, and says what the values say."""

import tomllib

import pytest
from chart import AWS, check_toml, find, merged, objects

SESSIONS = [{"issuer": "https://id.example.com", "audience": "shop", "jwks": "https://id.example.com/jwks.json"}]
CONFIGURATIONS = {
    "aws": AWS,
    "everything": merged(AWS, {
        "audit": {"sink": "stdout", "reveal": "durable", "spool_bytes": "64 MiB"},
        "cache": {"values": {"soft": "1m", "revocation": "2m", "max": "128 MiB"}, "grants": {"hard": "30m"}},
        "degrade": {"disk_cache": True, "journal_age": "5d", "on_storage_outage": "journal"},
        "grants": {"default": "5m"},
        "keys": {"accept_key_ids": ["alias/old"], "namespaces": {"shop": "alias/shop"}},
        "limits": {"requests": 512, "idempotency_entries": 1000000, "value": "512 KiB"},
        "sandbox": {"mode": "required"},
        "sessions": SESSIONS,
        "storage": {"endpoint": "https://s3.example.com", "path_style": True, "prefix": "a/b/"},
        "sweep": {"tombstone_grace": "60d"},
        "clients": [
            {"name": "shop", "uid": 10001, "gid": 4294967294, "namespaces": ["default", "shop"], "operations": ["tokenize", "detokenize"], "require_grant": True},
            {"name": "desk", "gid": 20000, "namespaces": ["desk"], "operations": ["detokenize", "grants"], "requests_per_second": 1000000},
        ],
    }),
    "embedded": {
        "storage": {"kind": "embedded", "path": "/var/lib/lunasec/store.redb"},
        "keys": {"kind": "local", "path": '/var/lib/lunasec/a "quoted" \\ <key>.key'},
        "clients": AWS["clients"],
    },
}  # fmt: skip


def rendered(config: dict) -> str:
    return find(objects({"config": config, "namespaces": {"shop": {}}}), "ConfigMap", "lunasec")["data"]["lunasec.toml"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_sidecar_takes_it(name):
    said = check_toml(rendered(CONFIGURATIONS[name]))
    assert said.returncode == 0, said.stderr + said.stdout


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_it_says_what_the_values_say(name):
    degrade = {"degrade": {"on_storage_outage": "reject"}}
    expected = merged(degrade, CONFIGURATIONS[name], {"degrade": {"state_dir": "/var/lib/lunasec/state"}})
    assert tomllib.loads(rendered(CONFIGURATIONS[name])) == expected


def test_the_check_sees_a_mistake_in_what_is_rendered():
    assert check_toml(rendered(AWS).replace("eu-central-1", "EU central")).returncode == 2
