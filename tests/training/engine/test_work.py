"""What a model's forward pass costs, by its shape."""

from __future__ import annotations

import pytest

from tests.training.engine.families import build
from training.engine.work import ATTENTION_RATE, estimate_work


@pytest.mark.parametrize("family", ["llama", "llama, tied"])
def test_a_token_costs_its_layers_matrices_and_attention_its_heads(family: str) -> None:
    # Two layers of hidden size 32, with 4 heads of 8 and 2 of keys and values, and 48 in between.
    attention, between = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 48
    weights = 2 * (attention + between)

    found = estimate_work(build(family)).attention

    # 2 operations a weight, against 4 a layer, head and dimension.
    assert found == pytest.approx(ATTENTION_RATE["cpu"] * (4 * 2 * 32) / (2 * weights))


def test_a_model_without_attention_has_none_to_pay_for() -> None:
    assert estimate_work(build("mamba", "eager")).attention == 0
