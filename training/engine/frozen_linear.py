"""Products with frozen weights in 16 bits, on a CPU whose cores multiply those faster than 32.

Weights lie in bfloat16; what flows between layers, norms, attention, adapters and the head stay in float32. A product's
inputs are rounded to 8 bits of mantissa and its sums are in float32, as autocast does on a GPU. It halves the memory of
the base.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


class FrozenLinear(nn.Linear):
    """A linear layer whose weight is not trained and lies in bfloat16; input and output are float32."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return input · Wᵀ + b."""
        product: torch.Tensor = _Product.apply(input, self.weight)
        return product if self.bias is None else product + self.bias


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return nn.functional.linear(inputs.to(weight.dtype), weight).to(inputs.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        return (gradient.to(weight.dtype) @ weight).to(gradient.dtype), None


def freeze_in_half(network: PreTrainedModel) -> None:
    """Freeze the linear layers of a causal language model and put them into bfloat16, but for the head, whose weights
    are often those of the embeddings. To be called before adapters are put around them."""
    head = network.get_output_embeddings()
    for module in network.modules():
        if type(module) is nn.Linear and module is not head:
            module.weight = nn.Parameter(module.weight.to(torch.bfloat16), requires_grad=False)
            module.__class__ = FrozenLinear
