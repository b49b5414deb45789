"""The answers of a batch, written a token at a time; those to one prompt stand side by side behind it in the cache.

As the tails of choices do (`passes`), they are one sequence, under a mask that lets each see the prompt and itself, so
that the prompt's keys and values are kept and read once for all of them. Where edits reach the prompt, or the model
takes no such mask, each answer has a row of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import torch

from comparisons.engine.conditions import Decisions
from comparisons.engine.continuing import ReadText
from comparisons.engine.head import at_columns
from comparisons.engine.hooks import Layout, edits_applied
from comparisons.engine.plan import shares_prompt
from comparisons.engine.prefix import attention_mask, keep_logits, prefill_chunk
from comparisons.engine.sampling import Sampling, penalized, penalties
from comparisons.engine.trial import continuing
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.model.thinking import Thinking

SHARED, NOBODY = -1, -2
"""Columns of the cache that all answers of a row see, and that none does."""

OPEN = 1 << 30
"""The end of a thought that goes on."""


class Thoughts:
    """Where the thought of each row ends.

    Args:
        thinking: how thoughts end.
        tokenizer: the model's.
        most: tokens of a thought.
        rows: how many there are.

    Attributes:
        ends: for each row, how many of its new tokens were written when its thought was known to have ended.
        starts: how many of them are the thought's, of the rows whose thought has ended.
    """

    def __init__(self, thinking: Thinking, tokenizer: Any, most: int, rows: int) -> None:
        self.thinking, self.decode, self.most = thinking, tokenizer.decode, most
        self.ends = [OPEN] * rows
        self.starts: dict[int, int] = {}
        # What ends a message of a thought may end an answer, too: within the thought more follows.
        self._inner = {*tokenizer(thinking.inner, add_special_tokens=False)["input_ids"]} if thinking.inner else set()

    def pass_over(self, rows: Sequence[int], tokens: Sequence[int]) -> list[bool]:
        """Whether a token is within a row's thought where it would end an answer."""
        return [row not in self.starts and token in self._inner for row, token in zip(rows, tokens, strict=True)]

    def read(self, rows: Sequence[int], written: Sequence[Sequence[int]], most: int) -> list[bool]:
        """Takes in what the rows have written so far; says which have room for more.

        Args:
            rows: which rows have a new token.
            written: of all rows, the new tokens.
            most: tokens of an answer.
        """
        for row in rows:
            start = None if row in self.starts else self.thinking.answer_start(written[row], self.decode)
            if start is not None:
                self.starts[row], self.ends[row] = start, len(written[row])
        starts = [self.starts.get(row) for row in rows]
        return [
            len(written[row]) < self.most if start is None else len(written[row]) - start < most
            for row, start in zip(rows, starts, strict=True)
        ]


class Rows:
    """The answers of a batch, those of a prompt side by side in as few rows of the cache as they may be.

    An answer is known by its number, that of its prompt × interventions + that of its intervention.

    Attributes:
        rows: the answers that go on, of each row of the cache.
        writer: whose each column of the cache is, [rows, columns]: an answer's, `SHARED` or `NOBODY`.
        position: the columns' logical positions, [rows, columns].
    """

    def __init__(
        self,
        lm: LM,
        prompts: Sequence[Sequence[int]],
        questions: Sequence[int],
        members: Sequence[Intervention],
        sampling: Sampling,
        stops: Sequence[str],
        beside: int,
    ) -> None:
        self.lm, self.count, self.sampling, self.stops, self.beside = lm, len(members), sampling, stops, beside
        self.edits = [member.edits for member in members]
        self.prompts, self.longest = prompts, max(map(len, prompts))
        self.ends, self.penalties = self._end_tokens(), penalties(lm.model.generation_config)
        self.thoughts: Thoughts | None = None
        self.decisions = Decisions()
        self.closing: dict[int, bool] = {}
        self.rows: list[list[int]] = []
        self.writer = self.position = torch.zeros(0, 0, dtype=torch.long)
        self.streams = [
            torch.Generator().manual_seed(int.from_bytes(sha256(f"{sampling.seed}/{q}".encode()).digest()[:6], "big"))
            for q in questions
            for _ in members
        ]

    def answer(self, max_new_tokens: int, thought: int = 0) -> list[list[int]]:
        """The new tokens of each answer, up to and without the end-of-sequence token or a text that ends it.

        Args:
            max_new_tokens: of an answer, at most.
            thought: of the thought before it, at most; 0 for none.
        """
        total, most = len(self.prompts) * self.count, max_new_tokens + thought
        if thought and self.lm.prompts.thinking is not None:
            self.thoughts = Thoughts(self.lm.prompts.thinking, self.lm.tokenizer, thought, total)
        answers: list[list[int]] = [[] for _ in range(total)]
        text = self._prefill(most)
        for step in range(most):
            logits = self._step(text, step, answers)
            alive = [answer for row in self.rows for answer in row]
            if self.penalties:
                texts = [[*self.prompts[a // self.count], *answers[a]] for a in alive]
                logits = penalized(self.penalties, texts, logits)
            self._written(alive, self._next(logits, alive)[:, 0].tolist(), answers, max_new_tokens, text)
            if not self.rows:
                break
        return [self._before_stop(answer, ids) for answer, ids in enumerate(answers)]

    def _written(
        self, alive: Sequence[int], tokens: Sequence[int], answers: list[list[int]], most: int, text: ReadText
    ) -> None:
        """Appends new tokens to their answers; those that have ended leave the batch.

        Args:
            alive: the answers that went on.
            tokens: the new one of each.
            answers: all, so far.
            most: tokens of an answer.
            text: what has been read.
        """
        going = [token not in self.ends for token in tokens]
        if self.thoughts is not None:
            going = [a or b for a, b in zip(going, self.thoughts.pass_over(alive, tokens), strict=True)]
        for answer, token, goes in zip(alive, tokens, going, strict=True):
            if goes:
                answers[answer].append(token)
        if self.thoughts is not None:
            going = [a and b for a, b in zip(going, self.thoughts.read(alive, answers, most), strict=True)]
        left = {a for a, goes in zip(alive, going, strict=True) if goes and not self._has_stopped(a, answers[a])}
        if len(left) < len(alive):
            self._keep(left, text)

    def _keep(self, answers: set[int], text: ReadText) -> None:
        """Goes on with these answers; a row without any is taken by the last that has one, so that few are copied."""
        rows = [[answer for answer in row if answer in answers] for row in self.rows]
        kept = [row for row, each in enumerate(rows) if each]
        self.rows, last = rows, reversed(kept)
        if len(kept) < len(rows):
            self._take(text, [row if rows[row] else next(last) for row in range(len(kept))])

    def _take(self, text: ReadText, index: Sequence[int]) -> None:
        """Goes on with some of the rows, each of them once or several times."""
        rows = torch.tensor(index, dtype=torch.long, device=self.writer.device)
        if len(index):
            text.take(rows)
            self.decisions.take(rows)
        self.rows = [self.rows[row] for row in index]
        self.writer = self.writer[rows]
        self.position = self.position[rows]

    def _has_stopped(self, answer: int, ids: Sequence[int]) -> bool:
        """Whether an answer's last tokens bring one of the texts that end it; each is at least a byte."""
        if not self.stops or not self._may_stop(ids[-1]):
            return False
        most = max(len(stop.encode()) for stop in self.stops) + 1
        text = self.lm.tokenizer.decode(ids[self._start(answer, ids) :][-most:])
        return any(stop in text for stop in self.stops)

    def _start(self, answer: int, ids: Sequence[int]) -> int:
        """How many of the tokens are the thought's, in which no text ends an answer."""
        return 0 if self.thoughts is None else self.thoughts.starts.get(answer, len(ids))

    def _may_stop(self, token: int) -> bool:
        """Whether a token's own text has the last character of one of these, or a part of one; found once a token."""
        if token not in self.closing:
            text = self.lm.tokenizer.decode([token])
            self.closing[token] = any(last in text for last in (*(stop[-1] for stop in self.stops), "\ufffd"))
        return self.closing[token]

    def _before_stop(self, answer: int, ids: list[int]) -> list[int]:
        """The tokens of what stands before such a text, without the blanks at its end."""
        tokenizer, start = self.lm.tokenizer, self._start(answer, ids)
        thought, ids = ids[:start], ids[start:]
        text = tokenizer.decode(ids) if self.stops else ""
        end = min((text.index(stop) for stop in self.stops if stop in text), default=None)
        if end is None:
            return [*thought, *ids]
        before = text[:end].rstrip()
        kept = next((ids[:n] for n in range(len(ids)) if tokenizer.decode(ids[:n]).rstrip() == before), None)
        if kept is None:  # a token holds what stands there and the first of what ends it, as ".<"
            kept = tokenizer(before, add_special_tokens=False)["input_ids"]
        return [*thought, *kept]

    def _next(self, logits: torch.Tensor, alive: Sequence[int]) -> torch.Tensor:
        """The next token of each answer, [answers, 1]."""
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1, keepdim=True)
        probabilities, order = (logits.float() / self.sampling.temperature).softmax(dim=-1).cpu().sort(descending=True)
        # The first token that reaches top_p still counts.
        probabilities[probabilities.cumsum(dim=-1) - probabilities >= self.sampling.top_p] = 0
        drawn = [
            torch.multinomial(row, 1, generator=self.streams[i]) for row, i in zip(probabilities, alive, strict=True)
        ]
        return order.gather(-1, torch.stack(drawn)).to(logits.device)

    def _prefill(self, most: int) -> ReadText:
        """All but the last prompt token, a row a prompt or, where edits reach it, an answer; nothing of whole texts."""
        lm, count = self.lm, self.count
        text = ReadText(lm, continuing(lm), self.longest - 1 + self.beside * most)
        shared = shares_prompt(self.edits)
        every = range(len(self.prompts) * count)
        self.rows = [[answer] for answer in (every[::count] if shared else every)]
        self._forget()
        if text.kind != "text" and self.longest > 1:
            ids = torch.tensor([self._padded(answer)[:-1] for (answer,) in self.rows], device=lm.device)
            writer = torch.full((1, 1), SHARED, device=lm.device) if shared else self._numbers(1)
            # A family's own cache may hold a state that more than one token can't go on from.
            chunk = prefill_chunk(lm, len(ids)) if text.kind == "cache" else ids.shape[1]
            for start in range(0, ids.shape[1], chunk):
                self._forward(text, ids[:, start : start + chunk], start, writer)
        if shared:
            parts = -(-count // self.beside)
            self._take(text, [row for row in range(len(self.rows)) for _ in range(parts)])
            self.rows = [[*range(each[0] + i % parts, each[0] + count, parts)] for i, each in enumerate(self.rows)]
        return text

    def _forget(self) -> None:
        self.writer = torch.zeros(len(self.rows), 0, dtype=torch.long, device=self.lm.device)
        self.position = self.writer

    def _numbers(self, width: int) -> torch.Tensor:
        """Of each row the answers that go on, [rows, width]."""
        numbers = [row + [NOBODY] * (width - len(row)) for row in self.rows]
        return torch.tensor(numbers, device=self.lm.device)

    def _padded(self, answer: int) -> list[int]:
        """An answer's prompt, padded at its start to the length of the longest."""
        prompt = self.prompts[answer // self.count]
        return [prompt[0]] * (self.longest - len(prompt)) + [*prompt]

    def _step(self, text: ReadText, step: int, answers: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits of the next token of each answer that goes on, [answers, vocabulary]."""
        if text.kind == "text":
            self._forget()
            whole = [[*self._padded(answer), *answers[answer]] for (answer,) in self.rows]
            return self._forward(text, torch.tensor(whole, device=self.lm.device), 0, self._numbers(1))[:, -1]
        width = max(map(len, self.rows))
        newest = [[(answers[a] or self.prompts[a // self.count])[-1] for a in row] for row in self.rows]
        ids = torch.tensor([row + row[:1] * (width - len(row)) for row in newest], device=self.lm.device)
        writer = self._numbers(width)
        logits = self._forward(text, ids, self.longest - 1 + step, writer).flatten(0, 1)
        going = (writer.flatten() != NOBODY).to(logits.device)
        return logits if bool(going.all()) else logits[going]

    def _forward(self, text: ReadText, ids: torch.Tensor, start: int, writer: torch.Tensor) -> torch.Tensor:
        """Logits of the last column, or of all of a step; what was read is a part of the text then.

        Args:
            text: what goes on.
            ids: [rows, columns].
            start: columns of each answer that have been read.
            writer: whose the columns are, [rows, columns or 1].
        """
        lm, step = self.lm, self.beside > 1 and start >= self.longest - 1
        width = ids.shape[1]
        column = torch.arange(start, start + (1 if step else width), device=ids.device).expand(len(ids), width)
        pads = [self.longest - len(self.prompts[row[0] // self.count]) for row in self.rows]
        pad = torch.tensor(pads, device=ids.device)[:, None]
        position = (column - pad).clamp(min=0)
        writer = torch.where(column >= pad, writer, NOBODY)
        self.writer = torch.cat([self.writer, writer], dim=1)
        self.position = torch.cat([self.position, position], dim=1)
        mask = self._mask(writer, position) if step else (self.writer != NOBODY).long()
        outputs = torch.arange(0 if step else width - 1, width, device=ids.device)
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": position,
            **keep_logits(lm, outputs),
        }
        lm.meter.add(ids.numel())
        layout = self._layout(writer, position, column - (self.longest - 1))
        with edits_applied(lm, layout, self.edits, self.decisions):
            return at_columns(text.run(inputs), outputs)

    def _mask(self, writer: torch.Tensor, position: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        """Lets each new token see the prompt and its own answer."""
        before = self.writer[:, None, :]
        allowed = (before == SHARED) | (before == writer[:, :, None])
        return attention_mask(self.lm, allowed, position, self.position)

    def _layout(self, writer: torch.Tensor, position: torch.Tensor, relative: torch.Tensor) -> Layout:
        """Where the columns of a pass are; each from the prompt's end on is the last one once."""
        thought = None
        if self.thoughts is not None:
            ends = torch.tensor(self.thoughts.ends, device=writer.device)[writer.clamp(min=0)]
            thought = (relative >= 0) & (relative < ends)
        owner = torch.where(writer < 0, -1, writer % self.count)
        return Layout(owner, position, relative, relative >= 0, thought)

    def _end_tokens(self) -> list[int]:
        """All that end an answer: files of a model often name one in one place only."""
        lm = self.lm
        places = (lm.model.generation_config, lm.tokenizer, lm.config)
        named = [getattr(place, "eos_token_id", None) for place in places]
        *each, last = [set(ends if isinstance(ends, list) else [ends]) for ends in named]
        # A configuration that names none has its class's default, which may be any word of another vocabulary.
        added = {*lm.tokenizer.all_special_ids, *getattr(lm.tokenizer, "added_tokens_decoder", {})}
        ends = {*lm.prompts.reading.ends, *(last & added), *set().union(*each)}
        return sorted(end for end in ends if isinstance(end, int))
