"""How far a changed model's next-token distributions are from the unchanged model's, along the latter's own answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from comparisons.engine.adapters import in_place
from comparisons.engine.completions import padded, shared_sizes
from comparisons.engine.generate import generate_tokens
from comparisons.engine.head import Head, Words, head_of, outputs
from comparisons.engine.passes import Pass
from comparisons.engine.plan import Branch, Group, Tokens, group_by_prefix
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.engine.sampling import GREEDY
from comparisons.intervention import Intervention
from comparisons.model.lm import LM, LOGITS
from comparisons.util.errors import CompareError

CACHED = 1 << 19
"""Logits that are worked on at once on a processor, so that they stay in its cache."""

PLAIN = Group(Intervention(), (Intervention(),), ((0,),))
"""The unchanged model."""


@dataclass(frozen=True)
class Answers:
    """What the unchanged model writes to some questions.

    Attributes:
        questions: user turns.
        tokens: of each answer, without the one that ends it.
        places: of each, how many tokens the model wrote: those, and the one that ends it where it ends by itself.
    """

    questions: tuple[str, ...]
    tokens: tuple[Tokens, ...]
    places: tuple[int, ...]


def own_answers(lm: LM, questions: Sequence[str], most: int) -> Answers:
    """The unchanged model's greedy answers, without a thought.

    Args:
        lm: the model.
        questions: user turns.
        most: tokens of an answer, at most.
    """
    with torch.no_grad():
        found = generate_tokens(lm, questions, PLAIN, most, GREEDY, lm.prompts.stops)
    tokens = tuple(tuple(found[0, index]) for index in range(len(questions)))
    return Answers(tuple(questions), tokens, tuple(min(len(ids) + 1, most) for ids in tokens))


def token_kl(lm: LM, answers: Answers, interventions: Sequence[Intervention]) -> list[list[list[float]]]:
    """KL(unchanged ‖ changed) of the next-token distributions before each token of the unchanged model's answers.

    Exact over the vocabulary, in float32. One prefill a question and prefix, each intervention a branch behind it; the
    output layer is run in pieces, the unchanged model's product once for all branches of a pass. An intervention that
    changes nothing has zeros.

    Args:
        lm: the model.
        answers: the unchanged model's.
        interventions: equal ones are run once.

    Returns:
        [intervention][question][token], in nats.
    """
    every = (Intervention(), *interventions)
    groups = group_by_prefix(every)
    found = [[[0.0] * count for count in answers.places] for _ in every]
    # What changes nothing is not run: in 16 bits a pass differs from the same one in another batch.
    if any(member.edits for member in groups[0].members) or len(groups) > 1:
        for part in _parts(lm, answers):
            _fill(lm, answers, part, groups, found)
    return found[1:]


@dataclass(frozen=True)
class Outputs:
    """What enters the output layer at some places, [..., places, width]; where `head` is None, the logits there."""

    values: torch.Tensor
    head: Head | None

    def by_question(self, places: Sequence[int]) -> Sequence[torch.Tensor]:
        """Those of each question, which has so many places."""
        return torch.split_with_sizes(self.values, list(places), dim=-2)


Take = Callable[[Sequence[int], Sequence[int], Outputs], None]
"""Is given questions, the members of a group that ran on them, and their outputs, [members, places, width]: the
places of one question after those of the other."""


def _parts(lm: LM, answers: Answers) -> Iterator[list[int]]:
    """The questions whose plain outputs are held at once: all, or where they are logits so many as fit."""
    every = list(range(len(answers.questions)))
    count = len(every)
    if head_of(lm) is None:
        count = max(1, LOGITS // (max(answers.places) * len(lm.model.get_input_embeddings().weight)))
    yield from (every[start : start + count] for start in range(0, len(every), count))


def _fill(
    lm: LM, answers: Answers, part: Sequence[int], groups: Sequence[Group], found: list[list[list[float]]]
) -> None:
    """Writes what interventions make of some questions; the first member of the first group is the unchanged model."""
    plain: dict[int, Outputs] = {}

    def take(group: Group, questions: Sequence[int], members: Sequence[int], outs: Outputs) -> None:
        places = [answers.places[q] for q in questions]
        if group is groups[0] and members[0] == 0:
            # A copy: a view would hold all of the pass's outputs.
            each = Outputs(outs.values[0].clone(), outs.head).by_question(places)
            plain.update({q: Outputs(values, outs.head) for q, values in zip(questions, each, strict=True)})
            members, outs = members[1:], Outputs(outs.values[1:], outs.head)
        if members:
            before = Outputs(torch.cat([plain[q].values for q in questions]), plain[questions[0]].head)
            differences = Outputs(kl(before, outs)[..., None], None).by_question(places)
            for question, values in zip(questions, differences, strict=True):
                for member, own in zip(members, values[..., 0].tolist(), strict=True):
                    for cell in group.cells[member]:
                        found[cell][question] = own

    for group in groups:
        _run(lm, answers, part, group, partial(take, group))


def _run(lm: LM, answers: Answers, part: Sequence[int], group: Group, take: Take) -> None:
    """Runs the answers to some questions under the members of a group."""
    head = group.head
    prompts = [lm.tokenize(lm.prompt(answers.questions[i], head.system, head.examples)) for i in part]
    tails = [(prompt[-1], *answers.tokens[i])[: answers.places[i]] for prompt, i in zip(prompts, part, strict=True)]
    longest = max((len(p) + len(tail) - 1 for p, tail in zip(prompts, tails, strict=True)), default=0)
    if lm.context is not None and longest > lm.context:
        raise CompareError(f"a prompt with its answer has {longest} tokens: {lm.name} takes {lm.context} at most.")
    sizes = shared_sizes([len(tail) for tail in tails])
    asked = Prompts(
        prefixes=[tuple(prompt[:-1]) for prompt in prompts],
        tails=[[padded(tail, size)] for tail, size in zip(tails, sizes, strict=True)],
        branches=[Branch(0, member.edits) for member in group.members],
        # With a token that is not run: nothing is asked behind it.
        lengths=[[len(tail) + 1] for tail in tails],
        whole=True,
    )

    def work(batch: Batch) -> None:
        output = head_of(lm)
        lengths = torch.tensor([len(tails[i]) for i in batch.prompts])
        for step in batch.passes:
            with step.in_place(lm):
                read = outputs(lm, output, step.inputs, step.columns)
            chosen, members, values = _in_order(step, lengths, read)
            take([part[batch.prompts[i]] for i in chosen], members, Outputs(values, output))

    with torch.no_grad(), in_place(lm, head):
        for _ in in_batches(lm, asked, work):
            pass


def _in_order(step: Pass, lengths: torch.Tensor, read: torch.Tensor) -> tuple[list[int], list[int], torch.Tensor]:
    """What a pass has read within the tails' own lengths.

    Returns:
        The prompts; the branches; their outputs, [branches, places, width].
    """
    prompt, branch, place = step.wanted.unbind(-1)
    row, column = ((branch >= 0) & (place < lengths[prompt])).nonzero(as_tuple=True)
    keys = [key[row, column].numpy() for key in (branch, prompt, place)]
    order = torch.from_numpy(np.lexsort(keys[::-1]))
    values = read[row[order].to(read.device), column[order].to(read.device)]
    branches, prompts = (np.unique(key).tolist() for key in keys[:2])
    return prompts, branches, values.view(len(branches), -1, values.shape[-1])


def kl(plain: Outputs, changed: Outputs) -> torch.Tensor:
    """KL(plain ‖ changed) at each place.

    The vocabulary is read part by part, so that neither all logits nor a float32 copy of all weights are held at
    once: with z the logits and Z their normalisers, KL = Σ p (z_p − z_q) − log Z_p + log Z_q.

    Args:
        plain: [places, width].
        changed: [members, places, width].

    Returns:
        [members, places], in nats, at least 0, on the CPU.
    """
    before, after = plain.values.to(changed.values.device), changed.values
    log_z = torch.full((after.shape[1],), -torch.inf, device=after.device)
    log_z_changed = torch.full(after.shape[:2], -torch.inf, device=after.device)
    mean = torch.zeros(after.shape[:2], device=after.device)
    for words, words_changed in _words(plain, changed):
        count = before.shape[-1] if words is None else words.count
        for made in _slices(after.shape[1], LOGITS // ((len(after) + 1) * count)):
            logits, logits_changed = _logits(words, before[made]), _logits(words_changed, after[:, made])
            # Made in large products; then read in pieces that a processor's cache holds.
            most = LOGITS if after.is_cuda else CACHED
            for part in _slices(len(logits), most // (len(after) * count)):
                here = slice(made.start + part.start, made.start + part.stop)
                z, z_changed = logits[part], logits_changed[:, part]
                total = torch.logaddexp(log_z[here], z.logsumexp(-1))
                share = (z - total[:, None]).exp()
                mean[:, here] = mean[:, here] * (log_z[here] - total).exp() + (share * (z - z_changed)).sum(-1)
                log_z[here] = total
                log_z_changed[:, here] = torch.logaddexp(log_z_changed[:, here], z_changed.logsumexp(-1))
    return (mean - log_z + log_z_changed).clamp(min=0).cpu()


def _slices(count: int, most: int) -> Iterator[slice]:
    """All of `count` things, at most so many at once, but at least one."""
    step = max(1, most)
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))


def _words(plain: Outputs, changed: Outputs) -> Iterator[tuple[Words | None, Words | None]]:
    """The vocabulary in parts that both have; in one, where the model itself made the logits of either."""
    heads = plain.head, changed.head
    if heads[0] is not None and heads[1] is not None:
        yield from zip(heads[0].words(), heads[1].words(), strict=True)
    else:
        before, after = (None if head is None else head.all_words() for head in heads)
        yield before, after


def _logits(words: Words | None, values: torch.Tensor) -> torch.Tensor:
    """Float32 logits of outputs, which are logits where there are no words."""
    return values.float() if words is None else words.logits(values)
