"""Interventions: what a method does to a model, as data.

Every method returns one, the evaluator sees nothing else, and a stack of methods is `stack` of theirs.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from comparisons.model.prompts import Turn
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch

    from comparisons.model.lm import LM

OPERATIONS = ("add", "ablate", "set", "add_keep_norm")
SITES = ("block", "block_input", "attention", "mlp")
SIDES = ("above", "below")


@dataclass(frozen=True)
class Positions:
    """Which token positions an edit touches; parsed from `prompt_end`, `all`, `last`, `prompt_first:k`, …

    Positions are logical: 0 is the first token of the sequence. `response` counts from the last token of the
    prompt, which is 0, so that the first generated token is predicted from an edited position. Where a model thinks
    before it answers, `thought` are the positions that predict the thought, its end included, and `answer` those that
    predict what is behind it; else `answer` is `prompt_end`, and `thought` none.
    """

    kind: Literal["prompt_end", "all", "last", "answer", "thought", "prompt_first", "response_first"]
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Positions:
        """Reads a positions spec; raises CompareError with the valid forms."""
        if text in ("prompt_end", "all", "last", "answer", "thought"):
            return cls(text)  # type: ignore[arg-type]
        match = re.fullmatch(r"(prompt_first|response_first):([1-9]\d*)", text)
        if match is None:
            raise CompareError(
                f"unknown positions '{text}': use prompt_end, all, last, answer, thought, prompt_first:k or "
                "response_first:k."
            )
        return cls(match[1], int(match[2]))  # type: ignore[arg-type]

    @property
    def touches_prompt(self) -> bool:
        """Whether tokens before the last prompt token can change, so that no prompt cache can be shared."""
        return self.kind in ("all", "prompt_first")


@dataclass(frozen=True, eq=False)
class Condition:
    """On which prompts an edit acts at all, decided once a prompt and kept for its answer.

    With h the output of block `layer` at the prompt's last token, before that block's own edits, and c the vector, it
    acts where the cosine h·c / (|h| |c|) lies beyond the threshold; h is what the intervention's other edits have made
    of it by then. Source: Lee et al. 2024 (CAST), section 3.1: their similarity of h with its projection on c is this
    cosine's absolute value, and they average h over the prompt's tokens.

    Attributes:
        layer: decoder block, counted from 0; no higher than what the edit changes.
        vector: c, [width].
        threshold: of the cosine.
        side: whether it acts "above" or "below" the threshold.
    """

    layer: int
    vector: torch.Tensor
    threshold: float
    side: str = "above"

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise CompareError(f"unknown side '{self.side}' of a condition: use {' or '.join(SIDES)}.")
        if not math.isfinite(self.threshold):
            raise CompareError(f"the threshold of a condition must be finite, not {self.threshold}.")
        norm = float(self.vector.float().norm()) if self.vector.dim() == 1 else 0.0
        if not (math.isfinite(norm) and norm > 0.0):
            raise CompareError("a condition takes a finite vector [width] that is not 0.")

    def value(self, hidden: torch.Tensor) -> torch.Tensor:
        """The cosine of states [..., width] with the vector, [...] float32."""
        hidden, vector = hidden.float(), self.vector.to(hidden.device).float()
        along = hidden @ (vector / vector.norm())
        value: torch.Tensor = along / hidden.norm(dim=-1).clamp(min=1e-12)
        return value

    def holds(self, hidden: torch.Tensor) -> torch.Tensor:
        """Where the edit acts, by states [..., width]: bool [...]."""
        value = self.value(hidden)
        return value > self.threshold if self.side == "above" else value < self.threshold

    @cached_property
    def digest(self) -> str:
        """Content hash."""
        return _digest((self.layer, self.threshold, self.side), self.vector)


@dataclass(frozen=True, eq=False)
class Edit:
    """One activation change.

    Attributes:
        layer: decoder block, counted from 0.
        vector: [width], or [k, width] with positions "prompt_first:k".
        operation: "add" adds multiplier × vector; "ablate" takes away multiplier × the component along the vector,
            so that 1 projects it out; "set" makes the component along the vector multiplier × vector;
            "add_keep_norm" adds and scales back to the norm that was there.
        multiplier: signed dose; 0 changes nothing, whatever the operation.
        positions: which tokens, see `Positions`.
        site: what is changed: "block", the block's output; "block_input", its input; "attention" or "mlp", the
            output of that part of it, before it joins the residual stream.
        when: on which prompts; None for all.
    """

    layer: int
    vector: torch.Tensor
    operation: str = "add"
    multiplier: float = 1.0
    positions: str = "prompt_end"
    site: str = "block"
    when: Condition | None = None

    def __post_init__(self) -> None:
        if self.operation not in OPERATIONS:
            raise CompareError(f"unknown operation '{self.operation}': use {', '.join(OPERATIONS)}.")
        if self.site not in SITES:
            raise CompareError(f"unknown site '{self.site}': use {', '.join(SITES)}.")
        if not math.isfinite(self.multiplier):
            raise CompareError(f"the multiplier of an edit must be finite, not {self.multiplier}.")
        where = Positions.parse(self.positions)
        rows = where.count if where.kind == "prompt_first" else 1
        if self.vector.dim() not in (1, 2) or (self.vector.dim() == 2 and self.vector.shape[0] != rows):
            raise CompareError(
                f"an edit at positions '{self.positions}' takes a vector [width] or [{rows}, width], "
                f"not {list(self.vector.shape)}."
            )
        if self.when is not None:
            self._check(self.when, where)

    def _check(self, when: Condition, where: Positions) -> None:
        """Raises CompareError where the condition is known too late for what the edit changes."""
        if where.touches_prompt:
            raise CompareError(
                f"an edit at positions '{self.positions}' takes no condition, which is decided at the prompt's end: "
                "use prompt_end."
            )
        if when.layer >= self.start:
            raise CompareError(
                f"a condition at block {when.layer} is decided too late for an edit at site '{self.site}' of block "
                f"{self.layer}: read it below block {self.start}."
            )

    @property
    def start(self) -> int:
        """The first block whose input it changes, or, of a part within a block, that block."""
        return self.layer + (self.site == "block")

    @property
    def effective(self) -> bool:
        """Whether the edit can change anything."""
        return self.multiplier != 0.0

    @cached_property
    def digest(self) -> str:
        """Content hash: equal digests change a model equally."""
        head: tuple[object, ...] = (
            self.layer,
            self.operation,
            self.multiplier,
            self.positions,
            self.site,
            tuple(self.vector.shape),
        )
        return _digest(head if self.when is None else (*head, self.when.digest), self.vector)


def _digest(head: tuple[object, ...], vector: torch.Tensor) -> str:
    values = vector.detach().to("cpu").float().contiguous().numpy().tobytes()
    return hashlib.sha256(repr(head).encode() + values).hexdigest()


@dataclass(frozen=True)
class Context:
    """A change that no data describes.

    Attributes:
        open: given the LM, a context manager in which the change is in place.
        identity: of whatever the change depends on: two of one identity change a model equally.
    """

    open: Callable[[LM], AbstractContextManager[object]]
    identity: str


TRAINED = "trained.json"
"""In the folder of an adapter that was trained here: "parameters", how many numbers had a gradient, and "untouched",
the names of the blocks' weights that it leaves as they are, where all were to be trained."""


@dataclass(frozen=True, eq=False)
class Intervention:
    """Everything a method changes: the prompt, the weights, the activations.

    Attributes:
        system: system prompt.
        examples: few-shot turns before the question.
        adapter: folder of a PEFT adapter.
        adapter_scale: factor on the adapter's own scale.
        edits: activation changes.
        context: a change that no data describes.
    """

    system: str | None = None
    examples: tuple[Turn, ...] = ()
    adapter: Path | None = None
    adapter_scale: float = 1.0
    edits: tuple[Edit, ...] = ()
    context: Context | None = None

    def simplified(self) -> Intervention:
        """The same change without the parts that change nothing (multiplier 0, adapter scale 0)."""
        adapter = self.adapter if self.adapter_scale != 0.0 else None
        scale = self.adapter_scale if adapter is not None else 1.0
        edits = tuple(edit for edit in self.edits if edit.effective)
        return replace(self, adapter=adapter, adapter_scale=scale, edits=edits)

    @property
    def layer(self) -> int | None:
        """The layer of the edits where all are at one, else None."""
        layers = {edit.layer for edit in self.edits}
        return layers.pop() if len(layers) == 1 else None

    @property
    def prefix_key(self) -> tuple[object, ...]:
        """What changes the tokens or weights before the response: equal keys can share a prompt's cache."""
        early = tuple(e.digest for e in self.edits if Positions.parse(e.positions).touches_prompt)
        context = self.context and self.context.identity
        return (self.system, self.examples, self.adapter, self.adapter_scale, early, context)

    def size(self) -> int:
        """How many trained or fitted numbers it carries: of the adapter, the edits' vectors and their conditions.

        Of an adapter that was brought from elsewhere every tensor counts.
        """
        numbers = sum(edit.vector.numel() for edit in self.edits)
        numbers += sum(edit.when.vector.numel() + 1 for edit in self.edits if edit.when is not None)
        if "parameters" in self._trained:
            numbers += int(self._trained["parameters"])
        elif self.adapter is not None:
            from safetensors import safe_open

            for path in sorted(self.adapter.glob("*.safetensors")):
                with safe_open(path, framework="numpy") as file:
                    numbers += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118 - no mapping
        return numbers

    @property
    def untouched(self) -> list[str]:
        """Names of weights of the blocks that its adapter leaves as they are, though all were to be trained."""
        return list(self._trained.get("untouched", ()))

    @cached_property
    def _trained(self) -> dict[str, Any]:
        if self.adapter is None or not (self.adapter / TRAINED).is_file():
            return {}
        return dict(json.loads((self.adapter / TRAINED).read_text(encoding="utf-8")))

    @cached_property
    def digest(self) -> str:
        """Content hash of the simplified intervention (an adapter by the bytes of its folder)."""
        plain = self.simplified()
        adapter = None
        if plain.adapter is not None:
            files = sorted(p for p in plain.adapter.rglob("*") if p.is_file())
            adapter = hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()
        parts = (
            plain.system,
            plain.examples,
            adapter,
            plain.adapter_scale,
            tuple(e.digest for e in plain.edits),
            plain.context and plain.context.identity,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def stack(interventions: Iterable[Intervention]) -> Intervention:
    """Puts interventions together: system prompts join by a blank line, examples and edits concatenate.

    Raises:
        CompareError: two of them carry an adapter.
    """
    return reduce(_join, interventions, Intervention())


def _join(left: Intervention, right: Intervention) -> Intervention:
    if left.adapter is not None and right.adapter is not None:
        raise CompareError("a stack can hold one adapter, this one holds two: leave one of the finetuning methods out.")
    if left.context is not None and right.context is not None:
        raise CompareError("a stack can hold one method that returns a context manager, this one holds two.")
    carrier = right if right.adapter is not None else left
    prompts = [text for text in (left.system, right.system) if text]
    return Intervention(
        system="\n\n".join(prompts) or None,
        examples=left.examples + right.examples,
        adapter=carrier.adapter,
        adapter_scale=carrier.adapter_scale,
        edits=left.edits + right.edits,
        context=left.context or right.context,
    )
