"""The sizes of a model, counted from config.json.

Importing transformers takes longer than an answer may: the families below are counted by arithmetic, and only what is
not among them is built, without weights, on the meta device.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparisons.model.checks import check_quantize, stored_quantization
from comparisons.model.classes import each_layer
from comparisons.model.explaining import explained
from comparisons.model.lm import blocks_at, find_blocks
from comparisons.model.loading import model_without_weights
from comparisons.model.source import GGUF, ModelSource
from comparisons.util.errors import CompareError


@dataclass(frozen=True)
class Shape:
    """What memory depends on.

    Attributes:
        parameters: all of them.
        linears: (inputs, outputs) of each linear module of a block, in ascending order: what is quantized, adapted and
            finetuned.
        blocks: decoder blocks.
        width: of the residual stream.
        queries: width of a token's queries, over all heads.
        keys: width of a token's keys, over all heads; its values are as wide.
        intermediate: width inside the MLP that a token goes through, over all experts that it is sent to.
        vocabulary: tokens.
        dtype: of the checkpoint's weights.
        stored: how they are quantized in the checkpoint, as "gptq 4bit"; None where they aren't. What is counted is the
            model that they stand for.
    """

    parameters: int
    linears: tuple[tuple[int, int], ...]
    blocks: int
    width: int
    queries: int
    keys: int
    intermediate: int
    vocabulary: int
    dtype: str
    stored: str | None = None

    @property
    def matrices(self) -> int:
        """Weights of the blocks' linear modules."""
        return self.blocks * sum(inputs * outputs for inputs, outputs in self.linears)


@dataclass(frozen=True)
class Family:
    """What a family has beside the matrices of attention and MLP.

    Attributes:
        norms: vectors of the residual stream's width that the norms of a block have.
        final: the same of the last norm.
        qkv_bias: whether queries, keys and values have one; None where `attention_bias` says so, of all four.
        mlp_bias: whether the MLP has biases where `mlp_bias` says so.
        head_norms: whether each head's queries and keys are normed.
        whole_norms: whether all heads' queries and keys are normed as one vector.
        fused: whether queries, keys and values, and the MLP's gate and input, are one matrix each.
        tied: whether head and embeddings are one matrix where the configuration doesn't say.
        sliced: whether a head's size is width / heads where the configuration doesn't say.
    """

    norms: int = 2
    final: int = 1
    qkv_bias: bool | None = False
    mlp_bias: bool = False
    head_norms: bool = False
    whole_norms: bool = False
    fused: bool = False
    tied: bool = False
    sliced: bool = False


FAMILIES = {
    "llama": Family(qkv_bias=None, mlp_bias=True, sliced=True),
    "mistral": Family(sliced=True),
    "qwen2": Family(qkv_bias=True, sliced=True),
    "qwen3": Family(qkv_bias=None, head_norms=True),
    "gemma2": Family(norms=4, qkv_bias=None, tied=True),
    "gemma3_text": Family(norms=4, qkv_bias=None, head_norms=True, tied=True),
    "phi3": Family(fused=True, sliced=True),
    "olmo2": Family(qkv_bias=None, whole_norms=True, sliced=True),
    "mixtral": Family(sliced=True),
}
"""Families with a gated MLP and root mean square norms, by `model_type`."""

PLAIN = ("gpt2", "gpt_neox")
"""Families with biases everywhere, layer norms and an MLP of two matrices."""

EXPERTS = "num_local_experts"


def read_shape(source: ModelSource) -> Shape:
    """The shape of a model; of one on the hub nothing but config.json is fetched.

    Raises:
        CompareError: there is no such model, its configuration can't be read, or it is to be quantized twice.
    """
    config = read_config(source)
    check_quantize(source.name, source.quantize, config)
    try:
        shape = count(config)
    except (KeyError, TypeError, ZeroDivisionError):
        shape = measure(model_without_weights(source), source.blocks, _dtype(config))
    return replace(shape, stored=stored_quantization(config))


def read_config(source: ModelSource) -> dict[str, Any]:
    """What config.json says.

    Raises:
        CompareError: there is no such model, or no such file that is JSON.
    """
    path = Path(source.location(whole=False))
    if path.suffix == GGUF:
        config: dict[str, Any] = model_without_weights(source).config.to_dict()
        return config
    if not path.is_dir():
        from huggingface_hub import hf_hub_download

        try:
            path = Path(hf_hub_download(source.name, "config.json"))
        except Exception as error:
            raise explained(source.name, error) from error
    else:
        path = path / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompareError(f"can't read the configuration of {source.name}, {path}: {error}") from error
    if not isinstance(config, dict):
        raise CompareError(f"the configuration of {source.name}, {path}, is no JSON object: take it from its source.")
    return config


def count(config: Mapping[str, Any]) -> Shape:
    """The shape of a model of a known family.

    Raises:
        KeyError: the family is not known, or the configuration leaves open what it must say.
    """
    kind = config["model_type"]
    return _plain(config) if kind in PLAIN else _gated(config, FAMILIES[kind])


def _dtype(config: Mapping[str, Any]) -> str:
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _gated(config: Mapping[str, Any], family: Family) -> Shape:
    width, blocks, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    heads, vocabulary = config["num_attention_heads"], config["vocab_size"]
    head = config.get("head_dim") or (width // heads if family.sliced else config["head_dim"])
    queries, keys = heads * head, config["num_key_value_heads"] * head
    experts = config.get(EXPERTS, 0)
    attention = [(width, queries), (width, keys), (width, keys)]
    mlp = [(width, inner), (width, inner)]
    if family.fused:
        attention, mlp = [(width, queries + 2 * keys)], [(width, 2 * inner)]
    everywhere = family.qkv_bias is None and bool(config.get("attention_bias"))
    extra = family.norms * width
    extra += (queries + 2 * keys) * (bool(family.qkv_bias) or everywhere) + width * everywhere
    extra += (2 * inner + width) * (family.mlp_bias and bool(config["mlp_bias"]))
    extra += 2 * head * family.head_norms + (queries + keys) * family.whole_norms
    # Experts are kept as two tensors a block, not as modules, so nothing quantizes or adapts them.
    extra += experts * (3 * width * inner + width)
    linears = sorted([*attention, (queries, width), *([] if experts else [*mlp, (inner, width)])])
    weights = blocks * (extra + sum(i * o for i, o in linears)) + family.final * width
    return Shape(
        weights + _ends(config, vocabulary * width, family.tied),
        tuple(linears),
        blocks,
        width,
        queries,
        keys,
        inner * (config["num_experts_per_tok"] if experts else 1),
        vocabulary,
        _dtype(config),
    )


def _plain(config: Mapping[str, Any]) -> Shape:
    if config["model_type"] == "gpt2":
        width, blocks, positions = config["n_embd"], config["n_layer"], config["n_positions"]
        inner, tied = config.get("n_inner") or 4 * width, True
    else:
        width, blocks, positions = config["hidden_size"], config["num_hidden_layers"], 0
        inner, tied = config["intermediate_size"], False
    vocabulary, bias = config["vocab_size"], config.get("attention_bias", True)
    linears = tuple(sorted([(width, 3 * width), (width, width), (width, inner), (inner, width)]))
    extra = 4 * width + 4 * width * bool(bias) + inner + width
    weights = blocks * (extra + sum(i * o for i, o in linears)) + 2 * width + positions * width
    total = weights + _ends(config, vocabulary * width, tied)
    return Shape(total, linears, blocks, width, width, width, inner, vocabulary, _dtype(config))


def _ends(config: Mapping[str, Any], embeddings: int, tied: bool) -> int:
    """Weights of embeddings and head."""
    return embeddings if config.get("tie_word_embeddings", tied) else 2 * embeddings


def measure(model: Any, path: str | None, dtype: str) -> Shape:
    """The shape of a model that has been built, on whatever device; its first block stands for all.

    Args:
        model: of transformers.
        path: of the blocks, where it can't be found.
        dtype: of the checkpoint's weights.
    """
    import torch
    from transformers.pytorch_utils import Conv1D

    config, blocks = each_layer(model.config.get_text_config())[0], blocks_at(model, path or find_blocks(model))
    linears = [m for m in blocks[0].modules() if isinstance(m, (torch.nn.Linear, Conv1D))]
    sides = [tuple(m.weight.shape) if isinstance(m, Conv1D) else tuple(m.weight.shape)[::-1] for m in linears]
    # A recurrent family may have no attention, and MLPs may be of several widths.
    heads = getattr(config, "num_attention_heads", None) or 0
    head = getattr(config, "head_dim", None) or config.hidden_size // max(1, heads)
    inner = getattr(config, "intermediate_size", None) or max((max(s) for s in sides), default=4 * config.hidden_size)
    inner = inner if isinstance(inner, int) else max(inner)
    return Shape(
        sum(p.numel() for p in model.parameters()),
        tuple(sorted((inputs, outputs) for inputs, outputs in sides)),
        len(blocks),
        config.hidden_size,
        heads * head,
        (getattr(config, "num_key_value_heads", None) or heads) * head,
        inner * (getattr(config, "num_experts_per_tok", None) or 1),
        model.get_input_embeddings().weight.shape[0],
        dtype,
    )
