"""Activations of contrast pairs: both answers of a question as two branches of one prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from comparisons.dataset.behaviors import Item
from comparisons.engine.adapters import in_place
from comparisons.engine.choices import MAX_LEFT_OUT, WINDOW, pair_windows
from comparisons.engine.completions import completion_prompts, completion_tails
from comparisons.engine.passes import last_activations, mean_activations
from comparisons.engine.plan import Branch
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.intervention import Intervention, stack
from comparisons.model.lm import LM
from comparisons.model.prompts import ChoicePrompt
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class PromptEnd:
    """A pair is not two answers, but two system prompts before the same question, read at the last prompt token.

    Sources: Vogel 2024 (repeng), Chen et al. 2025 (persona vectors, section 2): the same question under an instruction
    to show the behavior, and under one not to.

    Attributes:
        systems: the system prompts for and against the behavior; the first stands for the matching answer.
        exchanged: indices of the pairs whose system prompts are exchanged, for a control.
    """

    systems: tuple[str, str]
    exchanged: frozenset[int] = frozenset()


Read = Literal["letter", "answer"] | PromptEnd
"""Where a contrast pair is read: at the letter, over the tokens of the answer's text, or where the prompt ends."""

QUESTIONS = 256
"""Questions whose two prompts are read before their activations are paired: so many are held."""


@dataclass(frozen=True)
class ContrastMeans:
    """Mean differences of contrast activations, matching minus contrast answer, by the letter that matches.

    Attributes:
        first, second: over the pairs that match under the first, and the second, of their two letters,
            [layers, width] float64; zeros where there is none.
        counts: how many pairs each is the mean of.
    """

    first: torch.Tensor
    second: torch.Tensor
    counts: tuple[int, int]

    @property
    def matching(self) -> torch.Tensor:
        """The mean over all pairs."""
        total = self.counts[0] * self.first + self.counts[1] * self.second
        mean: torch.Tensor = total / sum(self.counts)
        return mean

    @property
    def letter(self) -> torch.Tensor | None:
        """From the second letter to the first: what follows the content cancels. None where all match under one."""
        return (self.first - self.second) / 2 if all(self.counts) else None


def contrast_means(
    lm: LM, items: Sequence[Item], below: Intervention | None = None, read: Read = "letter"
) -> ContrastMeans:
    """Reads contrast pairs at every layer and averages them; see `contrast_activations`."""
    return means_of(contrast_activations(lm, items, below=below, read=read), items)


def means_of(batches: Iterable[tuple[Sequence[int], torch.Tensor]], items: Sequence[Item]) -> ContrastMeans:
    """Averages contrast activations.

    Args:
        batches: at least one, as `contrast_activations` yields them.
        items: what their indices are of.
    """
    sums: list[torch.Tensor] = []
    counts = [0, 0]
    for indices, activations in batches:
        difference = activations[:, 0].double() - activations[:, 1].double()
        second = torch.tensor([items[i].matching > items[i].contrast for i in indices])
        sums = sums or [torch.zeros_like(difference[0]) for _ in counts]
        for side in (0, 1):
            sums[side] += difference[second == side].sum(dim=0)
            counts[side] += int((second == side).sum())
    first, other = (total / max(1, count) for total, count in zip(sums, counts, strict=True))
    return ContrastMeans(first, other, (counts[0], counts[1]))


def contrast_differences(
    lm: LM, items: Sequence[Item], layers: Sequence[int] | None = None, read: Read = "letter"
) -> torch.Tensor:
    """Each pair's difference, matching minus contrast answer, [pairs, layers, width] float64, in the pairs' order.

    See `contrast_activations`; pairs longer than the model's context are left out.
    """
    differences = dict[int, torch.Tensor]()
    for indices, pairs in contrast_activations(lm, items, layers, read=read):
        differences.update(zip(indices, pairs[:, 0].double() - pairs[:, 1], strict=True))
    # Batches come by length, and a seed's random signs go by the pairs' own order.
    return torch.stack([differences[index] for index in sorted(differences)])


def contrast_activations(
    lm: LM,
    items: Sequence[Item],
    layers: Sequence[int] | None = None,
    below: Intervention | None = None,
    read: Read = "letter",
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Block outputs of both answers, batch by batch, in about one pass over the prompts.

    At the letter's token, as the paper does (Rimsky et al. 2024, section 3: the residual stream at the position of the
    answer letter), over the choices' texts as answers to the question's stem (see `answer_activations`), or at the last
    token of the stem's prompt under two system prompts (see `PromptEnd`), where the answers play no part.

    Args:
        lm: the model.
        items: contrast pairs; each is read as given.
        layers: 0-based blocks; all by default.
        below: an intervention that is in place while the pairs are read.
        read: where.

    Yields:
        Indices into `items`, and their activations [items, 2, layers, width], float32, the matching answer
        first. Items longer than the model's context, or without texts where these are read, are left out.

    Raises:
        CompareError: a layer is out of range, or more than 2% of the items are left out.
    """
    if read == "answer":
        yield from _read_texts(lm, items, layers, below)
        return
    below = (below or Intervention()).simplified()
    layers = range(len(lm.blocks)) if layers is None else [lm.check_layer(layer) for layer in layers]
    if isinstance(read, PromptEnd):
        yield from _read_prompt_ends(lm, items, layers, below, read)
        return
    with in_place(lm, below):
        for prompts in pair_windows(lm, items, below):
            yield from _read(lm, prompts, layers, below)


def _read_texts(
    lm: LM, items: Sequence[Item], layers: Sequence[int] | None, below: Intervention | None
) -> Iterator[tuple[list[int], torch.Tensor]]:
    usable = [i for i, item in enumerate(items) if len(item.texts) == 2]
    if len(items) - len(usable) > MAX_LEFT_OUT * len(items):
        raise CompareError(
            f"{len(items) - len(usable)} of {len(items)} contrast pairs have no two texts to read: use read=letter."
        )
    for start in range(0, len(usable), WINDOW):
        window = usable[start : start + WINDOW]
        stems, texts = [items[i].stem for i in window], [items[i].texts for i in window]
        for indices, activations in answer_activations(lm, stems, texts, layers, below):
            yield [window[i] for i in indices], activations


def _read_prompt_ends(
    lm: LM, items: Sequence[Item], layers: Sequence[int], below: Intervention, read: PromptEnd
) -> Iterator[tuple[list[int], torch.Tensor]]:
    heads = [stack((below, Intervention(system=system))) for system in read.systems]
    missing = 0
    with in_place(lm, below):
        for start in range(0, len(items), QUESTIONS):
            stems = {start + i: item.stem for i, item in enumerate(items[start : start + QUESTIONS])}
            prompts = {
                i: [tuple(lm.tokenize(lm.prompt(stem, head.system, head.examples))) for head in heads]
                for i, stem in stems.items()
            }
            fitting = {i: p for i, p in prompts.items() if lm.context is None or max(map(len, p)) <= lm.context}
            missing += len(prompts) - len(fitting)
            if missing > MAX_LEFT_OUT * len(items) or not (fitting or missing < len(items)):
                raise CompareError(
                    f"{missing} of {len(items)} questions exceed the {lm.context} tokens of {lm.name} under a system "
                    "prompt: use shorter ones or another model."
                )
            if fitting:
                found = _at_the_end(lm, [p for pair in fitting.values() for p in pair], layers, below)
                pairs = found.view(len(fitting), 2, *found.shape[1:])
                turned = [row for row, i in enumerate(fitting) if i in read.exchanged]
                pairs[turned] = pairs[turned].flip(1)
                yield list(fitting), pairs


def prompt_end_activations(
    lm: LM, questions: Sequence[str], layers: Sequence[int] | None = None, below: Intervention | None = None
) -> torch.Tensor:
    """Block outputs at the last token of prompts.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        layers: 0-based blocks; all by default.
        below: an intervention that is in place while they are read.

    Returns:
        [questions, layers, width], float32, on the CPU; NaN where a prompt exceeds the model's context.

    Raises:
        CompareError: a layer is out of range.
    """
    below = (below or Intervention()).simplified()
    layers = range(len(lm.blocks)) if layers is None else [lm.check_layer(layer) for layer in layers]
    prompts = [lm.tokenize(lm.prompt(question, below.system, below.examples)) for question in questions]
    fitting = [i for i, prompt in enumerate(prompts) if lm.context is None or len(prompt) <= lm.context]
    found = torch.full((len(prompts), len(layers), lm.width), torch.nan)
    if fitting:
        with in_place(lm, below):
            found[fitting] = _at_the_end(lm, [prompts[i] for i in fitting], layers, below)
    return found


def _at_the_end(lm: LM, prompts: Sequence[Sequence[int]], layers: Sequence[int], below: Intervention) -> torch.Tensor:
    """Block outputs at the last token of each prompt, [prompts, layers, width]."""
    asked = Prompts(
        prefixes=[tuple(ids[:-1]) for ids in prompts],
        tails=[[tuple(ids[-1:])] for ids in prompts],
        branches=[Branch(0, below.edits)],
        stop_after=max(layers),
    )
    found = torch.empty(len(prompts), len(layers), lm.width)

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        return list(batch.prompts), last_activations(lm, batch.sequences, layers, batch.passes)[0]

    for indices, activations in in_batches(lm, asked, work):
        found[indices] = activations
    return found


def answer_activations(
    lm: LM,
    questions: Sequence[str],
    answers: Sequence[Sequence[str]],
    layers: Sequence[int] | None = None,
    below: Intervention | None = None,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Mean block outputs over given answers, batch by batch; a question's answers are branches of one prompt.

    The mean is over the positions that predict the answer's tokens: from the last prompt token to the last but one of
    the answer. Source: Panickssery et al. read one letter; the mean over a response is that of Chen et al. 2025
    (persona vectors, section 2).

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        answers: the answers to each, all questions with equally many.
        layers: 0-based blocks; all by default.
        below: an intervention that is in place while the answers are read.

    Yields:
        Indices into `questions`, and their activations [questions, answers, layers, width], float32.

    Raises:
        CompareError: a layer is out of range, an answer has no token, or exceeds the model's context.
    """
    below = (below or Intervention()).simplified()
    layers = range(len(lm.blocks)) if layers is None else [lm.check_layer(layer) for layer in layers]
    texts = [lm.prompt(question, below.system, below.examples) for question in questions]
    entries = [completion_tails(lm, i, text, answers[i]) for i, text in enumerate(texts)]
    branches = [Branch(variant, below.edits) for variant in range(len(answers[0]))]
    asked = completion_prompts(entries, branches, stop_after=max(layers))

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        spans = torch.tensor([entries[i].spans for i in batch.prompts])
        return list(batch.prompts), mean_activations(lm, batch.sequences, layers, batch.passes, spans)

    with in_place(lm, below):
        yield from in_batches(lm, asked, work)


def _read(
    lm: LM, prompts: Mapping[int, ChoicePrompt], layers: Sequence[int], below: Intervention
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Reads some of the pairs, by their index."""
    fitting = list(prompts)
    # Where nothing is edited, all but the letter is shared.
    whole = not below.edits
    pairs = Prompts(
        prefixes=[prompts[i].ids if whole else prompts[i].shared for i in fitting],
        tails=[[(*(() if whole else prompts[i].tail), token) for token in prompts[i].targets] for i in fitting],
        branches=[Branch(0, below.edits), Branch(1, below.edits)],
        stop_after=max(layers),
    )

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        activations = last_activations(lm, batch.sequences, layers, batch.passes)
        return [fitting[i] for i in batch.prompts], activations.permute(1, 0, 2, 3)

    yield from in_batches(lm, pairs, work)
