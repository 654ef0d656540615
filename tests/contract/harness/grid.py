"""The grid: a row for each case, two columns for each SDK."""

import tempfile

from . import wires
from .adapter import Adapter
from .replay import Replay
from .sidecar import Sidecar

SERVERS = ("scripted", "binary")


def run(sdks, cases):
    """Replays all, prints the grid, gives what is wrong."""
    columns = [(name, server) for name in sdks for server in SERVERS]
    cells, wrong = {}, []
    with tempfile.TemporaryDirectory(prefix="lunasec-contract-") as directory:
        sidecar = Sidecar(directory) if any(case.server == "binary" for case in cases) else None
        try:
            for name, sdk in sdks.items():
                results = column(sdk, cases, sidecar, directory)
                for case, words in results:
                    cells[case.title, (name, case.server)] = not words
                    wrong += [f"{name}: {case.title}: {text}" for text in words]
        finally:
            if sidecar:
                sidecar.stop()
    show(columns, cases, cells)
    return wrong if columns else ["there is no such SDK"]


def column(sdk, cases, sidecar, directory):
    adapter, wire = Adapter([sdk.command]), wires.of(sdk.speaks)
    results = []
    for case in cases:
        words = Replay(case, adapter, sidecar if case.server == "binary" else None, directory, wire).run()
        results.append((case, words))
        if adapter.process.poll() is not None:
            adapter.close()
            adapter = Adapter([sdk.command])
    adapter.close()
    return results


def show(columns, cases, cells):
    width = max((len(case.title) for case in cases), default=0)
    heads = [f"{name} {server}" for name, server in columns]
    print("  ".join([" " * width, *heads]))
    for case in cases:
        row = [cell(cells, case, column).ljust(len(head)) for column, head in zip(columns, heads)]
        print("  ".join([case.title.ljust(width), *row]).rstrip())
    for (name, server), head in zip(columns, heads):
        mine = [good for (_, column), good in cells.items() if column == (name, server)]
        print(f"{head}: {sum(mine)} of {len(mine)}")


def cell(cells, case, column):
    """A dot: the case is for the other server."""
    if column[1] != case.server:
        return "·"
    good = cells.get((case.title, column))
    return "ok" if good else "FAILS"
