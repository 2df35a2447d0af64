"""What all prompts begin with is computed once a pass, and changes nothing of what a response is worth."""

from __future__ import annotations

import random

import pytest
import torch

from tests.training.engine.families import VOCABULARY, build
from training.engine.actor_critic import Role
from training.engine.packing import Layout, Work
from training.engine.rollout import PassMaker, common_length
from training.engine.tree_attention import install

BEGINNING = (5, 6, 7, 8, 9, 10, 11, 12)
FREE = Work(attention=0.0)


def sequences(samples: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Prompts that begin alike, with so many responses each."""
    dice = random.Random(0)
    prompts, responses = [], []
    for number in range(5):
        rest = tuple(dice.randrange(20, VOCABULARY) for _ in range(1 + number))
        for _ in range(samples):
            prompts.append((*BEGINNING, *rest))
            responses.append(tuple(dice.randrange(20, VOCABULARY) for _ in range(dice.randint(1, 6))))
    return prompts, responses


def log_probs(layout: Layout, budget: int, samples: int) -> tuple[torch.Tensor, int]:
    """Log-probabilities of all responses, and how many tokens were computed for them."""
    install()
    role = Role(build("llama"))
    prompts, responses = sequences(samples)
    lengths_B = torch.tensor([len(each) for each in responses])
    mask_BT = torch.arange(int(lengths_B.max())) < lengths_B[:, None]
    values_BT = torch.zeros(mask_BT.shape)
    computed = 0
    with torch.no_grad():
        for each in PassMaker(FREE, layout, 0, budget).passes(prompts, responses, range(len(prompts))):
            each.put(values_BT, mask_BT, role.log_probs(each.packed))
            computed += each.packed.size
    assert bool((values_BT != 0).equal(mask_BT))
    return values_BT, computed


@pytest.mark.parametrize("budget", [1000, 40])
@pytest.mark.parametrize("samples", [1, 4])
def test_responses_are_scored_as_by_themselves_with_fewer_tokens(samples: int, budget: int) -> None:
    expected, all_tokens = log_probs("alone", 1000, samples)

    found, computed = log_probs("auto", budget, samples)

    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert computed < all_tokens


def test_the_beginning_is_what_all_have_in_common() -> None:
    assert common_length([(1, 2, 3), (1, 2, 4, 5), (1, 2)]) == 2
    assert common_length([(1, 2), (3, 4)]) == 0
    assert common_length([(1, 2)]) == 2
    assert common_length([]) == 0
