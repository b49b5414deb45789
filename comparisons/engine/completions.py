"""Log-likelihood of given completions under many interventions at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from comparisons.engine.adapters import in_place
from comparisons.engine.head import token_logps
from comparisons.engine.plan import Branch, Group, Tokens, group_by_prefix
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.prompts import common_prefix
from comparisons.util.errors import CompareError

TokenLogps = list[list[list[list[float]]]]

LEAST_FILLED = 0.8
"""Share of a tail's padded size that is its own."""

LEAST_MEMBERS = 4
"""Tails of a size, below which shorter ones join them: a pass of few rows is slower than one of some padding."""


def completion_logps(
    lm: LM,
    questions: Sequence[str],
    completions: Sequence[Sequence[str]],
    interventions: Sequence[Intervention],
    exact: bool = False,
    leave_out: bool = False,
) -> TokenLogps:
    """Log-probabilities of every token of given answers, with one prefill a question and prefix.

    Every completion under every intervention is a branch of its question. An edit "last" acts on the last token
    of the completion, as in one pass over the whole text.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        completions: the answers to each question, at least one, as text without a leading space.
        interventions: equal ones are run once.
        exact: completions follow their prompt as they are, and blanks that end a prompt are their first tokens.
        leave_out: completions of a question that exceeds the model's context with one of them have no tokens, instead
            of an error.

    Returns:
        [intervention][question][completion][token], in nats: of the tokens beyond those that the prompt and the
        completion behind it begin with alike. Their sum is the completion's log-likelihood.

    Raises:
        CompareError: a completion has no token, or exceeds the model's context with its question.
    """
    logps: TokenLogps = [[[] for _ in questions] for _ in interventions]
    tails: dict[object, list[CompletionTails]] = {}
    for group in group_by_prefix(interventions):
        tails[group.shown] = tails.get(group.shown) or _fitting(
            lm, questions, completions, group.head, exact, leave_out
        )
        for member, values in enumerate(_group_logps(lm, completions, tails[group.shown], group)):
            for cell in group.cells[member]:
                logps[cell] = values
    return logps


@dataclass(frozen=True)
class CompletionTails:
    """Completions of one question that run in one pass.

    Attributes:
        question: its index.
        variants: their indices among the question's completions.
        prefix: the tokens before the last prompt token.
        tails: those from it on, a completion each.
        shared: how many tokens of each tail are the prompt's.
    """

    question: int
    variants: tuple[int, ...]
    prefix: Tokens
    tails: tuple[Tokens, ...]
    shared: tuple[int, ...]

    @property
    def size(self) -> int:
        """Tokens of the longest tail."""
        return max(map(len, self.tails))

    def excess(self, lm: LM) -> int:
        """By how many tokens the longest exceeds the model's context; not above 0 where all fit."""
        return len(self.prefix) + self.size - lm.context if lm.context is not None else 0

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where in each tail its completion's tokens are predicted: the first place, and the end."""
        return [(shared - 1, len(tail) - 1) for tail, shared in zip(self.tails, self.shared, strict=True)]

    def apart(self, members: int) -> list[CompletionTails]:
        """One entry a completion, where reading the prompt again costs less than padding them to one length."""
        padding = members * sum(self.size - len(tail) for tail in self.tails)
        if padding <= (len(self.tails) - 1) * len(self.prefix):
            return [self]
        each = zip(self.variants, self.tails, self.shared, strict=True)
        return [
            CompletionTails(self.question, (variant,), self.prefix, (tail,), (shared,))
            for variant, tail, shared in each
        ]


def _fitting(
    lm: LM,
    questions: Sequence[str],
    completions: Sequence[Sequence[str]],
    head: Intervention,
    exact: bool,
    leave_out: bool,
) -> list[CompletionTails]:
    """The completions of each question that the model's context has room for; raises as `completion_logps` does."""
    fitting: list[CompletionTails] = []
    for index, (question, texts) in enumerate(zip(questions, completions, strict=True)):
        prompt = lm.prompt(question, head.system, head.examples)
        entry = completion_tails(lm, index, prompt, texts, exact)
        if entry.excess(lm) <= 0:
            fitting.append(entry)
        elif not leave_out:
            raise CompareError(f"a completion exceeds the {lm.context} tokens of {lm.name} by {entry.excess(lm)}.")
    return fitting


def _group_logps(
    lm: LM, completions: Sequence[Sequence[str]], fitting: Sequence[CompletionTails], group: Group
) -> list[list[list[list[float]]]]:
    """[member][question][completion][token]."""
    logps: list[list[list[list[float]]]] = [[[[] for _ in each] for each in completions] for _ in group.members]
    entries = [part for entry in fitting for part in entry.apart(len(group.members))]
    with in_place(lm, group.head):
        # Questions with equally many completions can share a batch.
        for count in sorted({len(entry.tails) for entry in entries}):
            _fill(lm, [entry for entry in entries if len(entry.tails) == count], group, logps)
    return logps


def _fill(lm: LM, entries: Sequence[CompletionTails], group: Group, logps: list[list[list[list[float]]]]) -> None:
    count = len(entries[0].tails)
    branches = [Branch(variant, member.edits) for member in group.members for variant in range(count)]
    asked = completion_prompts(entries, branches)

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        prompts = list(batch.prompts)
        # The token after each place of a tail; after its end, whatever: those are cut off.
        size = batch.sequences.size
        after = [[[*t[1:], *[t[-1]] * (size + 1 - len(t))] for t in entries[i].tails] for i in prompts]
        targets = torch.tensor(after)[..., None]
        return prompts, token_logps(lm, batch.sequences, targets, batch.passes, whole=True)

    for prompts, batch_logps in in_batches(lm, asked, work):
        values = batch_logps.view(len(group.members), count, len(prompts), -1)
        for row, prompt in enumerate(prompts):
            entry = entries[prompt]
            for place, (variant, (start, end)) in enumerate(zip(entry.variants, entry.spans, strict=True)):
                for member in range(len(group.members)):
                    logps[member][entry.question][variant] = values[member, place, row, start:end].tolist()


def completion_prompts(
    entries: Sequence[CompletionTails], branches: Sequence[Branch], stop_after: int | None = None
) -> Prompts:
    """What is run of equally many completions each, their tails padded at their end to sizes that several share.

    A completion's last token is not run: nothing is predicted from it.
    """
    sizes = shared_sizes([entry.size - 1 for entry in entries])
    return Prompts(
        prefixes=[entry.prefix for entry in entries],
        tails=[[padded(tail[:-1], size) for tail in e.tails] for e, size in zip(entries, sizes, strict=True)],
        branches=branches,
        lengths=[[len(tail) for tail in entry.tails] for entry in entries],
        whole=True,
        stop_after=stop_after,
    )


def padded(tail: Tokens, size: int) -> Tokens:
    """A tail with its last token again up to a size."""
    return (*tail, *[tail[-1]] * (size - len(tail)))


def shared_sizes(lengths: Sequence[int]) -> list[int]:
    """For each tail the size that it is padded to: few sizes, so that passes are full, none much above a tail's own."""
    sizes = [0] * len(lengths)
    size, members = 0, 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if not members or (lengths[index] < LEAST_FILLED * size and members >= LEAST_MEMBERS):
            size, members = lengths[index], 0
        sizes[index] = size
        members += 1
    return sizes


def completion_tails(
    lm: LM, index: int, prompt: str, completions: Sequence[str], exact: bool = False
) -> CompletionTails:
    """Tokenizes a question's completions behind its prompt; see `completion_logps`."""
    space = "" if prompt[-1:].isspace() else " "
    if exact:
        space, prompt = prompt[len(prompt.rstrip()) :], prompt.rstrip()
    alone = lm.tokenize(prompt)
    whole = [lm.tokenize(f"{prompt}{space}{text}") for text in completions]
    # A completion's first characters may join the prompt's last token: then that token is the completion's.
    common = [common_prefix(alone, ids) for ids in whole]
    end = min(common, default=0) - 1
    if end < 0 or any(len(ids) <= same for ids, same in zip(whole, common, strict=True)):
        raise CompareError("a completion must have at least one token of its own.")
    tails = tuple(tuple(ids[end:]) for ids in whole)
    return CompletionTails(
        index, tuple(range(len(tails))), tuple(alone[:end]), tails, tuple(same - end for same in common)
    )
