"""Annotators against each other, by hand."""

from __future__ import annotations

import pytest

from annotation.pairing import AnnotatorPair, annotator_pairs
from tests.annotation.answered import columns

OVER, UNDER, TIED = [[0], [1]], [[1], [0]], [[0, 1]]


def test_kappa_is_the_one_worked_by_hand() -> None:
    # ann and bea share ten tasks of one pair each. They agree on 7: over 4, under 3; ann says over 6, under 4;
    # bea over 5, under 5. Chance: 0.6 × 0.5 + 0.4 × 0.5 = 0.5. κ = (0.7 − 0.5) / 0.5.
    ann = [OVER] * 6 + [UNDER] * 4
    bea = [OVER] * 4 + [UNDER] * 2 + [OVER] + [UNDER] * 3
    rows = [(n, name, tiers) for n in range(10) for name, tiers in (("ann", ann[n]), ("bea", bea[n]))]
    (pair,) = annotator_pairs(columns(rows))
    assert (pair.annotator, pair.other, pair.tasks, pair.pairs) == ("ann", "bea", 10, 10)
    assert (pair.agreement, pair.kappa) == (pytest.approx(0.7), pytest.approx(0.4))


def test_two_who_share_few_tasks_have_a_share_but_no_kappa_and_two_who_share_none_are_not_told_of() -> None:
    rows = [
        (1, "ann", OVER),
        (1, "bea", OVER),
        (2, "bea", OVER),
        (2, "cid", TIED),
        (3, "bea", OVER),
        (3, "cid", OVER),
    ]
    assert annotator_pairs(columns(rows)) == [
        AnnotatorPair("bea", "cid", 2, 2, 0.5, None),
        AnnotatorPair("bea", "ann", 1, 1, 1.0, None),
    ]


def test_who_always_says_the_same_as_somebody_of_one_opinion_has_no_kappa() -> None:
    rows = [(n, name, OVER) for n in range(8) for name in ("ann", "bea")]
    (pair,) = annotator_pairs(columns(rows))
    assert (pair.agreement, pair.kappa) == (1.0, None), "chance would agree always, too"


def test_only_so_many_annotators_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.pairing.MOST_ANNOTATORS", 2)
    rows = [(n, name, OVER) for n in range(3) for name in ("ann", "bea", "cid")[: 3 - n]]
    assert [(pair.annotator, pair.other) for pair in annotator_pairs(columns(rows))] == [("ann", "bea")]
