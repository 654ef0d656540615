"""What the scripted server needs beyond the standard library: for gRPC only, in an environment of its own."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEV = HERE.parents[2] / "dev"
REQUIREMENTS = HERE / "grpc.txt"
OLDEST = (3, 10)


def install():
    """Once for each list; found from then on. All of it is Python that needs no compiler, so that it serves any version."""
    if str(DEV) not in sys.path:
        sys.path.append(str(DEV))
    from emulators import venvs

    home = Path(venvs.ensure_from(REQUIREMENTS, OLDEST)).parent.parent
    (packages,) = home.glob("lib/python*/site-packages")
    if str(packages) not in sys.path:
        sys.path.append(str(packages))
