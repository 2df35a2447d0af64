"""A packed forward pass gives each family what it gives by itself, one sequence at a time; or it is not used."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from tests.training.engine.families import EAGER_ONLY, NOT_PACKABLE, PACKABLE, VOCABULARY, build
from training.engine.layout_check import choose_layout
from training.engine.packed_forward import reward_packed_responses, score_packed_responses
from training.engine.packing import Branching, Layout, Work, pack
from training.engine.refusal import Refused
from training.engine.reward import with_reward_head

FREE = Work(attention=0.0)
CASES = [
    (family, attention)
    for family in PACKABLE
    for attention in ("sdpa", "eager")
    if attention == "eager" or family not in EAGER_ONLY
]


def text(length: int, random_: random.Random) -> list[int]:
    return [random_.randrange(3, VOCABULARY) for _ in range(length)]


def rankings(*shapes: tuple[int, Sequence[int]]) -> list[Branching]:
    """Random branchings with so many tokens of prompt and responses."""
    random_ = random.Random(1)
    return [Branching(text(p, random_), [text(r, random_) for r in responses]) for p, responses in shapes]


# Several trees a row, padding, and lines of text longer than the window of sliding attention.
RANKINGS = rankings((9, (14, 7, 11)), (12, (3, 9)), (4, (5,)), (2, (2, 6)))


def by_itself(network: PreTrainedModel, branchings: Sequence[Branching]) -> torch.Tensor:
    """Return log-probabilities of all response tokens, one sequence at a time."""
    parts = []
    for branching in branchings:
        for response in branching.responses:
            ids = torch.tensor([[*branching.prompt, *response]])
            logits = network(input_ids=ids, use_cache=False).logits[0, len(branching.prompt) - 1 : -1]
            parts.append(-cross_entropy(logits.float(), torch.tensor(response), reduction="none"))
    return torch.cat(parts)


def gradients(network: PreTrainedModel, scores_N: torch.Tensor) -> dict[str, torch.Tensor]:
    weights = torch.linspace(-1, 1.5, len(scores_N))
    network.zero_grad()
    (scores_N * weights).sum().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def assert_alike(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        gap = (found[name] - gradient).norm() / gradient.norm().clamp(min=1e-3)
        assert gap <= 1e-4, f"{name}: {gap}"


@pytest.mark.parametrize(("family", "attention"), CASES, ids=lambda value: value)
def test_packed_scores_and_gradients_are_those_of_the_model_itself(family: str, attention: str) -> None:
    network = build(family, attention)
    expected = by_itself(network, RANKINGS)
    expected_gradients = gradients(network, expected)
    score_packed_responses(network)
    packed = pack(RANKINGS, FREE, "tree")
    assert packed.tree.trees_RT.max() > 1, "several trees share a row"

    found = network(packed=packed)

    assert (found - expected).abs().max() <= 1e-4
    assert_alike(gradients(network, found), expected_gradients)
    assert choose_layout(network, RANKINGS, "auto") == ("auto", "")


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_activations_that_are_computed_again_attend_as_the_first_time(family: str) -> None:
    network = build(family)
    score_packed_responses(network)
    packed = pack(RANKINGS, FREE, "tree")
    expected = gradients(network, network(packed=packed))
    network.train()
    network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    assert_alike(gradients(network, network(packed=packed)), expected)


@pytest.mark.parametrize("layout", ["separate", "auto", "alone"])
def test_every_layout_gives_the_same(layout: Layout) -> None:
    network = build("mistral, sliding")
    expected = by_itself(network, RANKINGS)
    score_packed_responses(network)

    found = network(packed=pack(RANKINGS, Work(attention=0.05), layout))

    assert (found - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "qwen3"])
def test_packed_rewards_are_those_of_the_classifier_itself(family: str) -> None:
    network = with_reward_head(build(family, "eager"))
    expected = []
    for branching in RANKINGS:
        for response in branching.responses:
            ids = torch.tensor([[*branching.prompt, *response]])
            expected.append(network(input_ids=ids, use_cache=False).logits.view(()))
    reward_packed_responses(network)

    found = network(packed=pack(RANKINGS, FREE, "tree"))

    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-4)
    assert choose_layout(network, RANKINGS, "tree") == ("tree", "")


@pytest.mark.parametrize("family", NOT_PACKABLE)
def test_a_model_that_does_not_take_trees_keeps_each_response_in_a_row_of_its_own(family: str) -> None:
    network = build(family, "eager")
    expected = by_itself(network, RANKINGS)
    expected_gradients = gradients(network, expected)
    score_packed_responses(network)

    for wanted in ("auto", "tree", "separate"):
        layout, reason = choose_layout(network, RANKINGS, wanted)
        assert layout == "alone"
        assert "does not take trees" in reason
    found = network(packed=pack(RANKINGS, FREE, layout))

    assert (found - expected).abs().max() <= 1e-4
    assert_alike(gradients(network, found), expected_gradients)


@pytest.mark.parametrize("family", NOT_PACKABLE)
def test_single_responses_are_checked_against_sharing_a_row_too(family: str) -> None:
    network = build(family, "eager")
    score_packed_responses(network)

    assert choose_layout(network, rankings((5, (9,)), (4, (3,))), "auto")[0] == "alone"


def test_a_model_that_does_something_else_to_its_scores_is_refused() -> None:
    network = build("llama")
    usual = network.forward

    def sharpened(*args: object, **kwargs: object) -> object:
        output = usual(*args, **kwargs)
        output.logits = output.logits * 1.5
        return output

    network.forward = sharpened
    score_packed_responses(network)

    with pytest.raises(Refused, match="LlamaForCausalLM cannot be trained on"):
        choose_layout(network, RANKINGS, "auto")


def test_other_forward_passes_are_as_before() -> None:
    plain, extended = build("qwen2, sliding"), build("qwen2, sliding")
    score_packed_responses(extended)
    ids = torch.tensor([text(20, random.Random(0))])
    mask = torch.ones_like(ids)
    mask[:, :4] = 0

    for options in ({}, {"attention_mask": mask}):
        torch.testing.assert_close(
            extended(input_ids=ids, **options).logits, plain(input_ids=ids, **options).logits, rtol=0, atol=0
        )
    settings = {"max_new_tokens": 5, "do_sample": False}
    assert extended.generate(ids, **settings).tolist() == plain.generate(ids, **settings).tolist()
