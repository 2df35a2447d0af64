"""Scores of tokens without a table of logits are those with one, and so are their gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from training.engine import token_scores
from training.engine.token_scores import Head, token_log_probs

HIDDEN, VOCABULARY = 8, 40
KINDS = {
    "plain": {},
    "bias": {"bias": True},
    "softcap": {"softcap": 2.0},
    "scale": {"scale": 0.25},
    "all": {"bias": True, "softcap": 2.0, "scale": 3.0},
}


def head_and_data(
    positions: int, *, trained: bool, bias: bool = False, softcap: float | None = None, scale: float = 1.0
) -> tuple[Head, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(VOCABULARY, HIDDEN, generator=random).requires_grad_(trained)
    bias_V = torch.randn(VOCABULARY, generator=random).requires_grad_(trained) if bias else None
    hidden = torch.randn(positions, HIDDEN, generator=random, requires_grad=True)
    targets = torch.randint(VOCABULARY, (positions,), generator=random)
    return Head(weight, bias_V, scale, softcap), hidden, targets


def with_a_table(hidden: torch.Tensor, head: Head, targets: torch.Tensor) -> torch.Tensor:
    logits = hidden @ head.weight_VD.T
    if head.bias_V is not None:
        logits = logits + head.bias_V
    logits = logits * head.scale
    if head.softcap is not None:
        logits = head.softcap * torch.tanh(logits / head.softcap)
    return logits.log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize("positions", [1, 7, 8, 9, 30])
def test_scores_and_gradients_are_those_of_the_whole_table(
    kind: str, trained: bool, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_scores, "LOGITS_AT_ONCE", 8 * VOCABULARY)  # eight positions at a time
    head, hidden, targets = head_and_data(positions, trained=trained, **KINDS[kind])
    learned = [hidden, *(t for t in (head.weight_VD, head.bias_V) if t is not None and t.requires_grad)]
    weights = torch.linspace(-1, 2, positions)  # as a loss weighs tokens: neither alike nor of one sign

    found = token_log_probs(hidden, head, targets)
    expected = with_a_table(hidden, head, targets)

    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad((found * weights).sum(), learned),
        torch.autograd.grad((expected * weights).sum(), learned),
    )


@pytest.mark.parametrize("trained", [False, True])
def test_scores_are_the_same_where_nothing_is_learned(trained: bool) -> None:
    head, hidden, targets = head_and_data(9, trained=trained)

    with torch.no_grad():
        found = token_log_probs(hidden, head, targets)

    torch.testing.assert_close(found, with_a_table(hidden, head, targets).detach())


def test_no_position_has_no_score() -> None:
    head, hidden, targets = head_and_data(0, trained=False)

    assert token_log_probs(hidden, head, targets).shape == (0,)


def test_half_precision_weights_give_scores_in_single_precision() -> None:
    head, hidden, targets = head_and_data(9, trained=False)
    half = Head(head.weight_VD.bfloat16(), None, 1.0, None)

    found = token_log_probs(hidden.bfloat16(), half, targets)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found, with_a_table(hidden, head, targets), rtol=0.02, atol=0.1)
    assert torch.autograd.grad(found.sum(), hidden)[0].isfinite().all()


def test_the_head_of_a_model_gives_the_models_own_logits(tiny_model: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.arange(3, 20)[None]

    with torch.no_grad():
        hidden = network.base_model(ids).last_hidden_state[0]
        torch.testing.assert_close(Head.of(network).logits(hidden), network(ids).logits[0])
