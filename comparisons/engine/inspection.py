"""What trace and lens read of passes: projections of the residual stream at every token, parts of blocks at one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from comparisons.engine.adapters import in_place
from comparisons.engine.generate import generate_tokens
from comparisons.engine.head import at_columns
from comparisons.engine.hooks import (
    EPSILON,
    Change,
    Layout,
    captured,
    edits_applied,
    input_changed,
    output_changed,
    stopping_after,
)
from comparisons.engine.memory import halving
from comparisons.engine.plan import batches, group_by_prefix
from comparisons.engine.prefix import keep_logits
from comparisons.engine.sampling import GREEDY
from comparisons.intervention import Intervention
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError

Tokens = Sequence[int]


def projections(
    lm: LM, sequences: Sequence[Tokens], vectors: Mapping[int, torch.Tensor], cosine: bool = False
) -> list[np.ndarray]:
    """The component of each block's output along its layer's vector, at every token of every sequence.

    With h the residual stream after block L and v that layer's vector it is h·v / |v|, in the units of the residual
    stream; as a cosine h·v / (|h| |v|).

    Args:
        lm: the model.
        sequences: token ids.
        vectors: layer -> [width].
        cosine: whether to divide by the norm of h too.

    Returns:
        For each sequence [layers, tokens] float32, layers in ascending order.

    Raises:
        CompareError: a layer is out of range, a vector is of another width or has no direction, or a sequence is
            empty or exceeds the model's context.
    """
    units = {layer: _unit(lm, layer, vectors[layer]) for layer in sorted(vectors)}
    for tokens in sequences:
        check_length(lm, tokens)
    rows_of: dict[int, np.ndarray] = {}
    while len(rows_of) < len(sequences):
        rest = [i for i in range(len(sequences)) if i not in rows_of]
        with halving(lm), torch.no_grad():
            for batch in batches([len(sequences[i]) for i in rest], 0, lm.token_budget):
                chosen = [rest[i] for i in batch]
                values = _projected(lm, [sequences[i] for i in chosen], units, cosine)
                for i, rows in zip(chosen, values, strict=True):
                    rows_of[i] = rows[:, : len(sequences[i])]
    return [rows_of[i] for i in range(len(sequences))]


def check_length(lm: LM, tokens: Tokens) -> None:
    """Raises CompareError where a sequence has no token, or more than the model's context."""
    if not tokens:
        raise CompareError("the text has no token: give some text.")
    if lm.context is not None and len(tokens) > lm.context:
        raise CompareError(f"the text has {len(tokens)} tokens, more than the {lm.context} of {lm.name}: shorten it.")


def _unit(lm: LM, layer: int, vector: torch.Tensor) -> torch.Tensor:
    lm.check_layer(layer)
    if tuple(vector.shape) != (lm.width,):
        raise CompareError(
            f"the vector of layer {layer} has the shape {list(vector.shape)}, "
            f"and the width of {lm.name} is {lm.width}: use one that was made on this model."
        )
    norm = float(vector.double().norm())
    if not np.isfinite(norm) or norm <= EPSILON:
        raise CompareError(f"the vector of layer {layer} has no direction: its norm is {norm:g}.")
    return (vector.double() / norm).float()


def _projected(lm: LM, sequences: Sequence[Tokens], units: Mapping[int, torch.Tensor], cosine: bool) -> np.ndarray:
    """[rows, layers, tokens], padded on the right, where causality hides the pads from every token."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in sequences], device=lm.device)
    lengths = torch.tensor([len(row) for row in sequences], device=lm.device)[:, None]
    position = torch.arange(longest, device=lm.device).expand(len(sequences), -1)

    def read(hidden: torch.Tensor, layer: int) -> torch.Tensor:
        states = hidden.float()
        along = states @ units[layer].to(hidden.device)
        return (along / states.norm(dim=-1).clamp(min=EPSILON) if cosine else along).cpu()

    lm.meter.add(ids.numel())
    with captured(lm, list(units), read) as outputs, stopping_after(lm, max(units)):
        lm.model(
            input_ids=ids,
            attention_mask=(position < lengths).long(),
            position_ids=position,
            use_cache=False,
            **keep_logits(lm, torch.tensor([longest - 1], device=lm.device)),
        )
    return torch.stack([outputs[layer] for layer in units], dim=1).numpy()


def answered(
    lm: LM, questions: Sequence[str], intervention: Intervention, max_new_tokens: int
) -> list[tuple[list[int], int]]:
    """Each question's prompt and the model's greedy answer to it, as one sequence of tokens.

    Args:
        lm: the model.
        questions: user turns; the model's prompt format is put around them.
        intervention: what is in place; its edits act on the answer, and are not part of the sequence.
        max_new_tokens: an answer ends here, or before the model's end-of-sequence token; 0 for the prompt alone.

    Returns:
        For each question the tokens, and how many of them are the prompt.

    Raises:
        CompareError: a prompt exceeds the model's context.
    """
    (group,) = group_by_prefix([intervention])
    prompts = [lm.tokenize(lm.prompt(q, group.head.system, group.head.examples)) for q in questions]
    for prompt in prompts:
        check_length(lm, prompt)
    room = max_new_tokens if lm.context is None else min(max_new_tokens, lm.context - max(map(len, prompts)))
    answers: dict[tuple[int, int], list[int]] = {}
    if room > 0:
        with torch.no_grad():
            answers = generate_tokens(lm, questions, group, room, GREEDY, lm.prompts.stops)
    return [([*prompt, *answers.get((0, i), [])], len(prompt)) for i, prompt in enumerate(prompts)]


SITES = ("attention", "residual", "mlp", "block")
"""What is read of each block."""

TOLERANCE = 0.02
"""Share of a block's output by which input, attention and mlp may miss it: above the rounding of 16-bit weights."""


@dataclass(frozen=True)
class Parts:
    """The parts of each block at one token.

    Attributes:
        states: [layers, 4, width] float32, in the order of `SITES`. With x the block's input, "attention" is a, what
            the attention adds to the residual stream (after a norm of its own in Gemma 2, Gemma 3 and OLMo 2);
            "residual" is x + a; "mlp" is what the MLP adds to that; "block" is the block's output, edits included.
            In a parallel block (GPT-NeoX) the MLP reads x and not x + a, which is a sum that no module sees.
        logps: the model's own log-probabilities after that token, [vocabulary] float32.
    """

    states: torch.Tensor
    logps: torch.Tensor


class _Block:
    """Watches one forward pass through a block: what enters, what its parts add, what leaves."""

    def __init__(self, lm: LM, layer: int, token: int) -> None:
        self.module, self.token = lm.blocks[layer], token
        self.parts = {site: lm.module(layer, site) for site in ("attention", "mlp")}
        self.seen: dict[str, torch.Tensor] = {}
        self.whole: dict[str, torch.Tensor] = {}

    def keeper(self, name: str) -> Change:
        """Keeps a state at the token."""

        def keep(hidden: torch.Tensor) -> torch.Tensor:
            self.seen[name] = hidden[0, self.token].float().cpu()
            return hidden

        return keep

    def follower(self, site: str) -> Change:
        """Keeps a part's output; the tensor itself too, to see which module reads it."""

        def keep(hidden: torch.Tensor) -> torch.Tensor:
            self.whole[site] = hidden
            return self.keeper(site)(hidden)

        return keep

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watches while the context lasts; edits must be in place before."""
        with ExitStack() as stack:
            stack.enter_context(input_changed(self.module, self.keeper("input")))
            for site, part in self.parts.items():
                stack.enter_context(output_changed(part, self.follower(site)))
            for child in self.module.children():
                if all(child is not part for part in self.parts.values()):
                    handle = child.register_forward_hook(self._following)
                    stack.callback(handle.remove)
            stack.enter_context(output_changed(self.module, self.keeper("block")))
            yield

    def _following(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        # A norm (or dropout) that reads a part's output itself stands between the part and the residual stream: what
        # it returns is added. Llama's norm of the same name reads a sum, which is another tensor.
        for site, tensor in self.whole.items():
            if args and args[0] is tensor and isinstance(output, torch.Tensor):
                self.follower(site)(output)


def block_parts(lm: LM, tokens: Sequence[int], end: int, token: int, intervention: Intervention) -> Parts:
    """Reads one sequence.

    Args:
        lm: the model.
        tokens: token ids.
        end: index of the last prompt token, from which an edit's positions count.
        token: index of the token that is read.
        intervention: edits, adapter and context that are in place; its prompt is in `tokens`.

    Raises:
        CompareError: the sequence exceeds the model's context, an edit doesn't fit, or the model's blocks are not
            the sum of their input, attention and MLP.
    """
    check_length(lm, tokens)
    ids = torch.tensor([list(tokens)], device=lm.device)
    position = torch.arange(len(tokens), device=lm.device)[None]
    column = torch.tensor([token], device=lm.device)
    layout = Layout(torch.zeros_like(position), position, position - end, position == len(tokens) - 1)
    blocks = [_Block(lm, layer, token) for layer in range(len(lm.blocks))]
    with torch.no_grad(), in_place(lm, intervention), ExitStack() as stack:
        for block in blocks:
            stack.enter_context(output_changed(block.module, block.keeper("plain")))
        stack.enter_context(edits_applied(lm, layout, [intervention.edits]))
        for block in blocks:
            stack.enter_context(block.watched())
        logits = lm.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=position,
            use_cache=False,
            **keep_logits(lm, column),
        ).logits
    states = torch.stack([_summed(lm, block) for block in blocks])
    return Parts(states, at_columns(logits, column)[0, 0].float().log_softmax(-1).cpu())


def _summed(lm: LM, block: _Block) -> torch.Tensor:
    """The four states of a block, [4, width]; its output before edits is what its parts sum up to."""
    attention, mlp, plain = block.seen["attention"], block.seen["mlp"], block.seen["plain"]
    residual = block.seen["input"] + attention
    if float((residual + mlp - plain).norm()) > TOLERANCE * float(plain.norm()):
        raise CompareError(
            f"the blocks of {lm.name} are not the sum of their input, attention and mlp: the lens can't part them."
        )
    return torch.stack([attention, residual, mlp, block.seen["block"]])


def decoded(lm: LM, states: torch.Tensor, intervention: Intervention | None = None) -> torch.Tensor:
    """Log-probabilities of the next token if the last block's output were these states.

    The model's own final norm, head, scale and soft cap read them: each stands in for the last block's output in a
    pass over one token. (The logit lens, nostalgebraist 2020.)

    Args:
        lm: the model.
        states: [n, width] float32.
        intervention: whose adapter is in place; edits are not.

    Returns:
        [n, vocabulary] float32, on the CPU.
    """
    ids = torch.zeros(len(states), 1, dtype=torch.long, device=lm.device)

    def replaced(hidden: torch.Tensor) -> torch.Tensor:
        return states[:, None].to(hidden.device, hidden.dtype)

    with torch.no_grad(), in_place(lm, intervention or Intervention()), output_changed(lm.blocks[-1], replaced):
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "position_ids": ids}
        logits = lm.model(**inputs, use_cache=False).logits
    logps: torch.Tensor = logits[:, 0].float().log_softmax(-1).cpu()
    return logps
