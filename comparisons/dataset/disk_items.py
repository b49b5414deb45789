"""Items of large files, kept on disk: memory holds where each one is, and those that are looked at."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import overload

from comparisons.dataset.fields import Record
from comparisons.dataset.items import Item

AHEAD = 256
"""Items that are read at once where they are gone through one by one."""

Make = Callable[[Record, int], Item]


class DiskItems(Sequence[Item]):
    """Items in a file of this process's own, which is gone with it: the user's may change, and reads as it was.

    Args:
        records: what items are made of; gone through once.
        make: makes an item of its record and number, counted from 1; raises CompareError where it can't.
    """

    def __init__(self, records: Iterable[Record], make: Make) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the items are
        self._make, self._ends = make, array("Q", [0])
        for number, record in enumerate(records, start=1):
            make(record, number)  # what is wrong is said now
            self._ends.append(self._ends[-1] + self._file.write(json.dumps(record).encode()))
        self._file.flush()
        self._chosen: Sequence[int] = range(len(self._ends) - 1)

    def take(self, indices: Sequence[int]) -> DiskItems:
        """Some of these items, in this order."""
        found = DiskItems.__new__(DiskItems)
        found._file, found._make, found._ends = self._file, self._make, self._ends
        found._chosen = array("Q", [self._chosen[index] for index in indices])
        return found

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> DiskItems: ...
    def __getitem__(self, index: int | slice) -> Item | DiskItems:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        place = self._chosen[index]
        return self._made(self._read(place), place)

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), AHEAD):
            places = self._chosen[start : start + AHEAD]
            low, high = self._ends[min(places)], self._ends[max(places) + 1]
            data = os.pread(self._file.fileno(), high - low, low) if max(places) - min(places) < 4 * AHEAD else None
            for place in places:
                begin, end = self._ends[place] - low, self._ends[place + 1] - low
                yield self._made(self._read(place) if data is None else data[begin:end], place)

    def _read(self, place: int) -> bytes:
        start, end = self._ends[place], self._ends[place + 1]
        # No position is moved: another thread, or a fork, may be reading too.
        return os.pread(self._file.fileno(), end - start, start)

    def _made(self, data: bytes, place: int) -> Item:
        return self._make(json.loads(data), place + 1)
