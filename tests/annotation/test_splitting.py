"""A prompt is in one split only, for ever: it follows from its text alone."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from annotation.splitting import digest_of, split_of


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
