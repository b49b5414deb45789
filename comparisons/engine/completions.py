"""Log-likelihood of given completions under many interventions at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from comparisons.engine.choices import in_place
from comparisons.engine.plan import Branch, Group, group_by_prefix
from comparisons.engine.prompts import Batch, Prompts, in_batches
from comparisons.engine.run import token_logps
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.prompts import common_prefix
from comparisons.util.errors import CompareError

TokenLogps = list[list[list[list[float]]]]


def completion_logps(
    lm: LM,
    questions: Sequence[str],
    completions: Sequence[Sequence[str]],
    interventions: Sequence[Intervention],
    exact: bool = False,
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

    Returns:
        [intervention][question][completion][token], in nats; their sum is the completion's log-likelihood.

    Raises:
        CompareError: a completion has no token, or exceeds the model's context with its question.
    """
    found: TokenLogps = [[[] for _ in questions] for _ in interventions]
    for group in group_by_prefix(interventions):
        for member, values in enumerate(_group_logps(lm, questions, completions, group, exact)):
            for cell in group.cells[member]:
                found[cell] = values
    return found


def _group_logps(
    lm: LM, questions: Sequence[str], completions: Sequence[Sequence[str]], group: Group, exact: bool
) -> list[list[list[list[float]]]]:
    """[member][question][completion][token]."""
    head = group.head
    texts = [lm.prompt(question, head.system, head.examples) for question in questions]
    split = [_split(lm, text, answers, exact) for text, answers in zip(texts, completions, strict=True)]
    found: list[list[list[list[float]]]] = [[[] for _ in questions] for _ in group.members]
    with in_place(lm, head):
        # Questions with equally many completions can share a batch.
        for count in sorted({len(tails) for _, tails in split}):
            chosen = [i for i, (_, tails) in enumerate(split) if len(tails) == count]
            _fill(lm, chosen, [split[i] for i in chosen], group, found)
    return found


def _fill(
    lm: LM,
    chosen: Sequence[int],
    split: Sequence[tuple[tuple[int, ...], list[tuple[int, ...]]]],
    group: Group,
    found: list[list[list[list[float]]]],
) -> None:
    count = len(split[0][1])
    size = max(len(tail) for _, tails in split for tail in tails)
    padded = [[(*tail, *[tail[-1]] * (size - len(tail))) for tail in tails] for _, tails in split]
    # The token after each place of a tail; after its end, whatever: those are cut off.
    targets = torch.tensor([[[[t] for t in (*tail[1:], tail[-1])] for tail in tails] for tails in padded])

    def work(batch: Batch) -> tuple[list[int], torch.Tensor]:
        prompts = list(batch.prompts)
        return prompts, token_logps(lm, batch.sequences, targets[prompts], batch.passes, whole=True)

    asked = Prompts(
        prefixes=[prefix for prefix, _ in split],
        tails=padded,
        branches=[Branch(variant, member.edits) for member in group.members for variant in range(count)],
        lengths=[[len(tail) for tail in tails] for _, tails in split],
        whole=True,
    )
    for prompts, logps in in_batches(lm, asked, work):
        values = logps.view(len(group.members), count, len(prompts), size)
        for member in range(len(group.members)):
            for row, prompt in enumerate(prompts):
                tails = split[prompt][1]
                found[member][chosen[prompt]] = [
                    values[member, variant, row, : len(tail) - 1].tolist() for variant, tail in enumerate(tails)
                ]


def _split(
    lm: LM, prompt: str, completions: Sequence[str], exact: bool
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The tokens before the last prompt token, and those from it on for each completion."""
    space = "" if prompt[-1:].isspace() else " "
    if exact:
        space, prompt = prompt[len(prompt.rstrip()) :], prompt.rstrip()
    alone = lm.tokenize(prompt)
    whole = [lm.tokenize(f"{prompt}{space}{text}") for text in completions]
    # A completion's first characters may join the prompt's last token: then that token is the completion's.
    end = min((common_prefix(alone, ids) for ids in whole), default=0) - 1
    if end < 0 or any(len(ids) <= end + 1 for ids in whole):
        raise CompareError("a completion must have at least one token of its own.")
    longest = max(map(len, whole))
    if lm.context is not None and longest > lm.context:
        raise CompareError(f"a completion exceeds the {lm.context} tokens of {lm.name} by {longest - lm.context}.")
    return tuple(alone[:end]), [tuple(ids[end:]) for ids in whole]
