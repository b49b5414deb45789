"""Steered generation: left-padded batches with a cache, all interventions of a prompt behind one prefill.

A recurrent or hybrid model goes on from its own cache, in batches of equally long prompts; one that can't go on from a
cache reads the whole text for each new token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import torch

from comparisons.engine.adapters import in_place
from comparisons.engine.conditions import Decisions
from comparisons.engine.continuing import ReadText
from comparisons.engine.head import at_columns
from comparisons.engine.hooks import Layout, edits_applied
from comparisons.engine.memory import halving
from comparisons.engine.plan import Group, batches, group_by_prefix, shares_prompt
from comparisons.engine.prefix import keep_logits, prefill_chunk
from comparisons.engine.thoughts import Thoughts
from comparisons.engine.trial import continuing, pads
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn.

    Attributes:
        temperature: at least 0; 0 takes the likeliest token.
        top_p: the smallest set of tokens with this probability is drawn from; 1 for all.
        seed: each answer has a random stream of its own, made of this and the question's index: it is the same
            whatever else is in the batch, and the same for every intervention, which lowers their difference's noise.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise CompareError(f"the temperature must be a finite number of at least 0, not {self.temperature:g}.")
        if not 0 < self.top_p <= 1:
            raise CompareError(f"top_p must be above 0 and at most 1, not {self.top_p:g}.")


GREEDY = Sampling()


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

    lengths = [count * len(prompt) for prompt in prompts]
    # Tried without what is put in place.
    alike = continuing(lm) == "own" or not pads(lm)
    with in_place(lm, head):
        pending = set(range(len(prompts)))
        while pending:
            rest = sorted(pending)
            with halving(lm):
                for batch in batches([lengths[i] for i in rest], count * most, lm.token_budget, alike=alike):
                    chosen = [rest[i] for i in batch]
                    rows = _Rows(lm, [prompts[i] for i in chosen], chosen, group.members, sampling, stops)
                    for row, ids in enumerate(rows.answer(max_new_tokens, thought)):
                        answers[(row % count, chosen[row // count])] = ids
                    pending -= {*chosen}
    return answers


class _Rows:
    """Prompts × interventions as the rows of a batch, the interventions of a prompt side by side."""

    def __init__(
        self,
        lm: LM,
        prompts: Sequence[Sequence[int]],
        questions: Sequence[int],
        members: Sequence[Intervention],
        sampling: Sampling,
        stops: Sequence[str],
    ) -> None:
        self.lm, self.count, self.sampling, self.stops = lm, len(members), sampling, stops
        self.edits = [member.edits for member in members]
        device = lm.device
        longest = max(map(len, prompts))
        self.pad = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
        self.ids = torch.tensor([[p[0]] * (longest - len(p)) + list(p) for p in prompts], device=device)
        self.owner = torch.arange(self.count, device=device).repeat(len(prompts))
        self.longest = longest
        self.thoughts: Thoughts | None = None
        self.decisions = Decisions()
        self.streams = [
            torch.Generator().manual_seed(int.from_bytes(sha256(f"{sampling.seed}/{q}".encode()).digest()[:6], "big"))
            for q in questions
            for _ in members
        ]

    def answer(self, max_new_tokens: int, thought: int = 0) -> list[list[int]]:
        """The new tokens of each row, up to and without the end-of-sequence token or a text that ends it.

        Args:
            max_new_tokens: of an answer, at most.
            thought: of the thought before it, at most; 0 for none.
        """
        if thought and self.lm.prompts.thinking is not None:
            self.thoughts = Thoughts(self.lm.prompts.thinking, self.lm.tokenizer, thought, len(self.owner))
        text = self._prefill()
        whole = text.kind == "text"
        # What is read next: the newest token behind the cache, or the whole text.
        read = (self.ids if whole else self.ids[:, -1:]).repeat_interleave(self.count, dim=0)
        ends = torch.tensor(self._end_tokens(), device=read.device)
        answers: list[list[int]] = [[] for _ in read]
        alive = list(range(len(read)))
        for step in range(max_new_tokens + thought):
            logits = self._forward(read, self.longest + step - read.shape[1], text, alive)
            tokens = self._next(logits[:, -1], alive)
            going = ~torch.isin(tokens[:, 0], ends)
            going = self._written(alive, tokens[:, 0].tolist(), going, answers, max_new_tokens)
            read = torch.cat([read, tokens], dim=1) if whole else tokens
            if not bool(going.all()):
                # Rows whose answer has ended leave the batch.
                kept_rows = going.nonzero()[:, 0]
                alive = [alive[i] for i in kept_rows.tolist()]
                if not alive:
                    break
                read = read[kept_rows]
                text.take(kept_rows)
                self.decisions.take(kept_rows)
        return [self._before_stop(ids) for ids in answers]

    def _written(
        self, alive: Sequence[int], tokens: Sequence[int], going: torch.Tensor, answers: list[list[int]], most: int
    ) -> torch.Tensor:
        """Appends the rows' new tokens to their answers, and says which rows go on.

        Args:
            alive: the rows.
            tokens: the new one of each.
            going: whether it ends no answer.
            answers: of all rows, so far.
            most: tokens of an answer.
        """
        if self.thoughts is not None:
            going |= torch.tensor(self.thoughts.pass_over(alive, tokens), device=going.device)
        for row, token, goes in zip(alive, tokens, going.tolist(), strict=True):
            if goes:
                answers[row].append(token)
        if self.thoughts is not None:
            going &= torch.tensor(self.thoughts.read(alive, answers, most), device=going.device)
        if self.stops:
            going &= torch.tensor([not self._has_stopped(answers[row]) for row in alive], device=going.device)
        return going

    def _has_stopped(self, ids: Sequence[int]) -> bool:
        """Whether an answer's last tokens bring one of the texts that end it; each is at least a byte."""
        most = max(len(stop.encode()) for stop in self.stops) + 1
        text = self.lm.tokenizer.decode(ids[-most:])
        return any(stop in text for stop in self.stops)

    def _before_stop(self, ids: list[int]) -> list[int]:
        """The tokens that what stands before such a text needs."""
        text = self.lm.tokenizer.decode(ids) if self.stops else ""
        end = min((text.index(stop) for stop in self.stops if stop in text), default=None)
        while end is not None and ids and len(self.lm.tokenizer.decode(ids[:-1])) >= end:
            ids = ids[:-1]
        return ids

    def _next(self, logits: torch.Tensor, alive: Sequence[int]) -> torch.Tensor:
        """The next token of each row, [rows, 1]."""
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1, keepdim=True)
        probabilities, order = (logits.float() / self.sampling.temperature).softmax(dim=-1).cpu().sort(descending=True)
        # The first token that reaches top_p still counts.
        probabilities[probabilities.cumsum(dim=-1) - probabilities >= self.sampling.top_p] = 0
        drawn = [
            torch.multinomial(row, 1, generator=self.streams[i]) for row, i in zip(probabilities, alive, strict=True)
        ]
        return order.gather(-1, torch.stack(drawn)).to(logits.device)

    def _prefill(self) -> ReadText:
        """All but the last prompt token, one row an intervention; nothing where whole texts are read."""
        text = ReadText(self.lm, continuing(self.lm))
        if self.longest == 1 or text.kind == "text":
            return text
        shared = shares_prompt(self.edits)
        ids = self.ids[:, :-1] if shared else self.ids[:, :-1].repeat_interleave(self.count, dim=0)
        # A family's own cache may hold a state that more than one token can't go on from.
        chunk = prefill_chunk(self.lm, len(ids), self.longest) if text.kind == "cache" else ids.shape[1]
        for start in range(0, ids.shape[1], chunk):
            self._forward(ids[:, start : start + chunk], start, text, None if shared else range(len(ids)))
        if shared:
            text.take(torch.arange(len(ids)).repeat_interleave(self.count))
        return text

    def _forward(self, ids: torch.Tensor, start: int, text: ReadText, rows: Sequence[int] | None) -> torch.Tensor:
        """Logits of the last column, after columns `start` on have been read.

        Args:
            ids: [rows, columns].
            start: columns that have been read.
            text: what goes on with them.
            rows: which they are; None for the prompts, without interventions.
        """
        width = ids.shape[1]
        owner = None if rows is None else self.owner[list(rows)]
        pad = (self.pad if rows is None else self.pad.repeat_interleave(self.count)[list(rows)])[:, None]
        column = torch.arange(start + width, device=ids.device)
        real = column >= pad
        position = (column[start:] - pad).clamp(min=0)
        owners = torch.full((len(ids), 1), -1, device=ids.device) if owner is None else owner[:, None]
        layout = Layout(
            owner=torch.where(real[:, start:], owners, -1),
            position=position,
            relative=(column[start:] - (self.longest - 1)).expand(len(ids), -1),
            # Each column from the prompt's end on is the last one once.
            last=(column[start:] >= self.longest - 1).expand(len(ids), -1),
            thought=self._thought(column[start:] - (self.longest - 1), rows),
        )
        last = torch.tensor([width - 1], device=ids.device)
        inputs = {
            "input_ids": ids,
            "attention_mask": real.long(),
            "position_ids": position,
            **keep_logits(self.lm, last),
        }
        self.lm.meter.add(ids.numel())
        with edits_applied(self.lm, layout, self.edits if owner is not None else [], self.decisions):
            return at_columns(text.run(inputs), last)

    def _thought(self, relative: torch.Tensor, rows: Sequence[int] | None) -> torch.Tensor | None:
        """Which columns of these rows predict a thought's tokens."""
        if self.thoughts is None or rows is None:
            return None
        ends = torch.tensor([self.thoughts.ends[row] for row in rows], device=relative.device)
        return (relative >= 0) & (relative < ends[:, None])

    def _end_tokens(self) -> list[int]:
        """All that end an answer: files of a model often name one in one place only."""
        lm = self.lm
        places = (lm.model.generation_config, lm.config, lm.tokenizer)
        named = [getattr(place, "eos_token_id", None) for place in places]
        each = [ends if isinstance(ends, list) else [ends] for ends in (*named, list(lm.prompts.reading.ends))]
        return sorted({end for ends in each for end in ends if end is not None})
