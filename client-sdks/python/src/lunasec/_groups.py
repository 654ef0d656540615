"""Which calls that are made together go in one request."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ._flight import Common, Entry, shared_unit
from ._limits import BATCH_ITEMS


class Batch:
    """What becomes one request."""

    __slots__ = ("bytes", "common", "entries", "items")

    def __init__(self, common: Common) -> None:
        self.common = common
        self.entries: list[Entry[Any]] = []
        #: What is sent: of the same token of several callers, one.
        self.items = 0
        self.bytes = common.operation.overhead

    def has_room(self, items: int, more: int, most_items: int) -> bool:
        return self.items + items <= most_items and self.bytes + more <= self.common.operation.most_bytes


class Groups:
    """Calls that say the same of themselves: operation, namespace, session, purpose and attempts."""

    def __init__(self, most_items: int) -> None:
        self._most = min(most_items, BATCH_ITEMS)
        self._groups: dict[Hashable, tuple[Common, list[Entry[Any]]]] = {}

    def add(self, common: Common, entry: Entry[Any]) -> None:
        key = (common.operation.path, common.attempts, common.context, common.operation.before)
        self._groups.setdefault(key, (common, []))[1].append(entry)

    def batches(self) -> list[Batch]:
        """Small enough, each. Whoever asks for what a batch asks for already goes along with it."""
        return [batch for common, entries in self._groups.values() for batch in self._cut(common, entries)]

    def _cut(self, common: Common, entries: Sequence[Entry[Any]]) -> list[Batch]:
        batches: list[Batch] = []
        asked: dict[bytes, Batch] = {}
        for entry in entries:
            if entry.call.over:
                continue
            # Where each call is to be a request, it is one.
            shared = None if self._most == 1 else shared_unit(common, entry)
            batch = None if shared is None else asked.get(shared.json)
            if batch is None:
                batch = self._batch_for(common, entry, batches)
            batch.entries.append(entry)
            if shared is not None:
                asked[shared.json] = batch
        return batches

    def _batch_for(self, common: Common, entry: Entry[Any], batches: list[Batch]) -> Batch:
        """The last batch if there is room for so much more, else another one."""
        more = sum(len(unit.json) + 1 for unit in entry.units)
        if not batches or not batches[-1].has_room(len(entry.units), more, self._most):
            batches.append(Batch(common))
        batch = batches[-1]
        batch.items += len(entry.units)
        batch.bytes += more
        return batch
