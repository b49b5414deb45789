"""Behaviors and knowledge sets, and the library that reads them from a folder or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from comparisons.dataset.items import ORDERS, Choice, Item, OpenPrompt, Order, Presentation, content
from comparisons.dataset.lettering import KNOWLEDGE
from comparisons.dataset.packaged import PACKAGED, POCKET, place_of
from comparisons.dataset.records import read_items, read_prompts
from comparisons.dataset.splits import (
    OPEN_ENDED_PATH,
    TEST_PATH,
    TRAIN_PATH,
    behavior_names,
    draw,
    first_matches,
    loose_files,
    split,
    split_files,
)
from comparisons.dataset.texts import TEXTS_FILE, Signs, read_texts
from comparisons.util.directions import DIRECTIONS
from comparisons.util.errors import CompareError, unknown
from comparisons.util.files import listed_digest

__all__ = ["ORDERS", "Behavior", "Choice", "Item", "KnowledgeSet", "Library", "Order", "Presentation"]

DEV_SHARE, DEV_LEAST, DEV_MOST = 0.2, 8, 100
TEST_SHARE = 0.2
KNOWLEDGE_DEV_MOST = 200
_FIXED_SEED = 0
_KNOWLEDGE_FILES = {
    "mmlu": "test/mmlu/mmlu.json",
    "mmlu4": "test/mmlu4/mmlu4.json",
    "truthfulqa": "test/truthfulqa/truthful_qa.json",
}
_OWN_KNOWLEDGE = "test/knowledge/knowledge.json"
_EMBEDDED_KNOWLEDGE = "pocket facts"


@dataclass(frozen=True)
class Behavior:
    """A named tendency, and everything with which it is fitted, evaluated and put into words.

    Attributes:
        name: of the folder or file it was read from.
        train: contrast pairs to fit on.
        dev: contrast pairs to choose settings on; empty until `with_dev` cuts them from `train`.
        test: questions to evaluate on.
        open_ended: prompts to answer freely.
        prompts: direction -> system prompt; None where there are none.
        rubric: what a judge goes by, 0 to 10.
        rubrics: name -> a further rubric, by which answers have a score of their own.
        description: the behavior in a phrase.
        source: the path it was read from, for messages.
        paraphrases: direction -> other wordings of the system prompt.
        neutral: system prompts about nothing.
        truth: sentences that show the behavior or its opposite in an answer, as behavior.json tells them.
        signs: wordings that do so in natural language.
    """

    name: str
    train: Sequence[Item]
    dev: Sequence[Item]
    test: Sequence[Item]
    open_ended: Sequence[OpenPrompt]
    prompts: Mapping[str, str] | None
    rubric: str | None
    description: str | None
    source: str
    paraphrases: Mapping[str, tuple[str, ...]] | None = None
    neutral: tuple[str, ...] = ()
    truth: Mapping[str, Any] | None = None
    signs: Signs | None = None
    rubrics: Mapping[str, str] = field(default_factory=dict)

    def system_prompt(self, direction: str) -> str:
        """The system prompt for more ("pos") or less ("neg") of the behavior.

        Raises:
            CompareError: the behavior has none; says which file to write them to.
        """
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS)
        if self.prompts is None:
            file = Path(self.source).parent / TEXTS_FILE
            raise CompareError(
                f"the behavior '{self.name}' has no system prompts: write them to {file} "
                'as {"system_prompts": {"pos": "…", "neg": "…"}}.'
            )
        return self.prompts[direction]

    @property
    def lettered(self) -> bool:
        """Whether its file gives its items letters; of very large files the first item stands for all."""
        return all(part[0].own_letters for part in (self.train, self.test) if part)

    def with_dev(self, seed: int) -> Behavior:
        """Cuts a dev split from `train`: a fifth of the pairs, at least 8 and at most 100.

        A hash of each pair's content decides, so other pairs' places in the file don't matter; pairs of one
        stem stay on one side where that keeps the split near its size. A behavior that has a dev split keeps it.

        Raises:
            CompareError: fewer than 16 pairs.
        """
        if self.dev:
            return self
        if len(self.train) < 2 * DEV_LEAST:
            raise CompareError(
                f"the behavior '{self.name}' has {len(self.train)} contrast pairs, too few to choose "
                f"settings with: use {2 * DEV_LEAST} or more, state the settings instead of 'auto', or sweep on test."
            )
        count = min(DEV_MOST, max(DEV_LEAST, round(DEV_SHARE * len(self.train))))
        train, dev = split(self.train, count, DEV_LEAST, seed)
        return replace(self, train=train, dev=dev)

    def limited(self, train_items: int | None, test_items: int | None, seed: int, letters: bool = False) -> Behavior:
        """The behavior with at most so many pairs, and so many questions and open-ended prompts each; None keeps all.

        Seeded subsets in their original order. Where the items have letters of their own, either letter matches in
        equally many pairs, but for one, as far as there are.

        Args:
            letters: likewise where the letters were given to them.
        """
        kind = first_matches if letters or self.lettered else None
        train = self.train if train_items is None else draw(self.train, train_items, seed, kind)
        test = self.test if test_items is None else draw(self.test, test_items, seed)
        open_ended = self.open_ended if test_items is None else draw(self.open_ended, test_items, seed)
        return replace(self, train=train, test=test, open_ended=open_ended)

    @cached_property
    def digest(self) -> str:
        """Content hash of everything that can change a fit: all but the dev and test questions."""
        words = (self.prompts, self.rubric, self.description, self.paraphrases, self.neutral, self.truth)
        more = [*([] if self.signs is None else [asdict(self.signs)]), *([self.rubrics] if self.rubrics else [])]
        return listed_digest([self.name], _contents(self.train), [(*words, *more)])

    @cached_property
    def dev_digest(self) -> str:
        """Content hash of the questions on which settings are chosen."""
        return listed_digest(None, _contents(self.dev))

    @cached_property
    def test_digest(self) -> str:
        """Content hash of the questions and open-ended prompts of the evaluation."""
        return listed_digest([], _contents(self.test), [[(p.question, p.template) for p in self.open_ended]])

    @property
    def unparsed(self) -> int:
        """How many test questions are evaluated as given in both orders."""
        return sum(not item.parsed for item in self.test)


@dataclass(frozen=True)
class KnowledgeSet:
    """Knowledge questions: their `matching` letter is the correct one.

    Attributes:
        name: "mmlu", "mmlu4", "truthfulqa", "pocket facts", …; the set is always called by it.
        items: the questions.
    """

    name: str
    items: Sequence[Item]

    def limited(self, items: int | None, seed: int) -> KnowledgeSet:
        """The set with at most so many questions: a seeded subset in its original order."""
        return self if items is None else replace(self, items=draw(self.items, items, seed))

    def with_dev(self, seed: int) -> tuple[KnowledgeSet, Sequence[Item]]:
        """Cuts a dev split: a third of the questions, at least 8 and at most 200; the rest, and what was cut off.

        Raises:
            CompareError: fewer than 16 questions.
        """
        if len(self.items) < 2 * DEV_LEAST:
            raise CompareError(f"{self.name} has {len(self.items)} questions, too few to choose by: it needs 16.")
        count = min(KNOWLEDGE_DEV_MOST, max(DEV_LEAST, len(self.items) // 3))
        rest, dev = split(self.items, count, DEV_LEAST, seed)
        return replace(self, items=rest), dev

    def without(self, items: Sequence[Item]) -> KnowledgeSet:
        """The set without the questions that are neutral prompts of a method.

        Raises:
            CompareError: none is left.
        """
        known = {content(item) for item in items}
        rest = [item for item in self.items if content(item) not in known]
        if not rest:
            needed = f"it needs {2 * DEV_LEAST}, or choose --knowledge none"
            raise CompareError(
                f"all {len(self.items)} questions of {self.name} are a method's neutral prompts: {needed}."
            )
        return replace(self, items=rest)

    def probe(self) -> KnowledgeSet:
        """What a model is asked before a run, the same in all: the dev split of one seed, or all of a small set."""
        return replace(self, items=self.with_dev(_FIXED_SEED)[1]) if len(self.items) >= 2 * DEV_LEAST else self

    @cached_property
    def digest(self) -> str:
        """Content hash of the questions."""
        return listed_digest(None, _contents(self.items))

    @property
    def unparsed(self) -> int:
        """How many questions are evaluated as given in both orders."""
        return sum(not item.parsed for item in self.items)


def _contents(items: Iterable[Item]) -> Iterator[Sequence[str | None]]:
    return ((i.question, i.matching, i.contrast, i.template, i.label, i.category) for i in items)


@dataclass(frozen=True)
class Library:
    """Everything in one place: a folder in the paper's layout, or files of one behavior each, or of one's splits.

    Attributes:
        place: the folder or file.
        names: its behaviors, sorted.
    """

    place: Path
    names: tuple[str, ...]

    @classmethod
    def open(cls, data: str | Path) -> Library:
        """Looks at a place without reading its items.

        Args:
            data: a folder or file, or "pocket" or "english", which travel with the package.

        Raises:
            CompareError: nothing is there, or nothing usable.
        """
        try:
            place = place_of(data)
            return cls(place, behavior_names(place))
        except OSError as error:
            raise CompareError(f"{data}: can't be read: {error.strerror}.") from error

    def behavior(self, name: str) -> Behavior:
        """Reads one behavior.

        Raises:
            CompareError: unknown, or something in its files is wrong: names the file, item and field.
        """
        if name not in self.names:
            raise CompareError(f"{unknown('behavior', name, self.names)}{self._elsewhere(name)}")
        if self.place.is_file():
            return _from_file(name, self.place)
        if parts := split_files(self.place):
            train, test = map(_joined, parts)
            return _behavior(name, parts[0][0], train, test, ())
        if files := loose_files(self.place):
            if len(files) > 1 and (self.place / TEXTS_FILE).exists():
                raise CompareError(
                    f"{self.place / TEXTS_FILE}: one file of texts can't speak for {len(files)} behaviors: "
                    "put its behavior's file into a folder of its own with it."
                )
            return _from_file(name, files[name])
        source, questions = self.place / TRAIN_PATH.format(name), self.place / OPEN_ENDED_PATH.format(name)
        train = read_items(source, "generate")
        test = read_items(self.place / TEST_PATH.format(name), "test")
        return _behavior(name, source, train, test, read_prompts(questions) if questions.exists() else ())

    def knowledge(self, choice: str) -> KnowledgeSet | None:
        """Reads the knowledge set that a choice names.

        Args:
            choice: "mmlu", "mmlu4", "truthfulqa", "none", or "auto": the place's own set, else MMLU, else none.

        Raises:
            CompareError: unknown, or the place lacks it: says where its file should be.
        """
        if choice == "none":
            return None
        if choice == "auto":
            mmlu = "mmlu" if self._has(_KNOWLEDGE_FILES["mmlu"]) else "none"
            return self._own_knowledge() or self.knowledge(mmlu)
        if choice not in _KNOWLEDGE_FILES:
            raise unknown("knowledge set", choice, ("auto", "none", *_KNOWLEDGE_FILES))
        file = _KNOWLEDGE_FILES[choice]
        if not self._has(file):
            folder = f"the folder {self.place}" if self.place.is_dir() else "a folder given by --data"
            raise CompareError(
                f"the knowledge set '{choice}' is not in {self.place}: put it at {file} in {folder} "
                "(`compare data fetch` gets it), or use --knowledge auto."
            )
        return KnowledgeSet(choice, read_items(self.place / file, choice, KNOWLEDGE))

    @property
    def knowledge_sets(self) -> tuple[str, ...]:
        """The choices of `knowledge` for which the place has a file."""
        own = ("auto",) if self._has(_OWN_KNOWLEDGE) else ()
        return (*own, *(name for name, file in _KNOWLEDGE_FILES.items() if self._has(file)))

    def _own_knowledge(self) -> KnowledgeSet | None:
        if not self._has(_OWN_KNOWLEDGE):
            return None
        ours = self.place.resolve() == place_of(POCKET).resolve()
        name = _EMBEDDED_KNOWLEDGE if ours else f"{self.place.resolve().name} knowledge"
        return KnowledgeSet(name, read_items(self.place / _OWN_KNOWLEDGE, "knowledge", KNOWLEDGE))

    def _elsewhere(self, name: str) -> str:
        """Which data these are, and which of those that come along has a behavior that they lack."""
        own = next((data for data in PACKAGED if place_of(data) == self.place), None)
        other = next((data for data in PACKAGED if data != own and name in Library.open(data).names), None)
        has = f"; --data {other} has {name}" if other else ""
        return f" These are the behaviors of {own or self.place}{has}." if own or other else ""

    def _has(self, file: str) -> bool:
        return self.place.is_dir() and (self.place / file).is_file()


def _joined(files: Sequence[Path]) -> Sequence[Item]:
    parts = [read_items(file, file.stem) for file in files]
    return parts[0] if len(parts) == 1 else [item for part in parts for item in part]


def _from_file(name: str, path: Path) -> Behavior:
    items = read_items(path, name)
    if len(items) < 2:
        raise CompareError(f"{path}: holds one item: it needs two, one of them to test on.")
    train, test = split(items, max(1, round(TEST_SHARE * len(items))), 1, _FIXED_SEED)
    return _behavior(name, path, train, test, ())


def _behavior(
    name: str, source: Path, train: Sequence[Item], test: Sequence[Item], open_ended: Sequence[OpenPrompt]
) -> Behavior:
    words = vars(read_texts(source.parent / TEXTS_FILE, name))
    return Behavior(name=name, train=train, dev=(), test=test, open_ended=open_ended, source=str(source), **words)
