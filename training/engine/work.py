"""What a model's forward pass costs, by its shape."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from training.engine.packing import Work

ATTENTION_RATE = {"cpu": 0.75, "cuda": 1.0}
"""Time of an operation of attention with a mask, in that of an operation of a matrix product. On a CPU at the upper end
of what timings of trees against separate sequences gave (0.4 to 0.75, SmolLM2 on two cores), so that a doubtful tree
is not taken; `make bench-training` shows whether it holds. On a GPU a guess."""


def estimate_work(network: PreTrainedModel) -> Work:
    """Return the costs of a model: a token's pass through its layers is 2 operations a weight; attending from one
    position to another, 4 a layer, head and dimension (Kaplan et al. 2020, table 1)."""
    config = network.config.get_text_config()
    # State-space models have no heads, and nothing in them grows with the square of a row's width.
    heads = getattr(config, "num_attention_heads", None) or 0
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // max(heads, 1))
    rate = ATTENTION_RATE.get(network.device.type, 1.0)
    return Work(attention=rate * 2 * config.num_hidden_layers * width / max(layer_weights(network), 1))


def layer_weights(network: PreTrainedModel) -> int:
    """Return how many weights the matrices have that each token is multiplied by; embeddings and head are left out."""
    tables = {
        id(layer.weight)
        for layer in (network.get_input_embeddings(), network.get_output_embeddings())
        if layer
    }
    return sum(
        parameter.numel() * (2 if parameter.dtype == torch.uint8 else 1)  # 4-bit weights lie in pairs
        for parameter in network.parameters()
        if parameter.dim() == 2 and id(parameter) not in tables
    )
