"""What of a model decides the memory and time of training it, from its configuration alone.

The model is built on PyTorch's meta device, where tensors have shapes but no content, and passed through once, to count
what automatic differentiation keeps for the backward pass: exact for any architecture, and done in about a second.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import repeat_kv

from training.engine.methods import ModelSpec, ParametersSpec
from training.engine.models import load_config
from training.engine.parameters import with_adapters
from training.engine.refusal import Refused
from training.engine.work import estimate_work, layer_weights

COUNTED = {True: "counted with a mask", False: "counted"}
"""Names of the attention that is only counted, by whether it has a mask."""
_WIDTH = 64


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model and its adapters."""

    layers: int
    hidden: int
    vocabulary: int
    heads: int
    """Attention heads of a layer."""
    body: int
    """Parameters without the head's."""
    head: int
    """Parameters that only the head has: 0 if it shares the input embeddings."""
    matrices: int
    """Weights of the matrices that each token is multiplied by, the head's apart: they are what qlora quantizes."""
    adapters: int
    """Parameters of the adapters, 0 without."""
    attention: float
    """Cost of attending from one position to one other, see `training.engine.packing.Work`."""
    kept: int
    """Bytes a token that the layers keep for the backward pass, with a mask; the mask itself is left out."""
    kept_plain: int
    """The same without a mask: keys and values of grouped heads are not repeated then."""
    materialises_attention: bool
    """Whether attention keeps its weights, heads · width² of them (transformers' ``eager``)."""


def shape_of(model: ModelSpec, parameters: ParametersSpec, dtype: torch.dtype) -> ModelShape:
    """Return the sizes of a model with what is trained of it.

    Args:
        model: only its configuration is read.
        parameters: decides adapters, and what must be kept for their gradients.
        dtype: that of the computation.

    Raises:
        Refused: transformers knows no causal language model of this architecture, or an adapter does not fit it.
        Unavailable: as `training.engine.models.load_config`.
    """
    _register()
    config = load_config(model)
    try:
        with torch.device("meta"):
            network: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except ValueError as error:
        raise Refused(f"The model {model.base} cannot be trained: {error}") from error
    text = network.config.get_text_config()
    table = network.get_input_embeddings().weight
    head = network.get_output_embeddings().weight
    size = sum(parameter.numel() for parameter in network.parameters())
    own_head = 0 if head is table else head.numel()
    matrices, work = layer_weights(network), estimate_work(network)
    eager = network.config._attn_implementation == "eager"
    if parameters.kind == "qlora":
        parameters = dataclasses.replace(parameters, kind="lora")
    try:
        with torch.device("meta"):
            trained: Any = with_adapters(network, parameters, "CAUSAL_LM")
    except ValueError as error:  # PEFT knows layers of some architectures that cannot have adapters
        raise Refused(f"`method.parameters`: {error}") from error
    trained.to(dtype)
    return ModelShape(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=head.shape[0],
        heads=getattr(text, "num_attention_heads", None) or 0,
        body=size - own_head,
        head=own_head,
        matrices=matrices,
        adapters=sum(parameter.numel() for parameter in trained.parameters()) - size,
        attention=work.attention,
        kept=_kept(network, masked=True),
        kept_plain=_kept(network, masked=False),
        materialises_attention=eager,
    )


def kept_by_formula(layers: int, hidden: int, dtype: torch.dtype) -> int:
    """Return about how many bytes a token a transformer's layers keep: 17 numbers a layer and hidden dimension
    (Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", equation 2: 34 bytes at
    16 bits, its attention term apart, which is not kept by fused attention)."""
    return 17 * layers * hidden * dtype.itemsize


def _kept(network: Any, *, masked: bool) -> int:
    """Return bytes a token kept by a forward pass of the layers; by formula if the architecture cannot be passed
    through without content (some experts are chosen by it)."""
    ids = torch.zeros(1, _WIDTH, dtype=torch.long, device="meta")
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    storages: dict[int, Any] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage  # held, so that no other gets its address
        return tensor

    try:
        network.set_attn_implementation(COUNTED[masked])
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            network.base_model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    except (RuntimeError, ValueError, NotImplementedError, TypeError, AttributeError, KeyError):
        text = network.config.get_text_config()
        return kept_by_formula(text.num_hidden_layers, text.hidden_size, network.dtype)
    sizes = (storage.nbytes() for address, storage in storages.items() if address not in parameters)
    return sum(sizes) // _WIDTH


def _register() -> None:
    for masked, name in COUNTED.items():
        AttentionInterface.register(name, partial(_counted_attention, masked=masked))
        AttentionMaskInterface.register(name, lambda *args, **options: None)


def _counted_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *args: Any,
    masked: bool,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    if masked:
        # transformers repeats grouped keys and values where there is a mask, see its `use_gqa_in_sdpa`.
        groups = query.shape[1] // key.shape[1]
        key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    output: torch.Tensor = _FusedAttention.apply(query, key, value)
    return output, None


class _FusedAttention(torch.autograd.Function):
    """What fused attention keeps: its inputs and its output (Dao et al. 2022, "FlashAttention", algorithm 4)."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        rows, heads, width, _ = query.shape
        output = query.new_empty(rows, width, heads, value.shape[3])
        ctx.save_for_backward(query, key, value, output)
        return output
