"""The works that are timed: which questions, which settings, how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from comparisons.bench.subjects import LLAMA2_7B, SMOLLM2, make_answer_items, make_items
from comparisons.dataset.items import ORDERS, Item, Order, Presentation
from comparisons.intervention import Edit
from comparisons.util.errors import unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comparisons.model.lm import LM
    from comparisons.model.prompts import ChoicePrompt

WORKS = ("extraction", "sweep", "grid", "knowledge", "answers", "kl", "generation")
MOST = 2.0
"""The largest multiplier."""

STRENGTHS = (0.5, 1.0, 1.5, 2.0, 3.0)


def multipliers(count: int) -> tuple[float, ...]:
    """Evenly spaced on both sides of 0, up to `MOST`; with 0 where they are odd in number."""
    side = [MOST * (i + 1) / (count // 2) for i in range(count // 2)]
    return (*(-value for value in reversed(side)), *([0.0] if count % 2 else []), *side)


MULTIPLIERS = multipliers(9)


@dataclass(frozen=True)
class Sizes:
    """How much is timed.

    Attributes:
        prompts: of the sweep, the grid, the answers and the KL.
        tokens: of a prompt with its answer prefix.
        answer_tokens: of each of a question's two answers.
        own_tokens: of the answer along which a KL is read.
        multipliers: of each layer in the sweep and the answers; 0 is among them where they are odd in number.
        pairs: contrast pairs of the extraction.
        knowledge: questions of the knowledge set.
        knowledge_timed: how many of them the engine is timed on; the figure is scaled to all.
        answers: prompts of the generation.
        new_tokens: of a written answer.
        passes: how many passes of a loop are timed in a repeat; the figure is scaled to all.
        repeats: how often every contender has its turn.
        seed: of items, vectors and samples.
    """

    prompts: int = 50
    tokens: int = 192
    answer_tokens: int = 24
    own_tokens: int = 40
    multipliers: int = 9
    pairs: int = 200
    knowledge: int = 570
    knowledge_timed: int = 57
    answers: int = 50
    new_tokens: int = 60
    passes: int = 20
    repeats: int = 3
    seed: int = 0


QUICK = Sizes(
    prompts=4,
    tokens=48,
    answer_tokens=6,
    own_tokens=6,
    pairs=4,
    knowledge=8,
    knowledge_timed=4,
    answers=2,
    new_tokens=4,
    passes=4,
    repeats=1,
)
"""Sizes at which everything runs once in seconds; its ratios say nothing."""


@dataclass(frozen=True)
class Work:
    """Questions and settings.

    Attributes:
        name: of `WORKS`.
        kind: "activations" at the letters, log-probabilities of the letters of "choices", or of the "texts" of given
            answers, the "kl" along one, or "answers" written out.
        items: the questions that the engine runs.
        orders: in which orders each is asked.
        settings: one edit each; a multiplier of 0 is the plain model.
        whole: how many items the work has, of which `items` is a sample where they are fewer.
        new_tokens: of a written answer.
    """

    name: str
    kind: Literal["activations", "choices", "texts", "kl", "answers"]
    items: tuple[Item, ...]
    orders: tuple[Order, ...] = ("given",)
    settings: tuple[Edit, ...] = ()
    whole: int = 0
    new_tokens: int = 0

    @property
    def questions(self) -> list[Presentation]:
        """Every item in every order."""
        return [item.present(order) for item in self.items for order in self.orders]

    @property
    def scale(self) -> float:
        """From the items at hand to the whole work."""
        return self.whole / len(self.items) if self.whole else 1.0

    @property
    def jobs(self) -> list[tuple[int, ...]]:
        """What a loop does one at a time: question and setting; of an extraction the pair, of a KL all settings."""
        questions = range(len(self.items) * len(self.orders))
        if self.kind in ("activations", "kl"):
            return [(q,) for q in questions]
        return [(q, s) for q in questions for s in range(len(self.settings))]

    @property
    def members(self) -> tuple[Edit, ...]:
        """The distinct settings that change something."""
        distinct = {edit.digest: edit for edit in self.settings if edit.effective}
        return tuple(distinct.values())

    @property
    def has_plain(self) -> bool:
        """Whether the plain model is among the settings."""
        return any(not edit.effective for edit in self.settings)

    def prompts(self, lm: LM) -> list[ChoicePrompt]:
        """The questions as the model reads them."""
        return [lm.choice_prompt(q.question, (q.matching, q.contrast)) for q in self.questions]

    def answer_prompts(self, lm: LM) -> list[list[int]]:
        """The prompts of answers: without the answer prefix."""
        return [lm.tokenize(lm.prompt(q.question)) for q in self.questions]

    def given_answers(self, lm: LM) -> list[GivenAnswers]:
        """The questions with their answers, of a KL with one, as the model reads them."""
        return [GivenAnswers.of(lm, question, 1 if self.kind == "kl" else 2) for question in self.questions]

    def read_by(self, lm: LM) -> Sequence[Any]:
        """What a loop takes of the questions, by the kind of work."""
        if self.kind in ("texts", "kl"):
            return self.given_answers(lm)
        return self.answer_prompts(lm) if self.kind == "answers" else self.prompts(lm)


@dataclass(frozen=True)
class GivenAnswers:
    """A question with its answers, the matching one first.

    Attributes:
        ids: the prompt's tokens.
        texts: prompt and answer, for each answer.
    """

    ids: tuple[int, ...]
    texts: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, lm: LM, question: Presentation, count: int) -> GivenAnswers:
        prompt = lm.prompt(question.question)
        space = "" if prompt[-1:].isspace() else " "
        texts = (tuple(lm.tokenize(f"{prompt}{space}{text}")) for text in question.texts[:count])
        return cls(tuple(lm.tokenize(prompt)), tuple(texts))

    @property
    def start(self) -> int:
        """The last prompt token: the first that an edit touches."""
        return len(self.ids) - 1


def make_works(lm: LM, names: Sequence[str], sizes: Sizes) -> list[Work]:
    """The works that are asked for, in the order of `WORKS`.

    Raises:
        CompareError: an unknown name.
    """
    for name in names:
        if name not in WORKS:
            raise unknown("work", name, WORKS)
    return [_make(lm, name, sizes) for name in WORKS if name in names]


def _make(lm: LM, name: str, sizes: Sizes) -> Work:
    middle, seed = len(lm.blocks) // 2, sizes.seed
    every_layer = edits(lm, range(len(lm.blocks)), multipliers(sizes.multipliers), seed)
    if name == "extraction":
        return Work(name, "activations", make_items(lm, sizes.pairs, sizes.tokens, seed))
    if name == "sweep":
        items = make_items(lm, sizes.prompts, sizes.tokens, seed)
        return Work(name, "choices", items, settings=every_layer)
    if name == "grid":
        items = make_items(lm, sizes.prompts, sizes.tokens, seed)
        both = [sign * strength for sign in (1, -1) for strength in STRENGTHS]
        return Work(name, "choices", items, ORDERS, edits(lm, [middle], both, seed))
    if name == "knowledge":
        items = make_items(lm, sizes.knowledge_timed, sizes.tokens, seed)
        settings = edits(lm, [middle], MULTIPLIERS, seed)
        return Work(name, "choices", items, settings=settings, whole=sizes.knowledge)
    if name == "answers":
        items = make_answer_items(lm, sizes.prompts, sizes.tokens, sizes.answer_tokens, seed)
        return Work(name, "texts", items, ("answers",), every_layer)
    if name == "kl":
        items = make_answer_items(lm, sizes.prompts, sizes.tokens, sizes.own_tokens, seed)
        return Work(name, "kl", items, ("answers",), edits(lm, [middle], MULTIPLIERS, seed))
    items = make_items(lm, sizes.answers, sizes.tokens, seed)
    settings = edits(lm, [middle], MULTIPLIERS, seed)
    return Work(name, "answers", items, settings=settings, new_tokens=sizes.new_tokens)


def edits(lm: LM, layers: Sequence[int], multipliers: Sequence[float], seed: int) -> tuple[Edit, ...]:
    """One edit a layer and multiplier; each layer has a random vector of the scale of the embeddings."""
    import torch

    from comparisons.model.offload import weight_of

    generator = torch.Generator().manual_seed(seed)
    scale = weight_of(lm.model.get_input_embeddings()).detach().float().std().item()
    vectors = {layer: torch.randn(lm.width, generator=generator) * scale for layer in layers}
    return tuple(Edit(layer, vectors[layer], multiplier=m) for layer in layers for m in multipliers)


def for_subject(name: str) -> Sizes:
    """The sizes at which a subject is timed unless told otherwise.

    Of Llama 2's shape more pairs, for fast devices; of a real model on slow ones fewer prompts and multipliers.
    """
    if name == SMOLLM2:
        return Sizes(prompts=8, multipliers=4)
    return Sizes(pairs=400) if name == LLAMA2_7B else Sizes()
