"""A rollout's bookkeeping: what is a token and what padding, in which order prompts and minibatches come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from training.engine.packing import Work
from training.engine.rollout import (
    Episode,
    Experience,
    PassMaker,
    PromptStream,
    mask_of,
    minibatches,
    uniforms,
)

END = 2
"""Also what rows are filled up with, as SmolLM2 has it."""


def experience(episodes: list[Episode], **tensors: torch.Tensor) -> Experience:
    """What was measured of episodes: 0 where nothing else is given."""
    shape = mask_of(episodes).shape
    names = ("log_probs_BT", "reference_BT", "values_BT", "advantages_BT", "returns_BT")
    given = {name: torch.zeros(shape) for name in names}
    given |= {name: torch.zeros(len(episodes)) for name in ("final_values_B", "scores_B")}
    return Experience(episodes, **{**given, "features_BTD": torch.zeros(*shape, 0), **tensors})


def test_padding_is_what_lies_beyond_a_response_whatever_its_tokens_are() -> None:
    """The end is a token to learn like any other, also where rows are padded with the same one."""
    episodes = [Episode(0, (7, END), True), Episode(0, (END,), True), Episode(1, (7, 8, 9), False)]

    assert mask_of(episodes).tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert [each.text_tokens for each in episodes] == [(7,), (), (7, 8, 9)]
    assert experience(episodes).ended_B.tolist() == [True, True, False]


def test_a_process_without_responses_has_no_tokens() -> None:
    nothing = experience([])

    assert nothing.mask_BT.shape == (0, 0)
    assert nothing.ended_B.dtype == torch.bool


def test_what_a_pass_says_is_put_at_its_own_tokens() -> None:
    """Of passes that share the beginning of their prompts, that share a prompt, and that share nothing."""
    prompts = [(5, 6, 7), (5, 6, 7), (5, 6, 8, 9)]
    responses = [(20, END), (21, 22, 23), (24,)]
    mask_BT = torch.arange(3) < torch.tensor([[2], [3], [1]])

    for layout in ("auto", "alone"):
        for budget in (8, 1000):
            maker = PassMaker(Work(attention=1e-3), layout, END, budget)
            found_BT = torch.zeros(3, 3)
            passes = maker.passes(prompts, responses, range(3))
            assert (len(passes) > 1) == (budget == 8)
            for each in passes:
                each.put(found_BT, mask_BT, each.packed.targets_N.float())
                assert each.pick(found_BT, mask_BT).tolist() == each.packed.targets_N.tolist()
                # What predicts a response's first token is the last one of its prompt.
                before = each.packed.input_ids_RT.flatten()[each.packed.sources_N]
                firsts = [prompts[row][-1] for row in each.rows_S.tolist()]
                assert before[each.packed.responses_N.diff(prepend=torch.tensor([-1])) > 0].tolist() == firsts
                last = each.packed.input_ids_RT.flatten()[each.packed.ends_S]
                assert last.tolist() == [responses[row][-1] for row in each.rows_S.tolist()]
            assert found_BT.tolist() == [[20, END, 0], [21, 22, 23], [24, 0, 0]]


@pytest.mark.parametrize("attention", [0.0, 0.1])
def test_passes_that_share_a_beginning_keep_to_the_budget(attention: float) -> None:
    """Also where attention is so dear that each response takes the beginning into a row of its own."""
    prompts = [(5, 6, 7, 8, 10 + n) for n in range(6)]
    responses = [tuple(range(20, 50))] * 6
    passes = PassMaker(Work(attention), "auto", END, 100).passes(prompts, responses, range(6))

    assert sorted(row for each in passes for row in each.rows_S.tolist()) == list(range(6))
    assert all(each.packed.size <= 100 for each in passes)
    assert all(each.packed.plain for each in passes) == (attention > 0)


def test_no_rows_make_no_passes() -> None:
    maker = PassMaker(Work(attention=1e-3), "auto", END, 100)

    assert maker.passes([(5,)], [(6,)], []) == []


def test_every_prompt_comes_once_in_each_turn_in_an_order_of_its_own() -> None:
    stream = PromptStream(5, seed=3)
    turns = [[stream.at(5 * turn + n) for n in range(5)] for turn in range(3)]

    assert all(sorted(turn) == list(range(5)) for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1
    assert [PromptStream(5, seed=3).at(place) for place in (12, 3)] == [turns[2][2], turns[0][3]]


def test_minibatches_are_all_responses_once_and_other_ones_in_each_epoch() -> None:
    first, second = (minibatches(3, rollout=1, epoch=epoch, batch=10, count=3) for epoch in (0, 1))

    assert all(sorted(n for part in parts for n in part) == list(range(10)) for parts in (first, second))
    assert [len(part) for part in first] == [4, 3, 3]
    assert first != second


def test_draws_of_one_seed_have_nothing_in_common() -> None:
    """Of a prompt's place, a response's number and an epoch that are the same numbers."""
    numbers = uniforms(3, place=1, samples=2, longest=10)

    assert numbers.dtype == np.float32 and numbers.shape == (2, 10)
    assert not np.array_equal(numbers[0], numbers[1])
    order = np.random.default_rng([3, 1]).permutation(10).tolist()
    parts = minibatches(3, rollout=1, epoch=0, batch=10, count=1)[0]
    stream = PromptStream(10, seed=3)
    assert len({tuple(order), tuple(parts), tuple(stream.at(10 + n) for n in range(10))}) == 3


@pytest.mark.parametrize("hidden", [0, 2])
def test_an_experience_is_read_as_it_was_written(hidden: int, tmp_path: Path) -> None:
    episodes = [Episode(0, (7, END), True), Episode(1, (7, 8, 9), False)]
    written = experience(episodes, log_probs_BT=torch.randn(2, 3) / 3, features_BTD=torch.randn(2, 3, hidden))

    written.save(tmp_path / "file")
    read = Experience.read(tmp_path / "file")

    assert read.episodes == episodes
    assert torch.equal(read.log_probs_BT, written.log_probs_BT)
    assert torch.equal(read.features_BTD, written.features_BTD)
