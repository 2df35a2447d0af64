"""The ranking record: it survives files, names what is wrong with it, and turns into what trainers take."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from training.engine.records import (
    Ranking,
    read_rankings,
    to_pairs,
    to_sft,
    to_unpaired,
    write_rankings,
)
from training.engine.refusal import Refused

RANKING = Ranking(
    prompt=[{"role": "user", "content": "When does the train leave?"}],
    context=[{"id": "1", "title": "Timetable", "text": "It leaves at nine.", "url": ""}],
    responses=["At nine [1].", "At ten.", "No idea.", "Unranked."],
    tiers=[[0], [1, 2]],
    scores=[1.5, -0.5, -1.0, 0.0],
    weight=2.0,
    meta={"task": "7", "sources": ["a", "b"]},
)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_rankings_survive_a_file_and_equal_ones_give_equal_bytes(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    rankings = [dataclasses.replace(RANKING, weight=float(n)) for n in range(1500)]

    write_rankings(first, rankings)
    write_rankings(second, iter(rankings))

    assert list(read_rankings(first)) == rankings
    assert first.read_bytes() == second.read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == [first.name, second.name]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=50, deadline=None)
@given(st.lists(texts, min_size=1, max_size=4), st.dictionaries(texts, texts, max_size=2), texts)
def test_any_text_survives_both_kinds_of_file(
    tmp_path_factory: pytest.TempPathFactory, responses: list[str], meta: dict[str, str], content: str
) -> None:
    folder = tmp_path_factory.mktemp("records")
    ranking = Ranking(
        prompt=[{"role": "user", "content": content}],
        responses=responses,
        tiers=[[0]],
        scores=[0.0] * len(responses),
        meta=meta,
    )
    for name in ("r.parquet", "r.jsonl"):
        write_rankings(folder / name, [ranking])
        assert list(read_rankings(folder / name)) == [ranking]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "rankings.jsonl"
    write_rankings(path, [RANKING])
    before = path.read_bytes()

    with pytest.raises(ValueError, match="JSON compliant"):
        write_rankings(path, [RANKING, dataclasses.replace(RANKING, weight=math.nan)])

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": []}, "`prompt`"),
        ({"prompt": [{"role": "tool", "content": "x"}]}, "`prompt[0]`.role"),
        ({"prompt": [{"role": "assistant", "content": "x"}]}, "end with a message of the user"),
        ({"context": [{"id": "1"}]}, "`context[0]` lacks `text`"),
        ({"responses": "no list"}, "`responses`"),
        ({"tiers": [[0], [4]]}, "`tiers` holds 4"),
        ({"tiers": [[0], [0]]}, "the response 0 more than once"),
        ({"tiers": [[0], []]}, "none of them empty"),
        ({"scores": [1.0]}, "`scores` must be a list of 4"),
        (
            {"tiers": [[0], [1]], "scores": [-1.0, 1.0, 0.0, 0.0]},
            "`scores` and `tiers` contradict each other",
        ),
        ({"weight": -1}, "`weight`"),
        ({"meta": "{"}, "`meta` is not JSON"),
        ({"extra": 1}, "unknown field `extra`"),
    ],
)
def test_a_bad_record_is_refused_with_its_line_and_field(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    path = tmp_path / "rankings.jsonl"
    good = RANKING.to_record()
    path.write_text(json.dumps(good) + "\n\n" + json.dumps({**good, **change}) + "\n")

    with pytest.raises(Refused) as refusal:
        list(read_rankings(path))

    assert "rankings.jsonl, line 3" in str(refusal.value)
    assert words in str(refusal.value)


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rankings.parquet"
    path.write_text("nonsense")

    with pytest.raises(Refused, match=r"rankings\.parquet"):
        list(read_rankings(path))


def test_pairs_join_responses_of_different_tiers_with_the_probability_of_their_scores() -> None:
    pairs = to_pairs(RANKING)

    found = [(pair["chosen"][0]["content"], pair["rejected"][0]["content"]) for pair in pairs]
    assert found == [("At nine [1].", "At ten."), ("At nine [1].", "No idea.")]
    assert pairs[0]["margin"] == 2.0
    assert pairs[0]["probability"] == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert pairs[0]["weight"] == 2.0
    assert (
        pairs[0]["prompt"][-1]["role"] == "user" and "It leaves at nine." in pairs[0]["prompt"][-1]["content"]
    )


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("all", {(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)}),
        ("adjacent", {(0, 1), (0, 2), (1, 3), (2, 3)}),
        ("best_worst", {(0, 3)}),
    ],
)
def test_which_pairs_are_made_can_be_chosen(which: Any, expected: set[tuple[int, int]]) -> None:
    ranking = Ranking(
        prompt=[{"role": "user", "content": "?"}],
        responses=["0", "1", "2", "3", "4"],
        tiers=[[0], [1, 2], [3]],
        scores=[3.0, 2.0, 2.0, 1.0, 0.0],
    )

    pairs = to_pairs(ranking, which=which)

    assert {(int(p["chosen"][0]["content"]), int(p["rejected"][0]["content"])) for p in pairs} == expected


@pytest.mark.parametrize("which", ["all", "adjacent", "best_worst"])
def test_ties_and_equal_texts_make_no_pair(which: Any) -> None:
    tied = dataclasses.replace(RANKING, tiers=[[0, 1, 2, 3]])
    same = dataclasses.replace(RANKING, responses=["Same."] * 4)

    assert to_pairs(tied, which=which) == to_pairs(same, which=which) == []


def test_unpaired_labels_follow_the_scores_of_what_was_ranked() -> None:
    rows = to_unpaired(RANKING)

    assert [(row["completion"][0]["content"], row["label"]) for row in rows] == [
        ("At nine [1].", True),
        ("At ten.", False),
        ("No idea.", False),
    ]
    assert to_unpaired(dataclasses.replace(RANKING, scores=[0.0] * 4)) == []


def test_sft_imitates_the_best_response() -> None:
    [row] = to_sft(dataclasses.replace(RANKING, tiers=[[1, 0], [2]]))

    assert row["messages"][-1] == {"role": "assistant", "content": "At nine [1]."}
    assert to_sft(dataclasses.replace(RANKING, tiers=[])) == []


def test_sft_imitates_each_demonstration_in_place_of_the_best_response() -> None:
    written = dataclasses.replace(RANKING, demonstrations=["At nine, on time [1].", "Nine [1]."])

    rows = to_sft(written, give_context=False)

    prompt = RANKING.prompt[0]
    assert rows == [
        {"messages": [prompt, {"role": "assistant", "content": text}], "weight": 2.0}
        for text in written.demonstrations
    ]
    assert len(to_sft(dataclasses.replace(written, tiers=[]))) == 2, "they need no ranking"
    assert to_pairs(written) == to_pairs(RANKING) and to_unpaired(written) == to_unpaired(RANKING)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_demonstrations_survive_a_file_and_records_without_any_are_as_they_were(
    tmp_path: Path, suffix: str
) -> None:
    written = dataclasses.replace(RANKING, demonstrations=["Nine.\n", " ten"])
    path = tmp_path / f"rankings{suffix}"

    write_rankings(path, [RANKING, written, RANKING])

    assert list(read_rankings(path)) == [RANKING, written, RANKING]
    assert "demonstrations" not in RANKING.to_record()


def test_a_line_without_demonstrations_is_what_it_always_was(tmp_path: Path) -> None:
    write_rankings(tmp_path / "r.jsonl", [dataclasses.replace(RANKING, context=[], meta={})])
    assert (tmp_path / "r.jsonl").read_text() == (
        '{"prompt": [{"role": "user", "content": "When does the train leave?"}], "context": [], "responses": '
        '["At nine [1].", "At ten.", "No idea.", "Unranked."], "tiers": [[0], [1, 2]], '
        '"scores": [1.5, -0.5, -1.0, 0.0], "weight": 2.0, "meta": {}}\n'
    )


@pytest.mark.parametrize(
    ("demonstrations", "sentence"),
    [
        ("Nine.", "a list of texts"),
        ([1], "a list of texts"),
        ([" "], "none of them empty"),
        (["a", "a"], "twice"),
    ],
)
def test_demonstrations_that_are_none_are_refused(demonstrations: Any, sentence: str) -> None:
    record = {**RANKING.to_record(), "demonstrations": demonstrations}
    with pytest.raises(Refused, match=f"line 3: `demonstrations`.*{sentence}"):
        Ranking.from_record(record, "line 3")


def test_the_pairs_of_a_file_load_as_a_dataset(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in to_pairs(RANKING)))

    dataset = load_dataset("json", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]

    assert set(dataset.column_names) == {"prompt", "chosen", "rejected", "probability", "margin", "weight"}
    assert dataset[0]["chosen"] == [{"role": "assistant", "content": "At nine [1]."}]
