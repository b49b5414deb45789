"""Which letter an answer without one gets: drawn, and balanced within all that items share."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

SEED = 0
"""Of the draws: a file gives the same items in every run, whatever seed these have."""

ALL = "all"  # the kind of all items


class Turns:
    """The letters drawn for the items of one file.

    Each item takes one of the letters that items with its label, topic and answer have had least often: of these mostly
    one that is the rarer with its label, with its topic and with its answer, each for itself (Pocock & Simon 1975, with
    their 3/4). What is left open is drawn by a hash of its question, so that no letter follows from an item's row.
    """

    def __init__(self) -> None:
        self._drawn = bytearray()
        self._counts: Counter[Hashable] = Counter()

    def letter(self, number: int, question: str, letters: Sequence[str], groups: Sequence[Hashable]) -> str:
        """The letter of one item, the same whenever it is asked for.

        Args:
            number: the item's in its file, counted from 1.
            groups: the label, topic, answer, … that it has, None where it has no such.
        """
        self._drawn.extend(bytes(max(0, number + 1 - len(self._drawn))))
        if not self._drawn[number]:
            kinds = [(place, group) for place, group in enumerate(groups) if group is not None]
            least = self._rarest(letters, [tuple(groups)])
            drawn = int(hashlib.sha256(f"letter {SEED} {question}".encode()).hexdigest(), 16)
            open_to = self._rarest(least, [*kinds, ALL]) if drawn % 4 else least
            taken = open_to[drawn // 4 % len(open_to)]
            self._counts.update((kind, taken) for kind in (*kinds, tuple(groups), ALL))
            self._drawn[number] = ord(taken)
        return chr(self._drawn[number])

    def _rarest(self, letters: Sequence[str], kinds: Sequence[Hashable]) -> list[str]:
        """The letters that some kinds of items together have had least often."""
        had = {letter: sum(self._counts[kind, letter] for kind in kinds) for letter in letters}
        return [letter for letter in letters if had[letter] == min(had.values())]
