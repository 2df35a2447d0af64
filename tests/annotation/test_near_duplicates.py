"""Prompts that nearly repeat each other are in one split, and none that is there ever moves."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from annotation import near_duplicates
from annotation.importing import import_prompts
from annotation.models import Project, Prompt
from annotation.near_duplicates import THRESHOLD, near_pairs, nearest, shingles_of, similarity
from annotation.splitting import digest_of, split_of

pytestmark = pytest.mark.django_db

QUESTION = "How do I keep the rice from burning at the bottom of the pot when I cook for twelve people"


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def bring(project: Project, *texts: str) -> int:
    rows = enumerate(({"prompt": text} for text in texts), start=1)
    return import_prompts(project=project, rows=rows).following


def splits(project: Project) -> dict[str, str]:
    return {prompt.messages[-1]["content"]: prompt.split for prompt in project.prompts.all()}


def in_split(split: str, share: float = 0.2) -> str:
    """A text like the question, whose own hash puts it in the split."""
    return next(
        text
        for n in range(1000)
        if split_of(digest_of(said(text := f"{QUESTION}{'?' * (n % 5)} {n}")), share) == split
    )


def test_near_duplicates_follow_the_first_of_them_whatever_their_hash_says(project: Project) -> None:
    held_out, train = in_split("held_out"), in_split("train")
    assert similarity(shingles_of(said(held_out)), shingles_of(said(train))) >= THRESHOLD
    bring(project, held_out)
    assert bring(project, train, f"{QUESTION}, please") == 2
    assert set(splits(project).values()) == {"held_out"}


def test_it_holds_within_one_file_as_well(project: Project) -> None:
    train, held_out = in_split("train"), in_split("held_out")
    assert bring(project, train, held_out) == 1
    assert set(splits(project).values()) == {"train"}


def test_a_prompt_between_two_splits_is_held_out_and_neither_moves(project: Project) -> None:
    words = [f"word{n} about{n}" for n in range(60)]
    one, other = words[:50], words[5:55]
    between = words[2:53]
    texts = [" ".join(part) for part in (one, other, between)]
    assert similarity(shingles_of(said(texts[0])), shingles_of(said(texts[2]))) >= THRESHOLD
    assert similarity(shingles_of(said(texts[1])), shingles_of(said(texts[2]))) >= THRESHOLD
    for split, text in (("train", texts[0]), ("held_out", texts[1])):
        Prompt.objects.create(project=project, messages=said(text), digest=digest_of(said(text)), split=split)
    before = splits(project)
    bring(project, texts[2])
    after = splits(project)
    assert after.pop(texts[2]) == "held_out" and after == before


def test_prompts_that_share_little_follow_their_own_hash(project: Project) -> None:
    texts = [f"What is the capital of the country number {n}, and since when?" for n in range(40)]
    texts = [" ".join(random.Random(text).sample(text.split(), 12)) for text in texts]
    assert bring(project, *texts) == 0
    assert splits(project) == {text: split_of(digest_of(said(text)), 0.2) for text in texts}


def test_a_system_message_that_all_prompts_have_makes_them_no_duplicates(project: Project) -> None:
    system = {"role": "system", "content": "You are a cook. " * 100}
    rows = [{"messages": [system, *said(text)]} for text in ("How do I boil eggs?", "Is tea good for me?")]
    assert import_prompts(project=project, rows=enumerate(rows, start=1)).following == 0


def test_an_import_that_is_refused_leaves_nothing_behind_in_the_process(project: Project) -> None:
    train, held_out = in_split("train"), in_split("held_out")
    with pytest.raises(Exception, match="wrong"):
        import_prompts(project=project, rows=enumerate([{"prompt": held_out}, {"prompt": 7}], start=1))
    bring(project, train)
    assert splits(project) == {train: "train"}


def test_another_process_says_the_same(project: Project) -> None:
    held_out, train = in_split("held_out"), in_split("train")
    bring(project, held_out)
    near_duplicates._kept.clear()
    bring(project, train)
    assert splits(project)[train] == "held_out"


texts = st.lists(
    st.lists(
        st.sampled_from(["red", "blue", "green", "round", "long", "quick", "heavy"]), min_size=1, max_size=12
    ).map(" ".join),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts, st.randoms(use_true_random=False))
def test_nothing_moves_as_prompts_are_added_and_near_ones_are_together(
    project: Project, texts: list[str], dice: random.Random
) -> None:
    project.prompts.all().delete()
    earlier: dict[str, str] = {}
    while texts:
        portion = [texts.pop() for _ in range(min(len(texts), dice.randint(1, 4)))]
        bring(project, *portion)
        now = splits(project)
        assert {text: now[text] for text in earlier} == earlier
        earlier = now
    prompts = list(project.prompts.order_by("pk"))
    for a, b in near_pairs(prompts):
        # Whom a prompt follows came before it; only one between two splits is near one that it is not with.
        near_ones = [
            other.split
            for other in prompts[:a]
            if similarity(shingles_of(prompts[a].messages), shingles_of(other.messages)) >= THRESHOLD
        ]
        assert prompts[a].split == ("held_out" if "held_out" in near_ones else "train"), prompts[b]


def test_shingles_measure_what_people_see() -> None:
    one = shingles_of(said("How   do I boil EGGS?"))
    assert similarity(one, shingles_of(said("how do i boil eggs?"))) == 1
    assert 0 < similarity(one, shingles_of(said("How do I boil rice?"))) < THRESHOLD
    assert similarity(shingles_of(said("a")), shingles_of(said("b"))) == 0
    assert len(shingles_of(said("Grüße \U0001f600 \ud800"))) > 1


def test_of_pairs_just_above_the_threshold_hardly_one_is_missed() -> None:
    dice = np.random.default_rng(0)
    missed = there = 0
    for _ in range(300):
        letters = "".join(chr(97 + n) for n in dice.integers(26, size=200))
        other = letters[: int(dice.integers(158, 168))]
        alike = similarity(shingles_of(said(letters)), shingles_of(said(other)))
        if alike >= THRESHOLD:
            there += 1
            prompts = [Prompt(messages=said(text)) for text in (letters, other)]
            missed += not list(near_pairs(prompts))
    assert there > 150 and missed <= 1


def test_the_nearest_prompt_is_found_among_others_and_never_itself(project: Project) -> None:
    bring(project, QUESTION, f"{QUESTION}??", "Something else altogether, about tea and its price.")
    first, second, third = project.prompts.order_by("pk")
    found = nearest([first, third], project.prompts.all())
    assert set(found) == {first.pk} and found[first.pk].prompt == second
    assert THRESHOLD <= found[first.pk].similarity < 1
