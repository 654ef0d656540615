"""Which SDKs there are: `harness/sdks.json` names every directory of `client-sdks`."""

import json
from dataclasses import dataclass

from . import wires
from .cases import HERE

ROOT = HERE.parent.parent
# What is in client-sdks and is no SDK: everything else needs an adapter, for every operation.
NO_SDKS = frozenset()
LIST = json.loads((HERE / "harness/sdks.json").read_text())


@dataclass(frozen=True)
class Sdk:
    """Its adapter's command, and what it speaks to the sidecar: one of `wires.SPOKEN`."""

    command: str
    speaks: str = "http"


def load(only=None):
    """Each that has an adapter, by its name."""
    return {
        name: Sdk(str(ROOT / "client-sdks" / name / entry["adapter"]), entry.get("speaks", "http"))
        for name, entry in LIST.items()
        if "adapter" in entry and only in (None, name)
    }


def gaps():
    """An SDK without an adapter is one that nobody checks."""
    directories = {path.name for path in (ROOT / "client-sdks").iterdir() if path.is_dir()}
    lacking = [f"client-sdks/{name}: sdks.json does not name it" for name in sorted(directories - set(LIST))]
    empty = [
        f"client-sdks/{name}: sdks.json has neither its adapter nor why it needs none"
        for name, entry in LIST.items()
        if not ({"adapter", "needs_none"} & set(entry))
    ]
    out = [
        f"client-sdks/{name}: sdks.json says that it needs no adapter, and sdks.py does not know it as no SDK"
        for name, entry in LIST.items()
        if "needs_none" in entry and name not in NO_SDKS
    ]
    speechless = [
        f"client-sdks/{name}: sdks.json says that it speaks what no wire of the harness is"
        for name, entry in LIST.items()
        if entry.get("speaks", "http") not in wires.SPOKEN
    ]
    return lacking + empty + out + speechless
