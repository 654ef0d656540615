"""Interceptors for grpcio that do what your .proto files say of fields: see docs/grpc.md.

```python
import lunasec.grpc

server = grpc.server(pool, interceptors=[lunasec.grpc.server_interceptor(client, [shop_pb2], session="session")])
```"""

from pathlib import Path

from .aio import aio_client_interceptors, aio_server_interceptor
from .caller import ServerCall
from .plan import FieldRuleError
from .sync import client_interceptors, server_interceptor

#: For `protoc -I`: where `lunasec/options.proto` is.
PROTO_DIR = str(Path(__file__).parent / "proto")

__all__ = [
    "PROTO_DIR",
    "FieldRuleError",
    "ServerCall",
    "aio_client_interceptors",
    "aio_server_interceptor",
    "client_interceptors",
    "server_interceptor",
]
