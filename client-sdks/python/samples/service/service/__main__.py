"""`python -m service 127.0.0.1:8000`, or the path of a socket; SERVICE_DATABASE is the file of its database."""

import os
import sys

import uvicorn

from lunasec import AsyncLunaSec

from .app import application

app = application(os.environ.get("SERVICE_DATABASE", "service.db"), AsyncLunaSec(restart_grace=0.5))
where = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"
if where.startswith("/"):
    uvicorn.run(app, uds=where)
else:
    host, _, port = where.rpartition(":")
    uvicorn.run(app, host=host or "127.0.0.1", port=int(port))
