"""Makes the bucket and the key that a sidecar is pointed at.

Plain requests, so that this runs on any Python without a client library. The emulators read region and
service from the authorization header and do not check its signature; against AWS this does nothing."""

from __future__ import annotations

import http.client
import json
import urllib.parse

BUCKET = "lunasec"
ALIAS = "alias/lunasec"
REGION = "eu-central-1"
# The emulators' dummies. No secret: they open nothing anywhere.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Refused(Exception):
    """The server answered, but not as asked."""


# What `prepare` raises while a server is not up yet.
NOT_READY = (OSError, http.client.HTTPException, Refused)


def prepare(endpoint: str, versioned: bool) -> None:
    make_bucket(endpoint)
    set_versioning(endpoint, versioned)
    make_key(endpoint)


def make_bucket(endpoint: str) -> None:
    region = f"<LocationConstraint>{REGION}</LocationConstraint>"
    place = f'<CreateBucketConfiguration xmlns="{NAMESPACE}">{region}</CreateBucketConfiguration>'
    status, answer = send(endpoint, "s3", "PUT", f"/{BUCKET}", place)
    if status != 200 and b"BucketAlreadyOwnedByYou" not in answer:
        raise Refused(f"making the bucket: {status} {answer[:300]!r}")


def set_versioning(endpoint: str, versioned: bool) -> None:
    if not versioned:
        return
    on = f'<VersioningConfiguration xmlns="{NAMESPACE}"><Status>Enabled</Status></VersioningConfiguration>'
    status, answer = send(endpoint, "s3", "PUT", f"/{BUCKET}?versioning", on)
    if status != 200:
        raise Refused(f"turning versioning on: {status} {answer[:300]!r}")


def make_key(endpoint: str) -> None:
    aliases = kms(endpoint, "ListAliases", {})["Aliases"]
    if all(alias["AliasName"] != ALIAS for alias in aliases):
        key = kms(endpoint, "CreateKey", {"Description": "LunaSec, development"})["KeyMetadata"]["KeyId"]
        kms(endpoint, "CreateAlias", {"AliasName": ALIAS, "TargetKeyId": key})


def kms(endpoint: str, operation: str, body: dict) -> dict:
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": f"TrentService.{operation}"}
    status, answer = send(endpoint, "kms", "POST", "/", json.dumps(body), headers)
    if status != 200:
        raise Refused(f"KMS {operation}: {status} {answer[:300]!r}")
    return json.loads(answer)


def send(
    endpoint: str, service: str, method: str, path: str, body: str, headers: dict | None = None
) -> tuple[int, bytes]:
    scope = f"{CREDENTIALS['AWS_ACCESS_KEY_ID']}/20260101/{REGION}/{service}/aws4_request"
    authorization = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none"
    address = urllib.parse.urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    try:
        connection.request(method, path, body, {"authorization": authorization, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
