"""Machines as annotators: heard beside people, never louder than them.

Scores of people alone come first, with adherences, ties and spread. A machine's adherence is how far its rankings
follow those scores, so it cannot raise its own standing by moving them. Then its rankings are added, their weights cut
down where they would outweigh people's, and the scores fitted again; all else stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alignment.consensus.choices import Choices
from alignment.consensus.climbing import Climb, climb, score
from alignment.consensus.likelihood import Likelihood
from alignment.consensus.posterior import Posterior

STEPS = 50
TOLERANCE = 1e-10
"""Of a step of a log-adherence."""


def held_share(share: float, items: int) -> float:
    """Return the share of a set's weight at which machines that are sure of the contrary do not turn two people who
    rank its items alike; at a half of a pair, the two would cancel out.

    A ranking is a sequence of choices, and who puts the best item last makes it lose all of them: so the more items,
    the less it takes. By search over permutations, with priors of 0.8 and 1.5, what machines may weigh of people is
    0.99 for 2 items, 0.39 for 3, 0.22 for 4, 0.13 for 6; ``2 / (items · (items − 1))`` is below that.

    Args:
        share: at most this, of pairs; 1 does not hold machines back.
        items: of the largest ranking, 2 or more.
    """
    if share == 1:
        return 1.0
    ratio = share / (1 - share) * 2 / (items * (items - 1))
    return ratio / (1 + ratio)


def beside_people(by_people: Posterior, posterior: Posterior, machine: np.ndarray, share: float) -> Climb:
    """Return the fit in which machines' rankings weigh at most ``share`` of each connected set's.

    Args:
        by_people: of people's rankings alone, with the same items, annotators and ties.
        posterior: of all rankings.
        machine: which annotators are machines. Shape: ``(annotators,)``.
    """
    first = climb(by_people, by_people.start(), np.zeros(len(by_people.likelihood.blocks.order)))
    shared, blocks = first.settled.shared.copy(), posterior.likelihood.blocks
    scores = first.scores[by_people.likelihood.blocks.place[blocks.order]]
    information = first.information
    if information is None:
        information = by_people.information(first.settled, observed=True)
    if posterior.likelihood.annotators:
        free, curvature = _adherences(posterior, machine, shared, scores)
        shared[: len(machine)][machine] = free
        information = information.copy()
        rows = np.flatnonzero(machine)
        information[rows, rows] = curvature
    cap_weights(posterior, machine, share, posterior.point(shared, scores).adherence)
    found = score(posterior, shared, scores)
    trouble = first.trouble or found.trouble
    return replace(found, information=information, iterations=first.iterations, trouble=trouble)


def _adherences(
    posterior: Posterior, machine: np.ndarray, shared: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the machines' free log-adherences, the scores held, and minus the second derivative by them."""
    likelihood, prior = posterior.likelihood, posterior.adherence
    of_machines = []
    for group in likelihood.choices:
        if group.annotator is not None:
            rows = np.flatnonzero(machine[group.annotator])
            if len(rows):
                of_machines.append(group.only(rows, telling=True, of_sets=group.of_sets))
    alone = Likelihood(
        of_machines, likelihood.blocks, likelihood.annotators, likelihood.orders, likelihood.covariates
    )
    shared, rows = shared.copy(), np.flatnonzero(machine)
    for _ in range(STEPS):
        point = posterior.point(shared, scores)
        slope = alone.slopes(point).shared[rows]
        curvature = np.diag(alone.shared_information(point, observed=False)[0])[rows]
        free = np.exp(shared[rows])
        slope, curvature = slope + prior.shape - 1 - prior.rate * free, curvature + prior.rate * free
        step = np.clip(slope / curvature, -1, 1)
        shared[rows] += step
        if np.abs(step).max() <= TOLERANCE:
            break
    return shared[rows], curvature


def cap_weights(
    posterior: Posterior, machine: np.ndarray, share: float, adherence: np.ndarray | None
) -> None:
    """Cut the weights of machines' choices down, in each connected set by one factor, until neither what they weigh nor
    how hard they pull is more than their share.

    A choice of weight w and adherence a brings an information of w·a² on scores that are alike, and pulls at them, by
    the likelihood's slope, with w·a. Steady machines would outweigh people by the first; many unsteady ones that say
    the same outpull them by the second.
    """
    blocks, choices = posterior.likelihood.blocks, posterior.likelihood.choices
    one_ranking = np.bincount(blocks.set_of, minlength=blocks.sets) - 1
    factor = np.ones(blocks.sets)
    for power in (1, 2):
        people, machines = np.zeros(blocks.sets), np.zeros(blocks.sets)
        for group in choices:
            if group.annotator is None:
                continue
            strength = 1.0 if adherence is None else adherence[group.annotator] ** power
            weighs, by_machine = group.weight * strength, machine[group.annotator]
            people += np.bincount(_sets(posterior, group), weighs * ~by_machine, blocks.sets)
            machines += np.bincount(_sets(posterior, group), weighs * by_machine, blocks.sets)
        limit = np.where(people > 0, people * share / (1 - share), one_ranking)
        factor = np.minimum(factor, np.where(machines > limit, limit / np.maximum(machines, 1e-300), 1.0))
    for group in choices:
        if group.annotator is not None:
            by_machine = machine[group.annotator]
            group.weight = np.where(by_machine, group.weight * factor[_sets(posterior, group)], group.weight)


def _sets(posterior: Posterior, group: Choices) -> np.ndarray:
    return posterior.likelihood.blocks.set_of[group.item[0]]
