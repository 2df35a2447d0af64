"""The shared parameters' mode, by a quasi-Newton method.

L-BFGS (Nocedal and Wright 2006, algorithm 7.4) whose first guess of the curvature is the expected information: near the
mode it is off by the part of the curvature that comes from integrating the scores out, which a few steps' slopes tell.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh

from alignment.consensus.moments import moments
from alignment.consensus.posterior import SCORE_TOLERANCE, Posterior, Settled

ITERATIONS = 100
TOLERANCE = 1e-13
"""Of the squared length of a step, in standard errors of the shared parameters."""
ROUGH = 0.1
"""The same, of one parameter, where cubature is to do better."""
FINE = 0.02
"""The same, of one parameter, of the last step by cubature: a seventh of a standard error, taken all the same, which
leaves a few hundredths."""
REFINEMENTS = 25
PUSHES = 5
NEAR = 1e-3
"""How close to their mode scores are brought on the way from one cubature to the next."""
LOOSEST = 1e-3
"""How close to their mode scores are brought at first."""
RENEWED = 2
"""For so many iterations the information is computed anew; then the remembered steps amend it."""
REMEMBERED = 12
LONGEST_STEP = 1.5
"""By which one step changes a shared parameter at most, all of them being logarithms or like them."""
SHORT_STEP = 0.5
"""The same, where cubature does better: there is no value to compare."""


Steps = deque[tuple[np.ndarray, np.ndarray, float]]
Factor = tuple[np.ndarray, bool]


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    settled: Settled
    scores: np.ndarray
    """Shape: ``(items,)``."""
    covariance: np.ndarray
    """Of the scores, the shared parameters held, a block matrix."""
    information: np.ndarray | None
    """On the shared parameters, where cubature tells it. Shape: ``(shared, shared)``."""
    iterations: int
    trouble: str
    """Why the mode was not reached; empty if it was."""


def climb(posterior: Posterior, shared: np.ndarray, scores: np.ndarray) -> Climb:
    """Return the shared parameters' mode and the scores given them, from where it starts."""
    cubature = _has_small(posterior)
    path = _Path()
    if not len(shared):
        return score(posterior, shared, scores)
    enough = ROUGH * len(shared) if cubature else TOLERANCE
    settled, iterations, trouble = _ascend(posterior, shared, scores, path, enough)
    if not cubature:
        return Climb(settled, settled.point.scores, settled.covariance, None, iterations, trouble)
    found = moments(posterior, settled)
    if trouble:
        return Climb(settled, found.mean, found.covariance, found.information, iterations, trouble)
    for more in range(REFINEMENTS):
        direction = path.direction(found.slope)
        if float(found.slope @ direction) <= FINE * len(shared):
            shift = found.mean - settled.point.scores
            settled = posterior.settle(settled.shared + direction, settled.point.scores)
            scores = settled.point.scores + shift
            return Climb(settled, scores, found.covariance, found.information, iterations + more, "")
        before, started = found, settled
        if more == 0:
            settled = _pushed(posterior, settled, path, found.slope)
        else:
            direction *= min(1.0, SHORT_STEP / np.abs(direction).max())
            settled = posterior.settle(settled.shared + direction, settled.point.scores)
        found = moments(posterior, settled)
        path.remember(settled.shared - started.shared, before.slope - found.slope)
    iterations += REFINEMENTS
    return Climb(settled, found.mean, found.covariance, found.information, iterations, _slow(REFINEMENTS))


def _pushed(posterior: Posterior, settled: Settled, path: _Path, slope: np.ndarray) -> Settled:
    """Go to where Laplace's slope, with what cubature adds to it here, vanishes, in a few steps: cubature costs many
    times as much as they do."""
    push = slope - posterior.slope(settled)
    gain = math.inf
    for _ in range(PUSHES):
        direction = path.direction(slope)
        before, gain = gain, float(slope @ direction)
        if gain <= FINE * len(slope) / 50 or gain > before:
            break
        direction *= min(1.0, SHORT_STEP / np.abs(direction).max())
        there = posterior.settle(settled.shared + direction, settled.point.scores, NEAR)
        change = posterior.slope(there) + push
        path.remember(direction, slope - change)
        settled, slope = there, change
    return posterior.settle(settled.shared, settled.point.scores)


def score(posterior: Posterior, shared: np.ndarray, scores: np.ndarray) -> Climb:
    """Return the scores given the shared parameters, from where they start."""
    settled = posterior.settle(shared, scores)
    trouble = "" if settled.reached else _slow(settled.steps)
    if not _has_small(posterior):
        return Climb(settled, settled.point.scores, settled.covariance, None, settled.steps, trouble)
    found = moments(posterior, settled)
    return Climb(settled, found.mean, found.covariance, found.information, settled.steps, trouble)


def _has_small(posterior: Posterior) -> bool:
    """Whether cubature betters Laplace's approximation somewhere."""
    return posterior.integrated and any(group.of_sets for group in posterior.likelihood.choices)


def _ascend(
    posterior: Posterior, shared: np.ndarray, scores: np.ndarray, path: _Path, enough: float
) -> tuple[Settled, int, str]:
    """Climb to Laplace's mode until a step's squared length is ``enough``; return how many steps it took, and what
    went wrong."""
    tolerance = LOOSEST
    settled = posterior.settle(shared, scores, tolerance)
    slope = posterior.slope(settled)
    for iteration in range(ITERATIONS):
        if iteration < RENEWED:
            path.renew(posterior.information(settled, observed=False))
        direction = path.direction(slope)
        gain = float(slope @ direction)
        if gain <= enough:
            if tolerance > SCORE_TOLERANCE and enough == TOLERANCE:
                # The scores have not been asked to follow that closely.
                tolerance = SCORE_TOLERANCE
                settled = posterior.settle(settled.shared, settled.point.scores)
                slope = posterior.slope(settled)
                continue
            # The last step too, so that hardly more than rounding tells results of different orders apart.
            settled = posterior.settle(settled.shared + direction, settled.point.scores)
            return settled, iteration, "" if settled.reached else _slow(settled.steps)
        direction = direction * min(1.0, LONGEST_STEP / np.abs(direction).max())
        # What scores short of their mode take off the value must be little beside what the step gains.
        tolerance = min(tolerance, max(SCORE_TOLERANCE, 0.03 * math.sqrt(gain / len(scores))))
        trial = _better(posterior, settled, slope, direction, tolerance)
        if trial is None:
            return settled, iteration, "no step gains any more, though the slope is not yet zero"
        change = posterior.slope(trial)
        path.remember(trial.shared - settled.shared, slope - change)
        settled, slope = trial, change
    return settled, ITERATIONS, _slow(ITERATIONS)


def _better(
    posterior: Posterior, settled: Settled, slope: np.ndarray, direction: np.ndarray, tolerance: float
) -> Settled | None:
    """Go along the direction, half as far as long as that does not gain enough (Armijo's rule)."""
    share = 1.0
    rounding = 1e-10 * (1 + abs(settled.value))
    for _ in range(30):
        trial = posterior.settle(settled.shared + share * direction, settled.point.scores, tolerance)
        if trial.value >= settled.value + 1e-4 * share * float(slope @ direction) - rounding:
            return trial
        share /= 2
    return None


class _Path:
    """What is known of the curvature: a first guess, and the last steps with the changes of slope along them."""

    def __init__(self) -> None:
        self._steps: Steps = deque(maxlen=REMEMBERED)
        self._factor: Factor = (np.eye(0), False)

    def renew(self, information: np.ndarray) -> None:
        self._steps.clear()
        try:
            self._factor = cho_factor(information)
        except LinAlgError:
            # Far from the mode the scores may take more than all of a direction's information.
            values, vectors = eigh(information)
            kept = np.maximum(np.abs(values), 1e-6 * np.abs(values).max())
            self._factor = cho_factor((vectors * kept) @ vectors.T)

    def remember(self, moved: np.ndarray, bent: np.ndarray) -> None:
        along = float(moved @ bent)
        if along > 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(bent)):
            self._steps.append((moved, bent, 1 / along))

    def direction(self, slope: np.ndarray) -> np.ndarray:
        left = slope.copy()
        parts = []
        for moved, bent, scale in reversed(self._steps):
            part = scale * float(moved @ left)
            left -= part * bent
            parts.append(part)
        found = cho_solve(self._factor, left)
        if self._steps:
            moved, bent, _ = self._steps[-1]
            found *= float(moved @ bent) / float(bent @ cho_solve(self._factor, bent))
        for (moved, bent, scale), part in zip(self._steps, reversed(parts), strict=True):
            found += moved * (part - scale * float(bent @ found))
        return found


def _slow(steps: int) -> str:
    return f"{steps} steps were not enough"
