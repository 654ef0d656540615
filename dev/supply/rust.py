"""As much of Rust's grammar as it takes to tell a word of the program from one in a comment or a text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

# What a word may not be taken for. The order counts: a raw text before any other, a character before a lifetime.
ASIDE = r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?<!\w)(?P<raw>[bc]?r(?P<hashes>\#*)")
    | (?P<text>"(?:[^"\\]|\\.)*")
    | (?P<character>'(?:\\(?:x[0-9A-Fa-f]{2}|u\{[0-9A-Fa-f_]+\}|.)|[^\\'\n])')
    | (?P<lifetime>'\w+)
    | (?P<word>%s)
"""
WORD = re.compile(ASIDE % r"(?:r\#)?\w+", re.VERBOSE | re.DOTALL)
# The same, but to stop at this word only is ten times as fast.
UNSAFE = re.compile(ASIDE % r"(?<!\w)(?<!r\#)unsafe(?!\w)", re.VERBOSE | re.DOTALL)
BLOCK = re.compile(r"/\*|\*/")


@dataclasses.dataclass(frozen=True)
class Count:
    lines: int
    unsafe: int


def count(source: str) -> Count:
    unsafe = sum(1 for _ in walk(UNSAFE, source)) if "unsafe" in source else 0
    return Count(source.count("\n"), unsafe)


def words(source: str) -> list[str]:
    return list(walk(WORD, source))


def walk(pattern: re.Pattern, source: str) -> Iterator[str]:
    at = 0
    while piece := pattern.search(source, at):
        at = piece.end()
        if piece["block"]:
            at = after_block(source, at)
        elif piece["raw"]:
            end = source.find('"' + piece["hashes"], at)
            at = len(source) if end < 0 else end + 1 + len(piece["hashes"])
        elif piece["word"]:
            yield piece["word"]


def after_block(source: str, at: int) -> int:
    """Comments lie in each other."""
    depth = 1
    while depth:
        mark = BLOCK.search(source, at)
        if not mark:
            return len(source)
        depth += 1 if mark[0] == "/*" else -1
        at = mark.end()
    return at
