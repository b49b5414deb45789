"""Tiny random models of the families that transformers brings: their configurations, and how they are made."""

from __future__ import annotations

from typing import Any

from tests.tiny import ATTENTION, SHAPE, SPECIAL, tiny_tokenizer

WIDE = {**SHAPE, **ATTENTION}
MANY = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16}
SOME = {"n_routed_experts": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1}
FOUR = {**LATENT, "num_key_value_heads": 4}
INDEXED = {"index_n_heads": 32, "index_head_dim": 16, "index_topk": 8}
"""Of few heads many scores are exactly 0, and which of their tokens attention takes differs with a pass's shape."""

MAMBA = {"state_size": 16, "chunk_size": 16}
MAMBA_PARTS = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_chunk_size": 16}
LINEAR = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "head_dim": 16,
    "layer_types": ["linear_attention", "linear_attention", "full_attention", "linear_attention"],
}
EVERY_OTHER = ["linear_attention", "full_attention"] * 2
WINDOWS = ["sliding_attention", "full_attention"] * 2

TEXT: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
    "gemma": {"head_dim": 16},
    "gemma2": {"head_dim": 16, "sliding_window": 16},
    "gemma3_text": {"head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
    "gemma4_text": {
        **{"head_dim": 16, "global_head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
        **{"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8},
    },
    "gemma3n_text": {
        **{"head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS, "num_kv_shared_layers": 0},
        **{"vocab_size_per_layer_input": 400, "hidden_size_per_layer_input": 8, "laurel_rank": 8},
        "activation_sparsity_pattern": [0.0] * 4,
    },
    "phi": {},
    "phi3": {},
    "gpt2": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 64},
    "gpt_neox": {},
    "gptj": {"rotary_dim": 8},
    "gpt_bigcode": {},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16, "sliding_window": 16},
    "opt": {"word_embed_proj_dim": 64, "ffn_dim": 128, "dropout": 0.0},
    "bloom": {},
    "mpt": {"d_model": 64, "n_heads": 4, "n_layers": 4, "expansion_ratio": 2, "max_seq_len": 2048},
    "falcon": {"num_kv_heads": 2, "new_decoder_architecture": True},
    "codegen": {"rotary_dim": 8},
    "starcoder2": {"sliding_window": 16},
    "stablelm": {},
    "olmo": {},
    "olmo2": {},
    "olmo3": {"sliding_window": 16, "layer_types": WINDOWS},
    "cohere": {},
    "cohere2": {"sliding_window": 16, "layer_types": WINDOWS, "head_dim": 16},
    "glm": {"head_dim": 16},
    "glm4": {"head_dim": 16},
    "granite": {},
    "nemotron": {},
    "smollm3": {"no_rope_layers": [1, 0, 1, 0]},
    "exaone4": {"sliding_window": 16, "layer_types": WINDOWS},
    "ernie4_5": {"head_dim": 16},
    "helium": {"head_dim": 16},
    "seed_oss": {"head_dim": 16},
    "apertus": {},
    "arcee": {},
    "hunyuan_v1_dense": {"head_dim": 16},
    "ministral": {"head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
    "ministral3": {"head_dim": 16},
    "nanochat": {},
    "persimmon": {},
    "biogpt": {},
    "bitnet": {},
    "diffllama": {},
    "minicpm3": {**LATENT, "num_key_value_heads": 4},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**MANY, "shared_expert_intermediate_size": 32},
    "qwen3_moe": {**MANY, "head_dim": 16},
    "granitemoe": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmoe": MANY,
    "phimoe": {"num_local_experts": 4},
    "glm4_moe": {**MANY, "n_routed_experts": 4, "head_dim": 16, "first_k_dense_replace": 1},
    "deepseek_v2": {**MANY, **LATENT, "n_routed_experts": 4, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4},
    "deepseek_v3": {**MANY, **LATENT, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_key_value_heads": 4},
    "doge": {},
    "afmoe": MANY,
    "exaone_moe": MANY,
    "solar_open": MANY,
    "zaya": {},
    "deepseek_v32": {**MANY, **FOUR, **INDEXED, "n_routed_experts": 4, "n_group": 2, "topk_group": 1},
    "glm_moe_dsa": {**MANY, **FOUR, **INDEXED, "n_routed_experts": 4, "n_group": 1, "topk_group": 1},
    "llama4_text": {
        **{"num_local_experts": 4, "num_experts_per_tok": 1, "head_dim": 16, "intermediate_size_mlp": 64},
        **{"attention_chunk_size": 16, "no_rope_layers": [1, 0, 1, 0]},
    },
    "dots1": {
        **MANY,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
        "head_dim": 16,
        "first_k_dense_replace": 1,
    },
    "ernie4_5_moe": {**MANY, "moe_num_experts": 4, "moe_k": 2},
    "minimax_m2": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16, "rotary_dim": 16},
    "openai-gpt": {},
    "ctrl": {"dff": 128},
    "xglm": {"ffn_dim": 128, "dropout": 0.0},
    "gpt_neox_japanese": {},
    "internlm3": {"head_dim": 16},
    "exaone": {},
    "cwm": {"head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
    "vaultgemma": {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 16},
    "gemma4_unified_text": {"head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
    "modernbert-decoder": {"pad_token_id": 1, "local_attention": 16, "cls_token_id": 0, "sep_token_id": 1},
    "granite_swa": {"sliding_window": 16, "layer_types": WINDOWS},
    "hyperclovax": {},
    "iquestcoder": {"head_dim": 16},
    "jais2": {},
    "youtu": FOUR,
    "aria_text": {"moe_num_experts": 4, "moe_topk": 2, "head_dim": 16},
    "axk1": {**MANY, **FOUR, **SOME},
    "cohere2_moe": {
        **{"num_experts": 4, "num_experts_per_tok": 2, "head_dim": 16},
        **{"sliding_window": 16, "layer_types": WINDOWS},
    },
    "flex_olmo": {"num_experts": 4, "num_experts_per_tok": 2},
    "flint": {
        **{**MANY, "shared_expert_intermediate_size": 32, "head_dim": 16},
        **{"sliding_window": 16, "layer_types": WINDOWS},
    },
    "granitemoeshared": {"num_local_experts": 4, "num_experts_per_tok": 2, "shared_intermediate_size": 32},
    "hy_v3": {**MANY, "head_dim": 16, "num_shared_experts": 1},
    "jetmoe": {"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 16},
    "mellum": {**MANY, "num_local_experts": 4, "head_dim": 16, "sliding_window": 16, "layer_types": WINDOWS},
    "mimo_v2_flash": {
        **{**MANY, **SOME, "head_dim": 24, "v_head_dim": 16},
        **{"sliding_window": 16, "layer_types": WINDOWS},
    },
    "minimax_m3_vl_text": {
        **{"head_dim": 16, "num_experts_per_tok": 2, "num_local_experts": 4, "dense_intermediate_size": 64},
        **{"shared_intermediate_size": 32, "rotary_dim": 8, "index_n_heads": 2, "index_head_dim": 16},
        **{"index_block_size": 8, "index_topk_blocks": 2},
    },
    "sarvam_moe": {**MANY, **SOME, "head_dim": 16},
    "laguna": {
        **{**MANY, "head_dim": 16, "shared_expert_intermediate_size": 32},
        **{"sliding_window": 16, "layer_types": WINDOWS},
    },
    "mamba": MAMBA,
    "mamba2": {**MAMBA, "num_heads": 8, "head_dim": 16, "n_groups": 1},
    "falcon_mamba": MAMBA,
    "recurrent_gemma": {"lru_width": 64, "attention_window_size": 16},
    "qwen3_next": {**MANY, **LINEAR, "shared_expert_intermediate_size": 32},
    "qwen3_5_text": LINEAR,
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 16},
    "lfm2_moe": {**MANY, "layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 2},
    "falcon_h1": {**MAMBA_PARTS, "mamba_d_ssm": 128},
    "jamba": {
        **{"num_experts": 4, "attn_layer_period": 2, "attn_layer_offset": 1, "use_mamba_kernels": False},
        **{"mamba_d_state": 16, "mamba_dt_rank": 4},
    },
    "granitemoehybrid": {
        **MAMBA_PARTS,
        **{"layer_types": EVERY_OTHER, "num_local_experts": 4, "shared_intermediate_size": 32},
    },
    "bamba": {**MAMBA_PARTS, "attn_layer_indices": [1, 3]},
    "zamba": {
        **{"layers_block_type": ["linear_attention", "hybrid"] * 2, "use_mamba_kernels": False, "mamba_dt_rank": 4},
    },
    "zamba2": {
        **{"layers_block_type": ["linear_attention", "hybrid"] * 2, "use_mamba_kernels": False, "adapter_rank": 8},
        **{"mamba_d_state": 16, "chunk_size": 16},
    },
    "nemotron_h": {
        **{"layers_block_type": ["linear_attention", "mlp", "full_attention", "moe"], "head_dim": 16, "n_groups": 1},
        **{"ssm_state_size": 16, "mamba_num_heads": 8, "mamba_head_dim": 16, "chunk_size": 16, "n_routed_experts": 4},
        **{"moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32, "use_mamba_kernels": False},
    },
    "minimax": {"head_dim": 16, "layer_types": EVERY_OTHER, "num_local_experts": 4, "block_size": 8},
    "kimi_linear": {
        **{**LATENT, "q_lora_rank": None, **MANY, "num_local_experts": 4, "num_key_value_heads": 4},
        **{"layer_types": EVERY_OTHER, "mlp_layer_types": ["dense", "sparse"] * 2},
        **{"linear_head_dim": 16, "linear_num_heads": 4},
    },
    "olmo_hybrid": {**LINEAR},
    "qwen3_5_moe_text": {**MANY, **LINEAR, "shared_expert_intermediate_size": 32},
    "lfm3": {
        **{"head_dim": 16, "sliding_window": 16},
        "layer_types": ["conv", "full_attention", "conv", "sliding_attention"],
    },
    "bailing_hybrid": {
        **{**MANY, **FOUR, **SOME, "num_expert_group": 1, "num_experts_per_token": 2},
        **{"layer_types": EVERY_OTHER, "linear_head_dim": 16, "linear_num_heads": 4},
    },
    "rwkv": {"attention_hidden_size": 64, "context_length": 2048},
    # Its kernels round to bfloat16 unless told not to.
    "xlstm": {
        **{"num_blocks": 4, "num_heads": 4, "chunk_size": 16, "qk_dim_factor": 1.0},
        "autocast_kernel_dtype": "float32",
    },
    "hy_v4": {**MANY, **FOUR, **SOME, "index_topk": 16, "index_head_dim": 16, "index_n_heads": 2, "hc_mult": 2},
    "cpmant": {"dim_head": 16, "dim_ff": 128},
    "roberta": {"is_decoder": True, "pad_token_id": 1},
    "bart": {"d_model": 64, "encoder_layers": 2, "decoder_layers": 4, "decoder_ffn_dim": 128},
    "bert": {"is_decoder": True},
    "t5": {"d_model": 64, "d_kv": 16, "num_layers": 4, "num_heads": 4, "d_ff": 128},
}
"""Families that read text, by `model_type`, and their sizes where `SHAPE` and `ATTENTION` don't say them."""

VISION = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {"depth": 4, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
SECTIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}

IMAGES: dict[str, dict[str, Any]] = {
    "gemma3": {"text": {"model_type": "gemma3_text", **TEXT["gemma3_text"]}, "mm_tokens_per_image": 4},
    "mistral3": {"text": {"model_type": "mistral", "head_dim": 16, "sliding_window": None}, "vision": {"head_dim": 16}},
    "qwen2_vl": {
        "text": {"rope_parameters": SECTIONS},
        "vision": {**QWEN_VISION, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2},
    },
    "qwen2_5_vl": {
        "text": {"rope_parameters": SECTIONS},
        "vision": {**QWEN_VISION, "fullatt_block_indexes": [3]},
    },
    "qwen3_vl": {
        "text": {"head_dim": 16, "rope_parameters": {**SECTIONS, "mrope_interleaved": True}},
        "vision": {**QWEN_VISION, "deepstack_visual_indexes": [1], "num_position_embeddings": 16},
    },
    "qwen3_5": {
        "text": {**LINEAR, "rope_parameters": {**SECTIONS, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.25}},
        "vision": {**QWEN_VISION, "num_position_embeddings": 16},
    },
    "llava": {"text": {"model_type": "llama"}},
    "llava_next": {"text": {"model_type": "llama"}, "image_grid_pinpoints": [[28, 28]]},
    "llava_onevision": {"text": {"model_type": "qwen2"}, "image_grid_pinpoints": [[28, 28]]},
    "llama4": {
        "text": {"model_type": "llama4_text", **TEXT["llama4_text"]},
        "vision": {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
    },
    "idefics3": {"text": {"model_type": "llama"}},
    "smolvlm": {"text": {"model_type": "llama"}},
    "internvl": {"text": {"model_type": "qwen2"}, "vision": {"image_size": [28, 28], "patch_size": [14, 14]}},
    "paligemma": {"text": {"model_type": "gemma2", **TEXT["gemma2"]}, "projection_dim": 64},
    "aya_vision": {"text": {"model_type": "cohere2", **TEXT["cohere2"]}},
    "glm4v": {"text": {"rope_parameters": SECTIONS, "head_dim": 16}, "vision": QWEN_VISION},
    "lfm2_vl": {"text": {"model_type": "lfm2", **TEXT["lfm2"]}, "vision": {"num_patches": 4}},
    "gemma4": {
        "text": {"model_type": "gemma4_text", **TEXT["gemma4_text"], "pad_token_id": 0},
        "vision": {"model_type": "gemma4_vision", "head_dim": 16, "num_key_value_heads": 2},
    },
    "mllama": {
        "text": {"cross_attention_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        "vision": {"attention_heads": 2, "num_global_layers": 1, "vision_output_dim": 64},
    },
}
"""Image-text families: the sizes of their text part, their vision tower, and of the whole."""

WEIGHT = 0.15
"""Standard deviation of the matrices' weights: larger than usual, so that prompts and edits make a difference."""


def tiny_config(name: str) -> Any:
    """The configuration of a family's tiny model."""
    from transformers import CONFIG_MAPPING, AutoConfig

    if name in TEXT:
        return AutoConfig.for_model(name, **_sizes(name, TEXT[name]))
    parts = dict(IMAGES[name])
    whole = AutoConfig.for_model(name)
    text, vision = parts.pop("text"), parts.pop("vision", {})
    text = {**_sizes(text.get("model_type", whole.text_config.model_type), text)}
    kind = vision.get("model_type") or whole.vision_config.model_type
    tower = {"model_type": kind, **_fitting(CONFIG_MAPPING[kind], VISION), **vision}
    return AutoConfig.for_model(name, text_config=text, vision_config=tower, **parts)


def _sizes(kind: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """A family's own sizes, with those that all have under the names that this one knows."""
    from transformers import CONFIG_MAPPING

    usual = {**WIDE, **SPECIAL, "vocab_size": len(tiny_tokenizer())}
    return {**_fitting(CONFIG_MAPPING[kind], usual), **sizes}


def _fitting(kind: Any, sizes: dict[str, Any]) -> dict[str, Any]:
    return {name: size for name, size in sizes.items() if hasattr(kind, name) or name in kind.attribute_map}


def tiny_model(name: str) -> Any:
    """A random model of a family, in evaluation mode, of the class that such a checkpoint is saved from."""
    import torch
    import transformers

    config = tiny_config(name)
    kind = transformers.AutoModelForImageTextToText if name in IMAGES else transformers.AutoModelForCausalLM
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else kind
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = kind.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1 or not parameter.any():
                parameter.normal_(0, WEIGHT)
    return model.eval()
