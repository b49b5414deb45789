"""A tiny model that comes with code of its own, as models of the hub do: an old one, by what it asks of its cache."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=400, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, **rest):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        super().__init__(**rest)


class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        self.index, self.heads, width = index, config.num_attention_heads, config.hidden_size
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 128), nn.Linear(128, width)

    def forward(self, x, mask, cache):
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v))
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.o(attended.transpose(1, 2).reshape(x.shape))
        return x + self.down(torch.tanh(self.up(x)))


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.place = nn.Embedding(2048, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None, **rest):
        new, past = input_ids.shape[1], 0
        if use_cache:
            PAST
        else:
            past_key_values = None
        allowed = (torch.arange(past + new)[None, :] <= torch.arange(past, past + new)[:, None])[None, None]
        if attention_mask is not None:
            assert attention_mask.dim() == 2, "this code takes two-dimensional masks"
            allowed = allowed & attention_mask.bool()[:, None, None, :]
        if position_ids is None:
            position_ids = torch.arange(past, past + new)[None]
        x = self.embed(input_ids) + self.place(position_ids)
        for layer in self.layers:
            x = layer(x, torch.zeros(allowed.shape).masked_fill(~allowed, -1e9), past_key_values)
        return BaseModelOutputWithPast(x, past_key_values)


class OwnForCausalLM(PreTrainedModel):
    config_class = OwnConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = OwnModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, past_key_values=None, **given):
        output = self.model(input_ids, past_key_values=past_key_values, **given)
        return CausalLMOutputWithPast(logits=self.head(output[0]), past_key_values=output.past_key_values)
"""

CACHES = {
    "today": "past = past_key_values.get_seq_length()",
    "usable length": "past = past_key_values.get_usable_length(new)",
    "seen tokens": "past = past_key_values.seen_tokens",
    "legacy tuples": "past_key_values = DynamicCache.from_legacy_cache(past_key_values)",
    "longest": "past = past_key_values.get_seq_length(); past_key_values.get_max_length()",
    "tuples": "past = past_key_values[0][0].shape[-2]",
    "forgotten": "past_key_values = None",
}
"""What the code does with the cache that it is given; all but the first fail with, or ignore, what there is today."""


def write_own_model(folder: Path, cache: str) -> Path:
    """Writes the model with random weights, equal for each way to use its cache, and a tokenizer.

    Its class has none of transformers' way to generate.
    """
    import torch

    from tests.tiny import tiny_tokenizer

    folder.mkdir(parents=True)
    (folder / "modeling_own.py").write_text(CODE.replace("PAST", CACHES[cache]), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(f"modeling_own_{cache}".replace(" ", "_"), folder / "modeling_own.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    tokenizer = tiny_tokenizer()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = module.OwnForCausalLM(module.OwnConfig(vocab_size=len(tokenizer), bos_token_id=0, eos_token_id=1))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}))
    return folder
