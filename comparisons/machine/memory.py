"""What memory this machine has, and the bytes of each phase: loading, sweeping, training an adapter or every matrix.

What stands in no source was measured on a random Llama of 222M parameters (torch 2.13, transformers 5.23, peft 0.21).
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from typing import Literal

from comparisons.machine.shape import Shape
from comparisons.model.lm import LOGITS, MAX_BRANCH_TOKENS, WIDENED, token_budget
from comparisons.util.memory import available_memory

Device = Literal["cpu", "cuda"]

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

PROGRAM = {"cpu": 415_000_000, "cuda": 500_000_000}
"""Of a process that has loaded torch and transformers; on a GPU, of its context there."""

TRAINER = {"cpu": 150_000_000, "cuda": 0}
"""What trl, peft and datasets add to it."""

ABSMAX = 4 / 64
"""Bytes a weight of the scales of bitsandbytes' 4-bit blocks: a float32 for each 64."""

LAYERS_TIMES = 8
"""Settings of a layer in the sweep that is estimated, as in `compare bench`, the plain model apart."""

ROOM = 0.95
"""Share of a memory that may be filled."""


@dataclass(frozen=True)
class Machine:
    """The memories that a model can be in.

    Attributes:
        ram: bytes that can be had now; None where the system can't tell.
        gpus: bytes of each GPU.
    """

    ram: int | None
    gpus: tuple[int, ...]

    def holds(self, device: str, needed: int) -> bool:
        """Whether so many bytes fit: on a GPU over all of them together, as accelerate spreads a model."""
        room = sum(self.gpus) if device == "cuda" else self.ram or 0
        return needed <= ROOM * room

    def holds_offloaded(self, needed: int) -> bool:
        """Whether so many bytes fit on the GPUs and in main memory together."""
        return bool(self.gpus) and needed <= ROOM * (sum(self.gpus) + (self.ram or 0))


def this_machine() -> Machine:
    """Looks at this machine."""
    return Machine(available_memory(), _gpus())


def _gpus() -> tuple[int, ...]:
    """Bytes of each GPU that CUDA shows."""
    # Importing torch takes longer than all else: a machine without NVIDIA's tools has no such GPU.
    if sys.platform == "darwin" or shutil.which("nvidia-smi") is None:
        return ()
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(int(torch.cuda.get_device_properties(i).total_memory) for i in range(count))


@dataclass(frozen=True)
class Load:
    """What the model is to do.

    Attributes:
        tokens: of a prompt.
        prompts: of the sweep; it has `LAYERS_TIMES` settings a layer.
        batch: prompts of a training step.
        rank: of LoRA.
    """

    tokens: int = 192
    prompts: int = 50
    batch: int = 16
    rank: int = 8


@dataclass(frozen=True)
class Footprint:
    """Peak bytes of each phase, the program and the weights included.

    Attributes:
        device: whose memory.
        dtype: of the weights that aren't quantized.
        quantize: "4bit", "8bit" or None.
        weights: of the weights alone.
        loading: with what is loaded read once; what the system holds of the files can be dropped and is not counted.
        sweeping: in the engine's batches.
        training: with LoRA on all linear modules.
        training_full: of every matrix of the blocks; None where it is not possible.
    """

    device: Device
    dtype: str
    quantize: str | None
    weights: int
    loading: int
    sweeping: int
    training: int
    training_full: int | None

    def phases(self) -> dict[str, int]:
        """Bytes by phase, in the order in which they get larger as a rule."""
        return {name: value for name, value in asdict(self).items() if name in PHASES and value is not None}


PHASES = ("loading", "sweeping", "training", "training_full")


def footprint(
    shape: Shape, device: Device, dtype: str = "auto", quantize: str | None = None, load: Load | None = None
) -> Footprint:
    """What a model takes on one device, or on several of a kind together.

    Args:
        shape: the model's.
        device: "cpu" or "cuda".
        dtype: as `--dtype`.
        quantize: as `--quantize`.
        load: what it is to do.
    """
    load = load or Load()
    dtype = loaded_dtype(shape, device, dtype)
    size = BYTES[dtype]
    weights = _weights(shape, size, quantize)
    program = PROGRAM[device] + weights
    training = program + TRAINER[device] + _widened(shape, size, quantize)
    adapter = shape.blocks * load.rank * sum(inputs + outputs for inputs, outputs in shape.linears)
    kept = _kept(shape, size, load, checkpointing=quantize is not None and device == "cuda")
    full = None
    if quantize is None:
        # The difference, its gradient and Adam's two moments, and the identities, all in float32.
        identities = sum(min(sides) ** 2 for sides in shape.linears)
        inner = 4 * load.batch * load.tokens * sum(min(sides) for sides in shape.linears)
        full = round(training + 16 * shape.matrices + shape.blocks * (4 * identities + inner) + kept)
    return Footprint(
        device,
        dtype,
        quantize,
        weights=weights,
        loading=program,
        sweeping=program + _swept(shape, size, device, load),
        training=round(training + 16 * adapter + kept),
        training_full=full,
    )


def loaded_dtype(shape: Shape, device: Device, dtype: str) -> str:
    """The type of the weights that `--dtype` comes to."""
    if dtype != "auto":
        return dtype
    return "float32" if device == "cpu" or shape.dtype not in BYTES else shape.dtype


def _weights(shape: Shape, size: int, quantize: str | None) -> int:
    if quantize is None:
        return size * shape.parameters
    rest = size * (shape.parameters - shape.matrices)
    if quantize == "4bit":
        return rest + round(shape.matrices * (0.5 + ABSMAX))
    rows = shape.blocks * sum(outputs for _, outputs in shape.linears)
    return rest + shape.matrices + 4 * rows


def _widened(shape: Shape, size: int, quantize: str | None) -> int:
    """What training adds to a quantized model's other weights: they are widened to float32."""
    return 0 if quantize is None else (4 - size) * (shape.parameters - shape.matrices)


def _kept(shape: Shape, size: int, load: Load, checkpointing: bool) -> float:
    """Activations that a training step keeps for the backward pass: what norms, attention, MLP and LoRA read."""
    # Of attention its queries, keys, values and output, of the MLP both inner products and what becomes of them.
    narrow = 2 * shape.queries + 2 * shape.keys + 3 * shape.intermediate
    # Norms compute in float32, and LoRA casts what it reads where that is narrower: then each matrix keeps a copy.
    if size == 4:
        wide = 4 * shape.width + shape.intermediate
    else:
        wide = 2 * shape.width + sum(inputs for inputs, _ in shape.linears)
    token = size * narrow + 4 * wide
    blocks = 1 + size * shape.width * shape.blocks / token if checkpointing else shape.blocks
    return load.batch * load.tokens * token * blocks


def _swept(shape: Shape, size: int, device: Device, load: Load) -> int:
    """What the engine adds in its largest batch: prompts in a cache, their branches, and the branches' logits."""
    branches, budget = 1 + LAYERS_TIMES * shape.blocks, token_budget(device, shape.width)
    # As `engine.prompts` counts the memory of logits as tokens.
    each = load.tokens + branches * (2 + shape.vocabulary // (4 * shape.width))
    rows = min(load.prompts, max(1, budget // each))
    tail = min(2 * branches, MAX_BRANCH_TOKENS, budget)
    cache = rows * load.tokens * shape.blocks * 2 * shape.keys * size
    joined = rows * (load.tokens + tail) * 2 * shape.keys * size
    mask = 2 * rows * tail * (load.tokens + tail) * size
    hidden = rows * max(tail, load.tokens) * (3 * shape.intermediate + 3 * shape.width + 2 * shape.queries) * size
    # Logits are made in float32, piece by piece, from a copy of the output layer where that is narrower.
    copied = 0 if size == 4 else 4 * min(shape.vocabulary * shape.width, WIDENED)
    logits = copied + 12 * min(rows * tail // 2 * shape.vocabulary, LOGITS)
    return int(cache + mask + max(joined + hidden, logits))
