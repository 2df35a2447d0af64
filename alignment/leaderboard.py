"""A leaderboard: sources by the worth of what they write, with ranks that say no more than rankings do.

The scores are a consensus over sources instead of responses: whoever ranks two responses compares their sources. Style
can be controlled for as the LMSYS arena does (Li et al. 2024, "Does style matter?"): features of each response are
covariates, whose effect is taken out of the scores.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from alignment.consensus import Adherence, Consensus, Estimate, Prior, Rankings, Spread, fit


@dataclass(frozen=True, slots=True)
class Standing:
    """A source's place."""

    source: Hashable
    score: float
    """Log-worth, the mean of all sources being 0."""
    standard_error: float
    """Of the score."""
    quasi_standard_error: float
    """Of any difference of two scores, the standard error is about the root of the sum of both squares."""
    low: float
    high: float
    """Ends of an interval from which comparisons may be read: where those of two sources do not overlap, they differ.
    From quasi-standard errors."""
    best_rank: int
    """One more than the number of sources that are better beyond doubt."""
    worst_rank: int
    """The number of sources that are not worse beyond doubt."""
    responses: int
    """How many rankings' places the source had."""


@dataclass(frozen=True, slots=True)
class Leaderboard:
    standings: tuple[Standing, ...]
    """Best first."""
    effects: Mapping[str, Estimate]
    """What a standard deviation of each style feature adds to a score."""
    consensus: Consensus
    level: float


def leaderboard(
    rankings: Rankings,
    *,
    prior: Prior = Spread(),  # noqa: B008 - frozen
    adherence: Adherence | None = Adherence(),  # noqa: B008 - frozen
    machines: Collection[Hashable] = (),
    machine_share: float = 0.5,
    level: float = 0.95,
) -> Leaderboard:
    """Return the standings of the sources that rankings compare.

    Args:
        rankings: their items are sources; of covariates, such as `style_of` gives, each is measured in its standard
            deviation.
        prior, adherence, machines, machine_share: as of `alignment.consensus.fit`. A prior keeps a source that always
            wins in reach; beside hundreds of rankings it hardly counts.
        level: of intervals.

    Raises:
        ValueError: as of `alignment.consensus.fit`, or the level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level must be between 0 and 1, not {level}")
    found = fit(
        _standardised(rankings),
        prior=prior,
        adherence=adherence,
        machines=machines,
        machine_share=machine_share,
    )
    return Leaderboard(_standings(found, rankings, level), found.effects, found, level)


def rankings_of_sources(
    rankings: Sequence[Sequence[Sequence[int]]],
    sources: Sequence[Sequence[Hashable]],
    *,
    annotators: Sequence[Hashable] | None = None,
    style: Sequence[Sequence[Mapping[str, float]]] | None = None,
) -> Rankings:
    """Return rankings of responses as rankings of their sources.

    Responses of one source in one task say nothing of it and stay: what they say of style counts.

    Args:
        rankings: tiers of numbers of responses, best first.
        sources: for each ranking, whom each of the task's responses is from.
        annotators: who gave each ranking.
        style: for each ranking, features of each of the task's responses, all with the same names.
    """
    names: dict[Hashable, int] = {}
    item, tier, sizes, features = [], [], [], []
    feature_names = list(style[0][0]) if style and style[0] else []
    for row, tiers in enumerate(rankings):
        size = 0
        for place, numbers in enumerate(tiers):
            for number in numbers:
                item.append(names.setdefault(sources[row][number], len(names)))
                tier.append(place)
                size += 1
                if style is not None:
                    features.append([style[row][number][name] for name in feature_names])
        sizes.append(size)
    found = Rankings(
        items=list(names),
        item=np.array(item, np.int64),
        tier=np.array(tier, np.int64),
        sizes=np.array(sizes, np.int64),
    ).given_by(annotators)
    if style is None:
        return found
    return found.with_covariates(
        feature_names, np.array(features, float).reshape(len(item), len(feature_names))
    )


def _standardised(rankings: Rankings) -> Rankings:
    """Measure covariates in standard deviations within rankings: how far the responses that one compares differ."""
    if rankings.covariates is None:
        return rankings
    ranking = np.repeat(np.arange(len(rankings)), rankings.sizes)
    centred = np.empty_like(rankings.covariates)
    for n, column in enumerate(rankings.covariates.T):
        mean = np.bincount(ranking, column, len(rankings)) / np.maximum(rankings.sizes, 1)
        centred[:, n] = column - mean[ranking]
    spread = np.sqrt((centred**2).mean(axis=0)) if len(centred) else np.ones(centred.shape[1])
    varying = spread > 1e-12
    names = [name for name, varies in zip(rankings.covariate_names, varying, strict=True) if varies]
    return rankings.with_covariates(names, centred[:, varying] / spread[varying])


def _standings(found: Consensus, rankings: Rankings, level: float) -> tuple[Standing, ...]:
    sources = list(found.scores)
    if not sources:
        return ()
    scores = np.array([found.scores[source] for source in sources])
    scores -= scores.mean()
    covariance = found.covariance(sources)
    centre = np.eye(len(sources)) - 1 / len(sources)
    errors = np.sqrt(np.maximum(np.diag(centre @ covariance @ centre), 0))
    quasi = np.zeros(len(sources))
    if len(sources) > 1:
        quasi = np.array(list(found.quasi_standard_errors(sources).values()))
    reach = float(ndtri((1 + level) / 2))
    own = np.diag(covariance)
    of_difference = np.sqrt(np.maximum(own[:, None] + own - 2 * covariance, 0))
    ahead = (scores[:, None] - scores) > reach * of_difference
    np.fill_diagonal(ahead, False)
    best, worst = 1 + ahead.sum(axis=0), len(sources) - ahead.sum(axis=1)
    responses = np.bincount(rankings.item, minlength=len(sources))
    return tuple(
        Standing(
            source=sources[n],
            score=float(scores[n]),
            standard_error=float(errors[n]),
            quasi_standard_error=float(quasi[n]),
            low=float(scores[n] - reach * quasi[n]),
            high=float(scores[n] + reach * quasi[n]),
            best_rank=int(best[n]),
            worst_rank=int(worst[n]),
            responses=int(responses[n]),
        )
        for n in sorted(range(len(sources)), key=lambda n: (-scores[n], n))
    )
