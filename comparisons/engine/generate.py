"""Steered generation: left-padded batches with a cache, all interventions of a prompt behind one prefill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from comparisons.engine.choices import in_place
from comparisons.engine.hooks import edits_applied
from comparisons.engine.layout import Layout
from comparisons.engine.passes import keep_logits, kept
from comparisons.engine.plan import Group, batches, group_by_prefix
from comparisons.engine.run import shares_prompt
from comparisons.intervention import Intervention
from comparisons.lm import LM


def generate(
    lm: LM, questions: Sequence[str], interventions: Sequence[Intervention], max_new_tokens: int
) -> list[list[str]]:
    """Greedy answers to every question under every intervention.

    An edit from the end of the prompt on acts on the last prompt token, so on the first generated token too.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        interventions: equal ones are run once.
        max_new_tokens: an answer ends here, or at the model's end-of-sequence token.

    Returns:
        [intervention][question], without special tokens.
    """
    answers = [[""] * len(questions) for _ in interventions]
    with torch.no_grad():
        for group in group_by_prefix(interventions):
            for place, ids in _generate_group(lm, questions, group, max_new_tokens).items():
                member, question = place
                text = lm.tokenizer.decode(ids, skip_special_tokens=True).strip()
                for cell in group.cells[member]:
                    answers[cell][question] = text
    return answers


def _generate_group(
    lm: LM, questions: Sequence[str], group: Group, max_new_tokens: int
) -> dict[tuple[int, int], list[int]]:
    """Answer tokens by member of the group and question."""
    head = group.head
    prompts = [lm.tokenize(lm.prompt(question, head.system, head.examples)) for question in questions]
    count, found = len(group.members), dict[tuple[int, int], list[int]]()
    with in_place(lm, head):
        for batch in batches(
            [len(prompt) for prompt in prompts],
            [0] * len(prompts),
            lambda length: count * (length + max_new_tokens),
            lm.token_budget,
        ):
            rows = _Rows(lm, [prompts[i] for i in batch], group.members)
            for row, ids in enumerate(rows.answer(max_new_tokens)):
                found[(row % count, batch[row // count])] = ids
    return found


class _Rows:
    """Prompts × interventions as the rows of a batch, the interventions of a prompt side by side."""

    def __init__(self, lm: LM, prompts: Sequence[Sequence[int]], members: Sequence[Intervention]) -> None:
        self.lm, self.count = lm, len(members)
        self.edits = [member.edits for member in members]
        device = lm.device
        longest = max(map(len, prompts))
        self.pad = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
        self.ids = torch.tensor([[p[0]] * (longest - len(p)) + list(p) for p in prompts], device=device)
        self.owner = torch.arange(self.count, device=device).repeat(len(prompts))
        self.longest = longest

    def answer(self, max_new_tokens: int) -> list[list[int]]:
        """The new tokens of each row, up to and without the end-of-sequence token."""
        cache = self._prefill()
        tokens = self.ids[:, -1:].repeat_interleave(self.count, dim=0)
        ends = torch.tensor(self._end_tokens(), device=tokens.device)
        answers = []
        finished = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
        for step in range(max_new_tokens):
            logits = self._forward(tokens, self.longest - 1 + step, cache, self.owner)
            tokens = logits[:, -1].argmax(dim=-1, keepdim=True)
            finished = finished | torch.isin(tokens[:, 0], ends)
            answers.append(torch.where(finished, -1, tokens[:, 0]))
            if bool(finished.all()):
                break
        rows: list[list[int]] = torch.stack(answers, dim=1).tolist() if answers else [[] for _ in tokens]
        return [[token for token in row if token != -1] for row in rows]

    def _prefill(self) -> Any:
        """A cache of all but the last prompt token, one row an intervention."""
        from transformers import DynamicCache

        cache = DynamicCache()
        if self.longest == 1:
            return cache
        if shares_prompt(self.edits):
            self._forward(self.ids[:, :-1], 0, cache, None)
            cache.batch_repeat_interleave(self.count)
        else:
            self._forward(self.ids[:, :-1].repeat_interleave(self.count, dim=0), 0, cache, self.owner)
        return cache

    def _forward(self, ids: torch.Tensor, start: int, cache: Any, owner: torch.Tensor | None) -> torch.Tensor:
        """Logits of the last column, after columns `start` on have joined the cache."""
        rows, width = ids.shape
        pad = (self.pad if rows == len(self.pad) else self.pad.repeat_interleave(self.count))[:, None]
        column = torch.arange(start + width, device=ids.device)
        real = column >= pad
        position = (column[start:] - pad).clamp(min=0)
        mine = torch.full((rows, 1), -1, device=ids.device) if owner is None else owner[:, None]
        layout = Layout(
            owner=torch.where(real[:, start:], mine, -1),
            position=position,
            relative=(column[start:] - (self.longest - 1)).expand(rows, -1),
            last=(column[start:] == start + width - 1).expand(rows, -1) & (start + width >= self.longest),
        )
        last = torch.tensor([width - 1], device=ids.device)
        inputs = {
            "input_ids": ids,
            "attention_mask": real.long(),
            "position_ids": position,
            "past_key_values": cache,
            "use_cache": True,
            **keep_logits(self.lm, last),
        }
        self.lm.on_tokens(ids.numel())
        with edits_applied(self.lm, layout, self.edits if owner is not None else []):
            logits: torch.Tensor = self.lm.model(**inputs).logits
        return kept(logits, last)

    def _end_tokens(self) -> list[int]:
        ends = self.lm.model.generation_config.eos_token_id
        return [] if ends is None else list(ends) if isinstance(ends, list) else [ends]
