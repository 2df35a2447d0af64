"""Each example once an epoch, in steps of a fixed size, in passes within the budget, whatever the hardware."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.engine.methods import SftMethod
from training.engine.packing import Branching, Layout, Work, plan_rows
from training.engine.step_plan import Cadence, Pass, StepPlan

WORK = Work(attention=0.01)


def branching(prompt: int, responses: list[int]) -> Branching:
    return Branching([0] * prompt, [[0] * length for length in responses])


shapes = st.lists(
    st.tuples(st.integers(1, 20), st.lists(st.integers(1, 20), min_size=1, max_size=4)),
    min_size=1,
    max_size=24,
)
sizes = st.integers(1, 8)
budgets = st.sampled_from([8, 40, 100, 10_000])
worlds = st.integers(1, 3)
layouts = st.sampled_from(["auto", "tree", "separate", "alone"])


def size_of(branchings: list[Branching], chosen: Pass, layout: Layout) -> int:
    """Tokens of a pass, padding included."""
    rows = plan_rows([branchings[n] for n in chosen.examples], WORK, layout)
    return len(rows) * max(sum(piece.width for piece in row) for row in rows)


@settings(max_examples=80, deadline=None)
@given(shapes, sizes, budgets, worlds, layouts, st.integers(0, 3))
def test_steps_are_whole_fit_the_budget_and_are_those_of_one_process(
    given_shapes: list[tuple[int, list[int]]], size: int, budget: int, world: int, layout: Layout, epoch: int
) -> None:
    branchings = [branching(*shape) for shape in given_shapes]

    def plan(rank: int, of: int) -> StepPlan:
        made = StepPlan(
            branchings, batch_size=size, tokens_at_once=budget, work=WORK, layout=layout,
            epochs=4, seed=5, rank=rank, world=of,
        )  # fmt: skip
        made.set_epoch(epoch)
        return made

    plans = [plan(rank, world) for rank in range(world)]
    passes = [list(each) for each in plans]
    alone = plan(0, 1)

    assert {len(each) for each in passes} == {len(plans[0])}, "no process waits for another's last pass"
    a_step = plans[0].passes
    steps = math.ceil(len(branchings) / size)
    assert len(plans[0]) == a_step * steps
    expected = [sorted(chosen.step) for chosen in alone][:: alone.passes]
    seen: list[int] = []
    for number in range(steps):
        together = [chosen for each in passes for chosen in each[number * a_step : (number + 1) * a_step]]
        done = [example for chosen in together if not chosen.idle for example in chosen.examples]
        assert sorted(done) == expected[number]
        assert all(sorted(chosen.step) == expected[number] for chosen in together)
        for chosen in together:
            assert chosen.examples, "an idle pass computes something, for company"
            assert len(chosen.examples) == 1 or size_of(branchings, chosen, layout) <= budget
        seen += done
    assert sorted(seen) == list(range(len(branchings)))
    assert [len(step) for step in expected[:-1]] == [size] * (steps - 1)


def order(seed: int, epoch: int, *, shuffle: bool = True, budget: int = 10_000) -> list[int]:
    plan = StepPlan(
        [branching(3, [2]) for _ in range(30)],
        batch_size=4, tokens_at_once=budget, work=WORK, layout="auto", epochs=3, seed=seed, shuffle=shuffle,
    )  # fmt: skip
    plan.set_epoch(epoch)
    return [example for chosen in plan for example in chosen.examples]


def test_the_order_follows_seed_and_epoch_alone() -> None:
    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (0, 1, 2)}) == 6
    assert order(1, 0, shuffle=False) == order(2, 2, shuffle=False) == list(range(30))


def test_a_smaller_budget_makes_more_passes_and_not_other_steps() -> None:
    assert order(1, 0, budget=10) == order(1, 0)


def test_a_step_is_divided_only_as_far_as_the_budget_demands() -> None:
    # Four examples of 5 tokens: 20 fit at once; at 10 two by two; below that one by one, even beyond the budget.
    for budget, passes in ((20, 1), (10, 2), (8, 4), (4, 4)):
        plan = StepPlan(
            [branching(3, [2])] * 4, batch_size=4, tokens_at_once=budget, work=WORK, layout="auto"
        )
        assert plan.passes == passes


@pytest.mark.parametrize("layout", ["auto", "tree", "separate"])
def test_planning_a_large_set_as_one_step_costs_in_proportion_to_it(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0

    def counting(branchings: Sequence[Branching], *args: Any) -> Any:
        nonlocal looked_at
        looked_at += len(branchings)
        return plan_rows(branchings, *args)

    monkeypatch.setattr("training.engine.step_plan.plan_rows", counting)
    branchings = [branching(20 + n % 37, [30 + n % 11] * 4) for n in range(2000)]

    plan = StepPlan(branchings, batch_size=2000, tokens_at_once=4096, work=WORK, layout=layout, shuffle=False)
    assert looked_at <= 12 * len(branchings)
    assert sorted(n for chosen in plan for n in chosen.examples) == list(range(2000))
    assert looked_at <= 30 * len(branchings)


def test_a_pass_takes_as_many_examples_as_fit() -> None:
    branchings = [branching(3, [2])] * 100
    for budget in (5, 10, 35, 40, 335, 500):
        plan = StepPlan(
            branchings, batch_size=100, tokens_at_once=budget, work=WORK, layout="tree", shuffle=False
        )
        assert plan.passes == math.ceil(100 / (budget // 5))


def test_examples_of_like_length_share_a_pass() -> None:
    branchings = [branching(2, [length]) for length in (50, 3, 50, 3)]
    plan = StepPlan(branchings, batch_size=4, tokens_at_once=110, work=WORK, layout="alone", shuffle=False)

    assert [chosen.examples for chosen in plan] == [(0, 2), (1, 3)]


@pytest.mark.parametrize("world", [2, 5])
def test_a_process_for_which_nothing_is_left_is_idle(world: int) -> None:
    plans = [
        StepPlan(
            [branching(2, [3])], batch_size=1, tokens_at_once=8, work=WORK, layout="auto", rank=r, world=world
        )
        for r in range(world)
    ]

    passes = [chosen for plan in plans for chosen in plan]

    assert [chosen.idle for chosen in passes].count(False) == 1
    assert all(chosen.examples == (0,) for chosen in passes)


def test_patience_measures_at_each_checkpoint() -> None:
    """Else a run would be measured twice, and could never stop."""
    method = SftMethod(batch_size=8)

    assert Cadence.of(method, 800) == Cadence(steps=100, save=10, measure=50)
    assert Cadence.of(replace(method, patience=2), 800) == Cadence(steps=100, save=10, measure=10)
    assert Cadence.of(replace(method, patience=2, eval_saves=3), 800) == Cadence(100, 10, 30)
