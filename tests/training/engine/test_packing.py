"""Where each token lies in a forward pass, and what each layout costs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.engine.packing import Branching, Layout, Work, cost_of, pack, plan_rows
from training.engine.tree_attention import PROMPT

FREE = Work(attention=0.0)


def test_a_tree_by_hand() -> None:
    packed = pack([Branching([1, 2], [[3, 4], [5], [6, 7]])], FREE, "tree", pad=9)

    # Like lengths lie together, within a piece by number: all three in one piece, in their order.
    assert packed.input_ids_RT.tolist() == [[1, 2, 3, 4, 5, 6, 7]]
    assert packed.tree.positions_RT.tolist() == [[0, 1, 2, 3, 2, 2, 3]]
    assert packed.tree.branches_RT.tolist() == [[PROMPT, PROMPT, 0, 0, 1, 2, 2]]
    assert packed.tree.trees_RT.tolist() == [[0] * 7]
    assert packed.sources_N.tolist() == [1, 2, 1, 1, 5]
    assert packed.targets_N.tolist() == [3, 4, 5, 6, 7]
    assert packed.responses_N.tolist() == [0, 0, 1, 2, 2]
    assert packed.ends_S.tolist() == [3, 4, 6]
    assert (packed.used, packed.size, packed.responses, packed.plain) == (7, 7, 3, False)


def test_two_trees_share_the_room_beside_a_wider_one() -> None:
    wide = Branching([1], [[2, 3], [4, 5]])
    packed = pack([Branching([6], [[7]]), wide, Branching([8], [[9]])], FREE, "tree", pad=0)

    # Rows are as wide as the widest; the two small ones fit into one row, with one token of padding.
    assert packed.input_ids_RT.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]
    assert packed.tree.trees_RT.tolist() == [[0] * 5, [0, 0, 1, 1, 2]]
    assert packed.tree.positions_RT.tolist() == [[0, 1, 2, 1, 2], [0, 1, 0, 1, 0]]
    # Numbered as they were given: response 0 is the first branching's.
    assert packed.sources_N.tolist() == [5, 0, 1, 0, 3, 7]
    assert packed.targets_N.tolist() == [7, 2, 3, 4, 5, 9]
    assert packed.ends_S.tolist() == [6, 2, 4, 8]
    assert packed.used == 9


def test_separate_sequences_of_equal_length_are_plain_rows() -> None:
    packed = pack([Branching([1, 2], [[3], [4]])], FREE, "separate")

    assert packed.input_ids_RT.tolist() == [[1, 2, 3], [1, 2, 4]]
    assert packed.plain


@pytest.mark.parametrize("layout", ["tree", "separate", "auto"])
def test_an_empty_response_scores_nothing_and_ends_at_its_prompt(layout: Layout) -> None:
    packed = pack([Branching([1, 2], [[], [3]])], FREE, layout)

    flat = packed.input_ids_RT.flatten()
    assert packed.targets_N.tolist() == [3]
    assert packed.responses_N.tolist() == [1]
    assert flat[packed.ends_S].tolist() == [2, 3]
    assert packed.sums(torch.tensor([-1.5])).tolist() == [0.0, -1.5]
    assert packed.lengths_S.tolist() == [0.0, 1.0]


def test_long_responses_to_a_short_prompt_are_separated_and_a_long_prompt_is_shared() -> None:
    dear = Work(attention=1 / 100)
    short, long = list(range(4)), list(range(400))

    assert pack([Branching(short, [long] * 4)], dear).plain
    assert len(plan_rows([Branching(long, [short] * 4)], dear)) == 1


def test_a_ranking_of_many_is_divided_among_rows_where_one_would_be_too_wide() -> None:
    rows = plan_rows([Branching([0] * 40, [[1] * 12] * 8)], Work(attention=1 / 50))

    assert [len(piece.branches) for row in rows for piece in row] == [4, 4]


lengths = st.integers(0, 12)
branchings = st.lists(
    st.tuples(st.integers(1, 12), st.lists(lengths, min_size=1, max_size=5)), min_size=1, max_size=5
)
works = st.sampled_from([FREE, Work(attention=0.01), Work(attention=0.2), Work(attention=5.0)])
layouts = st.sampled_from(["auto", "tree", "separate", "alone"])


def numbered(shapes: list[tuple[int, list[int]]]) -> list[Branching]:
    """Branchings in which every token is another."""
    tokens = iter(range(1, 10_000))
    return [
        Branching(
            [next(tokens) for _ in range(prompt)], [[next(tokens) for _ in range(n)] for n in responses]
        )
        for prompt, responses in shapes
    ]


@settings(max_examples=200, deadline=None)
@given(branchings, works, layouts)
def test_every_response_token_is_scored_once_from_the_token_before_it(
    shapes: list[tuple[int, list[int]]], work: Work, layout: Layout
) -> None:
    given = numbered(shapes)

    packed = pack(given, work, layout)

    flat = packed.input_ids_RT.flatten()
    branches, positions = packed.tree.branches_RT.flatten(), packed.tree.positions_RT.flatten()
    expected = [
        (number, before, token, position)
        for number, (prompt, response) in enumerate((b.prompt, r) for b in given for r in b.responses)
        for position, (before, token) in enumerate(
            zip([prompt[-1], *response], response, strict=False), start=len(prompt) - 1
        )
    ]
    found = list(
        zip(
            packed.responses_N.tolist(),
            flat[packed.sources_N].tolist(),
            packed.targets_N.tolist(),
            positions[packed.sources_N].tolist(),
            strict=True,
        )
    )
    assert found == expected
    last = [(r or b.prompt)[-1] for b in given for r in b.responses]
    assert flat[packed.ends_S].tolist() == last
    assert packed.lengths_S.tolist() == [len(r) for b in given for r in b.responses]
    used = (flat != 0).sum().item()
    assert packed.used == used <= packed.size
    assert (branches[flat == 0] == PROMPT).all()


@settings(max_examples=100, deadline=None)
@given(branchings, works)
def test_no_row_is_wider_than_the_widest_piece_and_auto_is_never_the_dearer(
    shapes: list[tuple[int, list[int]]], work: Work
) -> None:
    given = numbered(shapes)
    plans = {layout: plan_rows(given, work, layout) for layout in ("auto", "tree", "separate", "alone")}

    for rows in plans.values():
        widest = max(piece.width for row in rows for piece in row)
        assert all(sum(piece.width for piece in row) <= widest for row in rows)
        placed = sorted((piece.owner, branch) for row in rows for piece in row for branch in piece.branches)
        assert placed == [
            (n, branch) for n, (_, responses) in enumerate(shapes) for branch in range(len(responses))
        ]
    cost = {layout: cost_of(rows, work) for layout, rows in plans.items()}
    assert cost["auto"] <= min(cost["separate"], cost["tree"])


@settings(max_examples=100, deadline=None)
@given(branchings, works)
def test_alone_is_one_response_a_row_whatever_it_costs(
    shapes: list[tuple[int, list[int]]], work: Work
) -> None:
    packed = pack(numbered(shapes), work, "alone")

    assert packed.plain
    assert len(packed.input_ids_RT) == packed.responses
