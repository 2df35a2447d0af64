"""The estimator against what others published: Davidson's pudding, and examples of the R package PlackettLuce.

Figures are those that the package's vignette ("Introduction to PlackettLuce", 0.4.3) and its tests print, to the digits
that its stopping rules make certain.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from alignment.consensus import Adherence, Consensus, PseudoRankings, Tiers, fit

# Davidson 1970, example 2: brands of chocolate pudding i and j; how often i won, j won, and they tied.
PUDDING = [
    (1, 2, 19, 22, 16),
    (1, 3, 16, 19, 12),
    (2, 3, 19, 19, 10),
    (1, 4, 18, 23, 13),
    (2, 4, 23, 19, 9),
    (3, 4, 19, 20, 15),
    (1, 5, 13, 19, 18),
    (2, 5, 16, 20, 12),
    (3, 5, 16, 15, 17),
    (4, 5, 17, 14, 16),
    (1, 6, 18, 21, 12),
    (2, 6, 22, 20, 12),
    (3, 6, 13, 18, 10),
    (4, 6, 14, 19, 18),
    (5, 6, 11, 21, 12),
]
TOY: list[Tiers] = [[["A"], ["B"]], [["C"], ["A"]], [["A"], ["D"]], [["B"], ["A"]], [["B"], ["C"]]]


@pytest.fixture(scope="module")
def pudding() -> Consensus:
    rankings: list[Tiers] = []
    for i, j, *_ in PUDDING:
        rankings += [[[i], [j]], [[j], [i]], [[i, j]]]
    return fit(rankings, weights=[count for row in PUDDING for count in row[2:]], prior=None)


def test_pudding_has_davidsons_worths_and_ties(pudding: Consensus) -> None:
    worth = np.exp(list(pudding.scores.values()))
    published = [0.1388005, 0.1729985, 0.1617420, 0.1653930, 0.1586805, 0.2023855]
    assert worth / worth.sum() == pytest.approx(published, abs=3e-5)
    assert math.exp(pudding.ties[2].value) == pytest.approx(0.7468147, abs=2e-5)
    assert pudding.converged and -2 * pudding.log_likelihood == pytest.approx(1619.4, abs=0.05)


def test_pudding_has_the_published_standard_errors(pudding: Consensus) -> None:
    published = [0.121949, 0.121818, 0.126823, 0.122003, 0.127054, 0.126594]
    assert list(pudding.standard_errors.values()) == pytest.approx(published, abs=2e-6)
    assert pudding.ties[2].standard_error == pytest.approx(0.082499, abs=2e-6)
    against_first = {2: 0.1872, 3: 0.1935, 4: 0.1882, 5: 0.1927, 6: 0.1924}
    for brand, published_error in against_first.items():
        assert pudding.difference(brand, 1).standard_error == pytest.approx(published_error, abs=5e-5)
    # 1.96 standard errors are just short of the estimate, as the published p of 0.049983 says.
    assert pudding.difference(6, 1).low > 0 and pudding.difference(6, 1, level=0.951).low < 0


def test_pudding_has_the_published_quasi_variances(pudding: Consensus) -> None:
    published = [0.01766108, 0.01761919, 0.01948091, 0.01769538, 0.01957908, 0.01937796]
    found = [error**2 for error in pudding.quasi_standard_errors().values()]
    assert found == pytest.approx(published, abs=1e-7)


def test_three_linked_items_have_the_published_fit() -> None:
    found = fit([ranking for ranking in TOY if ["D"] not in ranking], prior=None)
    for item, estimate, error in (("B", 0.8392, 1.3596), ("C", 0.4196, 1.5973)):
        difference = found.difference(item, "A")
        assert difference.estimate == pytest.approx(estimate, abs=5e-5)
        assert difference.standard_error == pytest.approx(error, abs=5e-5)
    assert -2 * found.log_likelihood == pytest.approx(5.1356, abs=5e-5)
    assert sum(found.scores.values()) == pytest.approx(0, abs=1e-12)


def test_pseudo_rankings_give_an_item_that_always_loses_the_published_score() -> None:
    found = fit(TOY, prior=PseudoRankings(0.5))
    against_a = [found.difference(item, "A").estimate for item in "BCD"]
    assert against_a == pytest.approx([0.5184185, 0.1354707, -1.1537565], abs=1e-6)


def test_adherences_are_those_of_the_package() -> None:
    # Its test of estimated adherences: ranks of four fruits by eight rankers, 0 unranked; gamma prior 100, 100.
    ranks = np.array(
        [
            [1, 2, 3, 0],
            [0, 1, 2, 3],
            [2, 1, 0, 3],
            [1, 2, 3, 0],
            [2, 0, 1, 3],
            [1, 0, 3, 2],
            [1, 2, 0, 0],
            [0, 1, 2, 0],
        ]
    )
    rankings = [[[int(item)] for item in np.argsort(row) if row[item]] for row in ranks]
    found = fit(
        rankings, annotators=range(8), prior=PseudoRankings(0.5), adherence=Adherence(shape=100, rate=100)
    )
    published = [
        0.99560284,
        0.99597636,
        0.99080292,
        0.99560284,
        0.97604704,
        0.99166396,
        0.99157188,
        0.99266463,
    ]
    assert list(found.reliability.values()) == pytest.approx(published, abs=1e-4)
    worth = np.exp([found.scores[fruit] for fruit in range(4)])
    assert worth / worth.sum() == pytest.approx(
        np.array([2.20098389, 1.47977409, 0.2832371, 0.19216854]) / 4.15616363, abs=1e-4
    )
    assert found.log_likelihood == pytest.approx(-7.46763542, abs=5e-4)


def test_rankings_without_ties_have_the_scores_that_choix_finds() -> None:
    rankings = [(0, 1, 2, 3), (2, 0, 3, 1), (1, 3, 0, 2), (3, 0, 1), (2, 1), (0, 2, 1), (1, 2, 3), (2, 3, 0)]
    # choix 0.4.1: opt_rankings(4, rankings, tol=1e-12)
    published = [0.3359689829, -0.4278713793, 0.2602912164, -0.1683888200]
    found = fit([[[item] for item in ranking] for ranking in rankings], items=range(4), prior=None)
    assert list(found.scores.values()) == pytest.approx(published, abs=1e-6)


def test_the_nascar_season_has_hunters_worths() -> None:
    """Hunter 2004, "MM algorithms for generalized Bradley–Terry models", section 6: 36 races of 83 drivers, without the
    four who were last in each of their races. Each line of the file is a race, its drivers by number, the first first.
    Turner et al. 2020, section 2.3, give the same to these digits."""
    lines = (Path(__file__).parent / "nascar2002.txt").read_text().splitlines()
    races: list[Tiers] = [[[int(driver)] for driver in line.split()] for line in lines]
    found = fit(races, prior=None)
    pj_jones, scott_pruett, mark_martin, dave_marcis, dick_trickle, joe_varde = 58, 68, 51, 15, 17, 40
    published = {
        pj_jones: 4.15,
        scott_pruett: 3.62,
        mark_martin: 2.08,
        dave_marcis: 0.03,
        dick_trickle: -0.31,
        joe_varde: -0.15,
    }
    a_cameron = found.scores[1]
    assert len(found.scores) == 83 and found.converged
    assert {driver: round(found.scores[driver] - a_cameron, 2) for driver in published} == published
    best = sorted(found.scores, key=lambda driver: -found.scores[driver])
    assert best[:2] == [pj_jones, scott_pruett]
