"""Steered generation: batches with a cache, all interventions of a prompt behind one copy of what was read of it.

A recurrent or hybrid model goes on from its own cache, in batches of equally long prompts; one that can't go on from a
cache reads the whole text for each new token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from comparisons.engine.adapters import in_place
from comparisons.engine.decoding import Rows
from comparisons.engine.memory import halving
from comparisons.engine.plan import Group, batches, group_by_prefix, shares_prompt
from comparisons.engine.sampling import GREEDY, Sampling
from comparisons.engine.trial import continuing, packing, pads
from comparisons.intervention import Intervention
from comparisons.model.lm import LM, MAX_BRANCH_TOKENS

HELD = 4
"""Tokens in the cache of a batch to one of the budget, on a CPU: one's keys and values are less than its activations,
and weights that are read for few rows cost as much as for many."""


def generate(
    lm: LM,
    questions: Sequence[str],
    interventions: Sequence[Intervention],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    exact: bool = False,
) -> list[list[str]]:
    """Answers to every question under every intervention.

    An edit from the end of the prompt on acts on the last prompt token, so on the first generated token too.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        interventions: equal ones are run once.
        max_new_tokens: an answer ends here, at a token that ends answers by the generation configuration, the
            configuration, the tokenizer or the chat template, or where it goes on into the next turn of a prompt format
            that has no such token.
        sampling: how tokens are drawn; greedily by default.
        exact: keep the blanks around an answer, and turns that follow it.

    Returns:
        [intervention][question], without special tokens.
    """
    answers = [[""] * len(questions) for _ in interventions]
    stops = () if exact else lm.prompts.stops
    with torch.no_grad():
        for group in group_by_prefix(interventions):
            for place, ids in generate_tokens(lm, questions, group, max_new_tokens, sampling, stops).items():
                member, question = place
                text = lm.tokenizer.decode(ids, skip_special_tokens=True)
                text = text if exact else text.strip()
                for cell in group.cells[member]:
                    answers[cell][question] = text
    return answers


def generate_tokens(
    lm: LM,
    questions: Sequence[str],
    group: Group,
    max_new_tokens: int,
    sampling: Sampling,
    stops: Sequence[str] = (),
    thought: int = 0,
) -> dict[tuple[int, int], list[int]]:
    """Answer tokens by member of the group and question, up to the first of the texts that end an answer.

    With tokens for a thought, those of the thought before it too.
    """
    head = group.head
    write = lm.prompts.free_text if thought else lm.prompt
    prompts = [lm.tokenize(write(question, head.system, head.examples)) for question in questions]
    count, answers = len(group.members), dict[tuple[int, int], list[int]]()
    most = max_new_tokens + thought

    # Tried without what is put in place.
    kind = continuing(lm)
    alike = kind == "own" or not pads(lm)
    beside = _side_by_side(lm, group.members, most) if kind == "cache" else 1
    lengths = [-(-count // beside) * len(prompt) for prompt in prompts]
    held = HELD if lm.device.type == "cpu" else 1
    with in_place(lm, head):
        pending = set(range(len(prompts)))
        while pending:
            rest = sorted(pending)
            with halving(lm):
                for batch in batches([lengths[i] for i in rest], count * most, held * lm.token_budget, alike=alike):
                    chosen = [rest[i] for i in batch]
                    rows = Rows(lm, [prompts[i] for i in chosen], chosen, group.members, sampling, stops, beside)
                    for row, ids in enumerate(rows.answer(max_new_tokens, thought)):
                        answers[(row % count, chosen[row // count])] = ids
                    pending -= {*chosen}
    return answers


def _side_by_side(lm: LM, members: Sequence[Intervention], most: int) -> int:
    """How many answers to a prompt, of so many tokens at most, are written behind one copy of it in the cache."""
    if len(members) == 1 or not shares_prompt([member.edits for member in members]) or packing(lm) == "rows":
        return 1
    parts = -(-len(members) // max(1, MAX_BRANCH_TOKENS // most))
    return -(-len(members) // parts)
