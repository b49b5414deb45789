"""From what enters a model's output layer to log-probabilities: in float32 in any case, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from comparisons.engine.hooks import StopForward
from comparisons.model.lm import LM, LOGITS, WIDENED

if TYPE_CHECKING:
    from comparisons.engine.passes import Pass
    from comparisons.engine.plan import Sequences

LOUD = 32
"""How many times as large what enters the output layer is made, to see what becomes of its product."""


@dataclass(frozen=True)
class Head:
    """A model's output layer, and what the model makes of its product.

    Attributes:
        layer: the product.
        weight: its weights as they are, [vocabulary, width], also where others are put in their place later.
        bias: its biases, or None.
        scale: what the product is multiplied by.
        cap: c of c·tanh(logit/c), by which Gemma 2 bounds logits; None where they are not bounded.
    """

    layer: torch.nn.Linear
    weight: torch.Tensor
    bias: torch.Tensor | None
    scale: float = 1.0
    cap: float | None = None

    def finished(self, product: torch.Tensor) -> torch.Tensor:
        """The logits of a product of the layer."""
        logits = product if self.scale == 1 else product * self.scale
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def logps(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of target tokens.

        Args:
            hidden: what enters the layer, [..., width].
            targets: token ids, [..., targets].

        Returns:
            Like `targets`, float32, in nats, on the CPU.
        """
        rows, wanted = hidden.reshape(-1, hidden.shape[-1]), targets.reshape(-1, targets.shape[-1]).to(hidden.device)
        total = torch.full((len(rows), 1), -torch.inf, device=rows.device)
        chosen = torch.zeros(wanted.shape, device=rows.device)
        start = 0
        for part in self.words():
            for first in range(0, len(rows), max(1, LOGITS // part.count)):
                piece = slice(first, first + max(1, LOGITS // part.count))
                logits = part.logits(rows[piece])
                place = wanted[piece] - start
                here = (place >= 0) & (place < part.count)
                gathered = logits.gather(-1, place.clamp(0, part.count - 1))
                chosen[piece] = torch.where(here, gathered, chosen[piece])
                total[piece] = torch.logaddexp(total[piece], logits.logsumexp(-1, keepdim=True))
            start += part.count
        return (chosen - total).cpu().reshape(targets.shape)

    def words(self) -> Iterator[Words]:
        """The vocabulary in parts whose weights are held in float32 at once; all of it where they are float32."""
        whole = self.weight.dtype == torch.float32
        count = len(self.weight) if whole else max(1, WIDENED // self.weight.shape[1])
        for start in range(0, len(self.weight), count):
            yield self._words(slice(start, start + count))

    def all_words(self) -> Words:
        """The vocabulary in one part."""
        return self._words(slice(None))

    def _words(self, part: slice) -> Words:
        return Words(self, self.weight[part].float(), None if self.bias is None else self.bias[part].float())


@dataclass(frozen=True)
class Words:
    """A part of an output layer's words.

    Attributes:
        head: the output layer.
        weight: theirs, [words, width], float32.
        bias: theirs, or None.
    """

    head: Head
    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def count(self) -> int:
        """How many words."""
        return len(self.weight)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """The words' logits, [..., words], float32, of what enters the layer."""
        # One product of all rows: of a view with gaps torch would make one product for each of its parts.
        rows = hidden.float().reshape(-1, hidden.shape[-1])
        with _multiplying(hidden.device.type, {hidden.dtype, self.head.weight.dtype}):
            product = torch.nn.functional.linear(rows, self.weight, self.bias)
        return self.head.finished(product.view(*hidden.shape[:-1], self.count))


@contextmanager
def _multiplying(device: str, was: Set[torch.dtype]) -> Iterator[None]:
    """Lets units for 16 bits make a float32 product where its factors were of 16 bits and lose none in them.

    Products are exact then and sums float32, as without, and it takes half the time or less.

    Args:
        device: where.
        was: the factors' types before they were made float32.
    """
    backends: Any = torch.backends
    if device == "cpu" and was == {torch.bfloat16}:
        backend, precision = backends.mkldnn.matmul, "bf16"
    elif device == "cuda" and was <= {torch.bfloat16, torch.float16}:  # whose 7 and 10 bits TF32 holds
        backend, precision = backends.cuda.matmul, "tf32"
    else:
        yield
        return
    before, backend.fp32_precision = backend.fp32_precision, precision
    try:
        yield
    finally:
        backend.fp32_precision = before


def head_of(lm: LM) -> Head | None:
    """The model's output layer, where its logits are what `Head` makes of it; found once by trying, without edits."""
    layer = lm.model.get_output_embeddings()
    # An adapter's layer is more than its weight, an offloaded one has none, and a quantized one is not a product.
    if type(layer) is not torch.nn.Linear or layer.weight.is_meta or not layer.weight.is_floating_point():
        return None
    if any(map(_is_changed, (layer, lm.model))):
        return None
    bias = None if layer.bias is None else layer.bias.detach()
    head = Head(layer, layer.weight.detach(), bias, _scale(lm.config), _cap(lm.config))
    if lm.plain_head is None:
        lm.plain_head = _equals_model(lm, head)
    return head if lm.plain_head else None


def _is_changed(module: torch.nn.Module) -> bool:
    """Whether somebody, such as a method's context manager, has a say in what comes out of a module."""
    # What accelerate puts in the place of a forward moves tensors, and changes none.
    replaced = "forward" in vars(module) and not hasattr(module, "_hf_hook")
    return bool(module._forward_hooks) or replaced


def _scale(config: Any) -> float:
    """What families multiply the product by: Cohere, Falcon-H1; Granite divides."""
    scale = getattr(config, "logit_scale", None) or getattr(config, "lm_head_multiplier", None) or 1.0
    return float(scale) / float(getattr(config, "logits_scaling", None) or 1.0)


def _cap(config: Any) -> float | None:
    """What families call the bound of their logits: Gemma, RecurrentGemma, xLSTM."""
    names = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap")
    return next((float(cap) for name in names if (cap := getattr(config, name, None))), None)


def _equals_model(lm: LM, head: Head) -> bool:
    """Whether the model makes the same of what enters the layer, `LOUD` times as large: a bound shows in any type."""
    ids = torch.arange(4, device=lm.device)[None]
    handle = head.layer.register_forward_pre_hook(lambda module, args: (LOUD * args[0], *args[1:]))
    try:
        with torch.no_grad(), entering(head.layer, stop=False) as entered:
            logits = lm.model(ids, attention_mask=torch.ones_like(ids), use_cache=False).logits.float()
    finally:
        handle.remove()
    if not entered:
        return False
    ours = head.finished(head.layer(entered[-1])).float()
    return ours.shape == logits.shape and bool((ours - logits).abs().max() <= 0.01 * logits.abs().max())


@contextmanager
def entering(layer: torch.nn.Module, stop: bool) -> Iterator[list[torch.Tensor]]:
    """Keeps what enters a layer while the context lasts, and may end each forward pass there.

    Args:
        layer: which.
        stop: whether the pass ends before the layer runs.
    """
    entered: list[torch.Tensor] = []

    def hook(module: torch.nn.Module, args: Any) -> None:
        entered.append(args[0])
        if stop:
            raise StopForward

    handle = layer.register_forward_pre_hook(hook)
    try:
        with suppress(StopForward):
            yield entered
    finally:
        handle.remove()


def token_logps(
    lm: LM, batch: Sequences, targets: torch.Tensor, passes: Iterator[Pass], whole: bool = False
) -> torch.Tensor:
    """Log-probabilities of target tokens after each branch, or after each of its tokens.

    Args:
        lm: the model.
        batch: prompts and branches.
        targets: token ids, [prompts, targets] for the end of a branch; [prompts, variants, size, targets] for the
            places of its tail.
        passes: the batch's.
        whole: whether at each token.

    Returns:
        [branches, prompts, targets], or [branches, prompts, size, targets]; float32, in nats, on the CPU.
    """
    places = (batch.size,) if whole else ()
    table = torch.full((len(batch.branches), len(batch.prefixes), *places, targets.shape[-1]), torch.nan)
    variant = torch.tensor([branch.variant for branch in batch.branches])
    head = head_of(lm)
    with torch.no_grad():
        for step in passes:
            prompt, branch, place = step.wanted.unbind(-1)
            wanted = targets[prompt, variant[branch], place] if whole else targets[prompt]
            with step.in_place(lm):
                logps = target_logps(lm, head, step.inputs, step.columns, wanted)
            asked = branch >= 0
            index = (branch[asked], prompt[asked], *((place[asked],) if whole else ()))
            table[index] = logps[asked]
    return table


def target_logps(
    lm: LM, head: Head | None, inputs: dict[str, Any], columns: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    """Runs a forward pass and reads the log-probabilities of target tokens.

    Args:
        lm: the model.
        head: its output layer; None where the logits must be its own.
        inputs: keyword arguments of its forward pass.
        columns: where they are read; the model may compute those alone.
        targets: token ids, [rows, columns, targets].

    Returns:
        Like `targets`, float32, in nats, on the CPU.
    """
    read = outputs(lm, head, inputs, columns)
    if head is not None:
        return head.logps(read, targets)
    logits = read.float()
    return (logits.gather(-1, targets.to(logits.device)) - logits.logsumexp(-1, keepdim=True)).cpu()


def outputs(lm: LM, head: Head | None, inputs: dict[str, Any], columns: torch.Tensor) -> torch.Tensor:
    """Runs a forward pass: what enters the output layer at some columns, [rows, columns, width].

    Where there is no `head` to ask, the logits that the model itself makes there, [rows, columns, vocabulary].
    """
    if head is None:
        return at_columns(lm.model(**inputs).logits, columns)
    with entering(head.layer, stop=True) as entered:
        lm.model(**inputs)
    return at_columns(entered[-1], columns)


def at_columns(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Values at `columns`, from a model that computed those alone or all."""
    return values if values.shape[1] == len(columns) else values[:, columns.to(values.device)]
