"""Scores that foretell the next ranking: the posterior's uncertainty and the annotators' differences taken in."""

from __future__ import annotations

import math

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit

from alignment.consensus.blocks import Blocks, Run

PEOPLE = 32
"""Quantiles that stand for the annotators' adherences where they are more than that many."""
ENTRIES_AT_ONCE = 2**22


def predictive(
    blocks: Blocks,
    scores: np.ndarray,
    within: np.ndarray,
    response: csr_matrix,
    shared: np.ndarray,
    adherences: np.ndarray,
) -> np.ndarray:
    """Return the scores of each connected set, all drawn towards 0 by one factor, such that σ(score of i − score of j)
    is as nearly as one factor can make it the probability that the next annotator, anyone, prefers i to j.

    Estimates by themselves foretell too much: what is left open of a difference d, with variance v, draws its
    expected probability towards one half, to σ(a·d / √(1 + π·a²·v / 8)) for an annotator of adherence a (MacKay 1992,
    "The evidence framework applied to classification networks", equation 10), and so does it that annotators differ.
    Of each pair's factor, the logit of that over d, a set gets the mean, weighted by p·(1 − p)·d²: what a difference's
    error costs in log-loss. A factor changes neither order nor ties.

    Args:
        blocks: of the items.
        scores: their estimates. Shape: ``(items,)``.
        within: their covariance, the shared parameters held, a block matrix.
        response: how they follow the shared parameters. Shape: ``(items, shared)``.
        shared: covariance of the shared parameters. Shape: ``(shared, shared)``.
        adherences: of the annotators, in any order. Shape: ``(annotators,)``.
    """
    found = scores.copy()
    of_people = np.ones(1)
    if len(adherences) > PEOPLE:
        of_people = np.quantile(adherences, (np.arange(PEOPLE) + 0.5) / PEOPLE)
    elif len(adherences):
        of_people = np.sort(adherences)
    for run, view in zip(blocks.runs, blocks.views(within), strict=True):
        if run.size == 1:
            continue
        pairs = run.size * (run.size - 1) // 2
        step = max(1, ENTRIES_AT_ONCE // (run.size * max(1, len(shared)) + pairs * len(of_people)))
        for start in range(0, len(view), step):
            some = slice(start, min(start + step, len(view)))
            items = slice(run.items.start + some.start * run.size, run.items.start + some.stop * run.size)
            covariance = view[some] + _by_shared(run, response[items], shared)
            of_sets = scores[items].reshape(-1, run.size)
            found[items] = (of_sets * _factors(of_sets, covariance, of_people)[:, None]).reshape(-1)
    return found


def _by_shared(run: Run, response: csr_matrix, shared: np.ndarray) -> np.ndarray:
    """What the shared parameters' uncertainty adds to the covariance of each set. Shape: ``(sets, size, size)``."""
    if not len(shared) or not np.isfinite(shared).all():
        return np.zeros((response.shape[0] // run.size, run.size, run.size))
    left = np.asarray(response @ shared).reshape(-1, run.size, len(shared))
    right = response.toarray().reshape(-1, run.size, len(shared))
    return left @ right.transpose(0, 2, 1)


def _factors(scores: np.ndarray, covariance: np.ndarray, adherences: np.ndarray) -> np.ndarray:
    """Return the factor of each set. Shape: ``(sets,)``.

    Args:
        scores: shape ``(sets, size)``.
        covariance: shape ``(sets, size, size)``.
        adherences: shape ``(people,)``.
    """
    upper, lower = np.triu_indices(scores.shape[1], 1)
    difference = scores[:, upper] - scores[:, lower]
    own = np.diagonal(covariance, axis1=1, axis2=2)
    variance = np.maximum(own[:, upper] + own[:, lower] - 2 * covariance[:, upper, lower], 0.0)
    probability = np.zeros_like(difference)
    for adherence in adherences:
        probability += expit(adherence * difference / np.sqrt(1 + math.pi * adherence**2 * variance / 8))
    # A probability of exactly 1 has no logit; differences that large are far beyond what data tell.
    probability = np.clip(probability / len(adherences), 1e-12, 1 - 1e-12)
    weight = probability * (1 - probability)
    logit = np.log(probability / (1 - probability))
    total = (weight * difference**2).sum(axis=1)
    # Where all scores are equal, any factor leaves them so.
    return np.divide(
        (weight * difference * logit).sum(axis=1), total, out=np.ones(len(total)), where=total > 0
    )
