"""Products with frozen weights in 16 bits differ from those in 32 by rounding alone."""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model

from tests.training.engine.families import build
from training.engine.frozen_linear import FrozenLinear, freeze_in_half


def test_outputs_and_gradients_are_rounded_and_no_more() -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(64, 48)
    half = torch.nn.Linear(64, 48)
    half.load_state_dict(plain.state_dict())
    half.weight = torch.nn.Parameter(half.weight.to(torch.bfloat16), requires_grad=False)
    half.__class__ = FrozenLinear
    inputs = [torch.randn(10, 64, requires_grad=True)]
    inputs.append(inputs[0].detach().clone().requires_grad_())
    weights = torch.randn(10, 48)

    outputs = [layer(each) for layer, each in zip((plain, half), inputs, strict=True)]
    for output in outputs:
        (output * weights).sum().backward()

    for exact, rounded in (outputs, [each.grad for each in inputs]):
        assert rounded.dtype == torch.float32
        assert (rounded - exact).norm() / exact.norm() < 2**-7
        assert not torch.equal(rounded, exact)


def test_adapters_around_them_learn_and_the_head_stays_as_it_is() -> None:
    network = build("llama, tied")
    exact = build("llama, tied")
    freeze_in_half(network)
    ids = torch.arange(20)[None] + 5

    with torch.no_grad():
        gap = (network(ids).logits - exact(ids).logits).norm() / exact(ids).logits.norm()
    assert 0 < gap < 0.05
    assert network.get_output_embeddings().weight.dtype == torch.float32

    adapted = get_peft_model(network, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = [p for name, p in adapted.named_parameters() if "lora_B" in name]
    assert trained and all(p.dtype == torch.float32 for p in trained)
    adapted(ids).logits.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.ne(0).any()) for p in trained)
