"""Tiny models with random weights, one of each family."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

VOCABULARY = 96
WINDOW = 6
"""Of sliding attention: shorter than the sequences."""

SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
BOTH_KINDS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_positions": 256,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "initializer_range": 0.2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

PACKABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SHAPE),
    "llama, tied": ("llama", {**SHAPE, "tie_word_embeddings": True}),
    "mistral": ("mistral", {**SHAPE, "sliding_window": None}),
    "mistral, sliding": ("mistral", {**SHAPE, "sliding_window": WINDOW}),
    "qwen2": ("qwen2", SHAPE),
    "qwen2, sliding": ("qwen2", {**SHAPE, **BOTH_KINDS, "use_sliding_window": True}),
    "qwen3": ("qwen3", SHAPE),
    "gemma2": ("gemma2", {**SHAPE, **BOTH_KINDS, "query_pre_attn_scalar": 8, "final_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", {**SHAPE, **BOTH_KINDS, "query_pre_attn_scalar": 8}),
    "phi3": ("phi3", {**SHAPE, "sliding_window": WINDOW, "partial_rotary_factor": 1.0}),
    "olmo2": ("olmo2", SHAPE),
    "gpt2": ("gpt2", GPT2),
    "granite": ("granite", {**SHAPE, "logits_scaling": 4.0, "residual_multiplier": 0.5}),
    "cohere2": ("cohere2", {**SHAPE, **BOTH_KINDS, "logit_scale": 0.25}),
}
"""Families whose attention takes trees: name → model type and configuration."""

EAGER_ONLY = ("gemma2",)
"""Families that transformers lets compute by no other attention."""

NOT_PACKABLE: dict[str, tuple[str, dict[str, Any]]] = {
    # Attention by distance in the row.
    "bloom": ("bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4,
                        "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
    # A state that runs along the row.
    "mamba": ("mamba", {"vocab_size": VOCABULARY, "hidden_size": 32, "state_size": 8, "num_hidden_layers": 2,
                        "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
}  # fmt: skip
"""Families that need each response in a row of its own."""


def build(family: str, attention: str = "sdpa", *, seed: int = 0) -> PreTrainedModel:
    """Return a model of a family in eval mode."""
    model_type, settings = (PACKABLE | NOT_PACKABLE)[family]
    torch.manual_seed(seed)
    config = AutoConfig.for_model(model_type, **settings)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
