"""What is seen of a drill."""

import sys

COLOURS = {"ok": 32, "journaled": 36, "degraded": 33, "refused": 31}


class Screen:
    def __init__(self):
        self._colours = sys.stdout.isatty()

    def heading(self, text):
        print(f"\n== {text}", flush=True)

    def note(self, text):
        print(f"   {text}", flush=True)

    def outcomes(self, outcomes):
        """One line: each operation, and how it went."""
        cells = [f"{name} {self._paint(kind, words)}" for name, kind, words in outcomes]
        print("   " + " · ".join(cells), flush=True)

    def _paint(self, kind, words):
        return f"\033[{COLOURS[kind]}m{words}\033[0m" if self._colours else words
