"""What is held likely of scores, ties and annotators before anyone ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

PRIOR = 1.5
TIE_SPREAD = 3.0
"""Standard deviation of log δ around 0, where scores have a normal prior. It is wide (ties of two equal items between
0.1 and 99.5 %) and keeps δ finite where every choice is a tie."""


@dataclass(frozen=True, slots=True)
class PseudoRankings:
    """Each item beats and loses to an imagined item of score 0, ``number`` times (Turner et al. 2020, section 2.3).

    It links all items, so that each has a finite score.
    """

    number: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.number < math.inf:
            raise ValueError(f"the number of pseudo-rankings must be positive, not {self.number}")


@dataclass(frozen=True, slots=True)
class Adherence:
    """The gamma prior of the annotators' adherences, with density ``a^(shape − 1) e^(−rate a)``.

    The larger the shape, the more alike annotators are taken to be. Its mode is (shape − 1) / rate.
    """

    shape: float = 10.0
    rate: float = 9.0

    def __post_init__(self) -> None:
        if not (1 < self.shape < math.inf and 0 < self.rate < math.inf):
            raise ValueError(
                f"adherence needs a gamma prior with a shape above 1 and a positive rate, not {self.shape} and "
                f"{self.rate}"
            )


@dataclass(frozen=True, slots=True)
class Spread:
    """A normal prior around 0 whose standard deviation, in log-worth, is learned from rankings of the same items.

    Before they say anything it is taken to be ``guess``, right to a factor of ``e^doubt`` two times of three. 1.5: half
    of all pairs of responses are more clear-cut than 4 wins to 1.
    """

    guess: float = PRIOR
    doubt: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.guess < math.inf and 0 < self.doubt < math.inf):
            raise ValueError(
                f"the prior's standard deviation and the doubt of it must be positive and finite, not {self.guess} and "
                f"{self.doubt}"
            )


Prior = float | Spread | PseudoRankings | None
"""Of scores: normal with this standard deviation, or with one that is learned; pseudo-rankings; or none."""


def checked(prior: Prior) -> Prior:
    """Return the prior of scores.

    Raises:
        ValueError: a standard deviation is not positive.
    """
    if prior is None or isinstance(prior, Spread | PseudoRankings):
        return prior
    if not 0 < prior < math.inf:
        raise ValueError(f"the prior's standard deviation must be positive and finite, not {prior}")
    return float(prior)


def normal(spread: float, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the log-density at each score but for a constant, its first derivative, and minus its second."""
    return -(scores**2) / (2 * spread**2) - math.log(spread), -scores / spread**2, spread**-2


def imagined(prior: PseudoRankings, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the log-likelihood of each item's pseudo-rankings, its first derivative, and minus its second."""
    half = np.tanh(scores / 2)  # 2 σ(s) − 1
    value = -prior.number * (np.logaddexp(0, scores) + np.logaddexp(0, -scores))
    return value, -prior.number * half, prior.number * (1 - half**2) / 2
