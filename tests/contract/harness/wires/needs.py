"""What the scripted server needs beyond the standard library: for gRPC only, in an environment of its own."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
DEV = HERE.parents[2] / "dev"
REQUIREMENTS = HERE / "grpc.txt"
OLDEST = (3, 10)


def install():
    """Once for each list; found from then on. All of it is Python that needs no compiler, so that it serves any version."""
    home = Path(environment(REQUIREMENTS)).parent.parent
    (packages,) = home.glob("lib/python*/site-packages")
    if str(packages) not in sys.path:
        sys.path.append(str(packages))


def environment(requirements):
    """The Python of one that has what a list names."""
    if str(DEV) not in sys.path:
        sys.path.append(str(DEV))
    from emulators import venvs

    return venvs.ensure_from(requirements, OLDEST)
