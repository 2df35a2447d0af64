"""A prompt is in one split only, for ever: it follows from its text alone."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotation.splitting import Held, digest_of, split_of


def said(text: str, role: str = "user") -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def test_case_spacing_and_unicode_form_make_no_other_prompt() -> None:
    same = ["Où est l’Été ?", "  où  est\n\tL’ÉTÉ ?", unicodedata.normalize("NFD", "Où est l’été ?")]
    assert len({digest_of(said(text)) for text in same}) == 1


def test_words_roles_and_the_border_between_messages_do() -> None:
    conversations = [
        said("a b"),
        said("ab"),
        said("a b", role="system"),
        said("a") + said("b"),
        said("a", role="assistant") + said("b"),
    ]
    assert len({digest_of(messages) for messages in conversations}) == len(conversations)


def test_the_digest_never_changes_between_versions() -> None:
    # Splits of existing projects rest on these digests: a change here would move prompts.
    assert (
        digest_of(said("Hello, World!")) == "c0fa035bdb7b242a7800dfc774dc5f5bd70d92c58b3b9b380a0c33dffa880b3f"
    )
    assert split_of("0" * 64, 0.2) == "held_out"
    assert split_of("3" + "f" * 63, 0.25) == "train"


@given(st.text(max_size=50))
def test_normalising_is_stable(text: str) -> None:
    again = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    assert digest_of(said(text)) == digest_of(said(again))


def test_shares_are_kept_and_a_larger_share_only_adds() -> None:
    digests = [digest_of(said(f"question {n}")) for n in range(4000)]
    held_out = {share: {d for d in digests if split_of(d, share) == "held_out"} for share in (0, 0.1, 0.3, 1)}
    assert len(held_out[0]) == 0
    assert abs(len(held_out[0.1]) / 4000 - 0.1) < 0.02
    assert abs(len(held_out[0.3]) / 4000 - 0.3) < 0.03
    assert len(held_out[1]) == 4000
    assert held_out[0.1] < held_out[0.3]


@pytest.mark.parametrize(
    ("held_out", "prompts", "is_far_off"),
    [(20, 100, False), (9, 100, False), (7, 100, True), (33, 100, True), (0, 3, False), (0, 100, True)],
)
def test_a_split_that_chance_hardly_makes_is_far_off(held_out: int, prompts: int, is_far_off: bool) -> None:
    # Of 100 prompts, 20 are expected, with a standard deviation of 4.
    assert Held(held_out, prompts, share=0.2).is_far_off is is_far_off


def test_a_project_that_holds_nothing_out_is_as_it_should_be() -> None:
    assert not Held(0, 100, share=0.0).is_far_off and not Held(0, 0, share=0.2).is_far_off
