"""S3 and KMS of the tests on a cluster: moto over TLS, with the bucket and the key that a sidecar is pointed at."""

import ssl
import threading

import boto3
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION = "eu-central-1"
ACCESS = {"region_name": REGION, "aws_access_key_id": "test", "aws_secret_access_key": "test"}


class KeptAlive(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"


def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("/tls/tls.pem", "/tls/tls.key")
    application = DomainDispatcherApplication(create_backend_app)
    # Whoever probes the port finds both made.
    inside = make_server("127.0.0.1", 5000, application, threaded=True)
    threading.Thread(target=inside.serve_forever, daemon=True).start()
    s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:5000", **ACCESS)
    s3.create_bucket(Bucket="lunasec", CreateBucketConfiguration={"LocationConstraint": REGION})
    kms = boto3.client("kms", endpoint_url="http://127.0.0.1:5000", **ACCESS)
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/lunasec", TargetKeyId=key)
    server = make_server(
        "0.0.0.0", 8443, application, threaded=True, request_handler=KeptAlive, ssl_context=tls
    )
    server.serve_forever()


main()
