"""`fit`: from rankings to scores."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from alignment.consensus.blocks import Blocks
from alignment.consensus.choices import Choices
from alignment.consensus.climbing import Climb, climb
from alignment.consensus.grouping import choices_of
from alignment.consensus.likelihood import Likelihood
from alignment.consensus.machines import beside_people, cap_weights
from alignment.consensus.posterior import Posterior
from alignment.consensus.priors import Adherence, Prior, Spread, checked
from alignment.consensus.rankings import Rankings, Tiers
from alignment.consensus.result import Consensus, Estimate, Fitted

MOST_ANNOTATORS = 5_000
"""With an adherence of their own; the information on them is a matrix with this number squared of entries."""


def fit(
    rankings: Sequence[Tiers] | Rankings,
    *,
    items: Sequence[Hashable] | None = None,
    annotators: Sequence[Hashable] | None = None,
    prior: Prior = Spread(),  # noqa: B008 - frozen
    adherence: Adherence | None = Adherence(),  # noqa: B008 - frozen
    machines: Collection[Hashable] = (),
    machine_share: float = 0.5,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Consensus:
    """Fit the Davidson–Luce model (see `alignment.consensus.choices`) to rankings, of one set of items or of many that
    share only annotators.

    Neither the order of rankings nor that of items changes the result beyond rounding. A ranking's last tier is a
    choice too if it holds a tie. Rankings of one item say nothing and are left out.

    Args:
        rankings: tiers of items, best first; those in one tier are tied, those in none take no part. Or the same as
            columns, which may have covariates; then give items, annotators and weights there.
        items: further items; they also fix the order of the result.
        annotators: who gave each ranking. Shape: ``(rankings,)``.
        prior: of scores. `Spread` is a normal prior around 0 whose standard deviation is learned, a number one with
            that standard deviation in log-worth; the scores of each set that rankings link sum to zero, then.
            `PseudoRankings` tie all items to one of score 0. None is plain maximum likelihood: scores of each linked
            set sum to zero, and differences between sets mean nothing.
        adherence: the prior of the annotators' adherences; none takes all annotators to be alike. With a normal
            prior of scores the people's adherences have the mean 1, so scores are those of an average person. Where
            no item was ranked twice, nothing is known of annotators, and all adherences are 1.
        machines: annotators that are no people. All of a connected set's together weigh at most ``machine_share``, a
            ranking's weight being the square of its annotator's adherence times its number of choices; where no
            person ranked, they weigh at most as much as one ranking of a person's.
        machine_share: from above 0 to 1; 0.5: machines never outweigh people; 1: they count as people do.
        weights: how many times each ranking counts. Shape: ``(rankings,)``.

    Raises:
        ValueError: an item stands twice in a ranking, numbers of rankings, annotators and weights differ, a weight is
            negative, the prior is not positive, annotators are more than `MOST_ANNOTATORS`, rankings link too many
            items, or without a prior the likelihood has no maximum: some items were never ranked below or tied with
            some others that they are linked to.
    """
    given = _columns(rankings, items, annotators, weights)
    if adherence is None and not machines:
        given = replace(given, annotators=(), annotator=None)
    prior = checked(prior)
    if not 0 < machine_share <= 1:
        raise ValueError(f"machine_share must be above 0 and at most 1, not {machine_share}")
    # Matrices are small, and BLAS's own threads wait in loops: on a busy machine they take a hundred times as long.
    with threadpool_limits(1, user_api="blas"):
        return _fit(given, prior, adherence, set(machines), machine_share)


def _fit(
    given: Rankings,
    prior: Prior,
    adherence: Adherence | None,
    machines: set[Hashable],
    machine_share: float,
) -> Consensus:
    if adherence is not None and len(given.annotators) > MOST_ANNOTATORS:
        raise ValueError(
            f"{len(given.annotators)} annotators, but at most {MOST_ANNOTATORS} can have an adherence of their own: "
            "give those with few rankings one name, or adherence=None to take all to be alike"
        )
    machine = np.array([who in machines for who in given.annotators], bool)
    cap = machine_share < 1 and machine.any()
    people = machine if machine.all() else ~machine
    posterior = _posterior(given, prior, adherence, people)
    if cap and not machine.all():
        by_people = np.where(machine[given.annotator], 0.0, 1.0 if given.weight is None else given.weight)
        alone = _posterior(
            replace(given, weight=by_people), prior, adherence, people, posterior.likelihood.orders
        )
        if alone.likelihood.choices:
            # Machines do not make known what people's rankings alone leave open.
            posterior = replace(posterior, prior=alone.prior, likelihood=_like(posterior, alone))
            return _result(given, posterior, beside_people(alone, posterior, machine, machine_share))
    if cap:
        cap_weights(posterior, machine, machine_share, None)
    return _result(given, posterior, climb(posterior, posterior.start(), np.zeros(len(given.items))))


def _posterior(
    given: Rankings,
    prior: Prior,
    adherence: Adherence | None,
    people: np.ndarray,
    also_tied: tuple[int, ...] = (),
) -> Posterior:
    choices, blocks, orders = choices_of(given, also_tied)
    if prior is None:
        _check_maximum(given, choices, blocks)
    telling = _telling_sets(choices, blocks)
    if isinstance(prior, float | Spread) and not telling.any():
        prior = prior.guess if isinstance(prior, Spread) else prior
        adherence = None
    if not telling.any() or not isinstance(prior, float | Spread):
        telling[:] = True
        for group in choices:
            group.telling = True
    likelihood = Likelihood(
        choices=choices,
        blocks=blocks,
        annotators=len(given.annotators) if adherence is not None and given.annotator is not None else 0,
        orders=orders,
        covariates=len(given.covariate_names),
    )
    averaged = people & _informative(choices, len(given.annotators))
    return Posterior(
        likelihood, prior, adherence or Adherence(), averaged if averaged.any() else people, telling
    )


def _like(posterior: Posterior, other: Posterior) -> Likelihood:
    return replace(posterior.likelihood, annotators=other.likelihood.annotators)


def _columns(
    rankings: Sequence[Tiers] | Rankings,
    items: Sequence[Hashable] | None,
    annotators: Sequence[Hashable] | None,
    weights: Sequence[float] | np.ndarray | None,
) -> Rankings:
    if not isinstance(rankings, Rankings):
        return Rankings.of(rankings, items=items, annotators=annotators, weights=weights)
    if items is not None or annotators is not None or weights is not None:
        raise ValueError("rankings given as columns hold their items, annotators and weights themselves")
    return rankings


def _telling_sets(choices: Sequence[Choices], blocks: Blocks) -> np.ndarray:
    """Which connected sets tell of the shared parameters. Shape: ``(sets,)``."""
    found = np.zeros(blocks.sets, bool)
    for group in choices:
        if group.telling:
            found[blocks.set_of[group.item[0]]] = True
    return found


def _informative(choices: Sequence[Choices], annotators: int) -> np.ndarray:
    """Which annotators made a choice. Shape: ``(annotators,)``."""
    found = np.zeros(annotators, bool)
    for group in choices:
        if group.annotator is not None:
            found[group.annotator] = True
    return found


def _check_maximum(given: Rankings, choices: Sequence[Choices], blocks: Blocks) -> None:
    """Check that the likelihood has a maximum in the scores: that within each linked set every item is reached from
    every other by a chain of "at least as good as" (Hunter 2004, assumption 1; Turner et al. 2020, section 2.3)."""
    better, worse = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for group in choices:
        for chosen in range(group.chosen):
            for other in range(len(group.item)):
                if other != chosen:
                    better.append(group.item[chosen])
                    worse.append(group.item[other])
    places = (np.concatenate(better), np.concatenate(worse))
    size = len(blocks.order)
    links = coo_matrix((np.ones(len(places[0]), np.int8), places), shape=(size, size)).tocsr()
    count, label = connected_components(links, connection="strong")
    if count == blocks.sets:
        return
    # Somewhere in a set that is not strongly linked an item group never loses to the rest of it.
    crossing = label[places[0]] != label[places[1]]
    above, below = places[0][crossing][0], places[1][crossing][0]
    raise ValueError(
        f"without a prior there is no best fit: {given.items[blocks.order[below]]!r} and what it beat were never "
        f"ranked above or tied with {given.items[blocks.order[above]]!r} and what that lost to, so their scores "
        "would drift apart for ever. Give a prior (a standard deviation, or PseudoRankings), or leave items out"
    )


def _result(given: Rankings, posterior: Posterior, found: Climb) -> Consensus:
    likelihood, settled = posterior.likelihood, found.settled
    free = posterior.prior is None
    scores = found.scores
    if posterior.integrated or free:
        scores = likelihood.blocks.centred(scores)  # but for rounding they are
    shared = posterior.with_adherences(settled.shared, _inverse(posterior, found))
    errors = np.sqrt(np.maximum(np.diag(shared), 0.0))
    count, orders = likelihood.annotators, len(likelihood.orders)
    adherence, of_adherence = settled.point.adherence, errors[:count]
    if adherence is None:
        adherence, of_adherence = np.ones(len(given.annotators)), np.zeros(len(given.annotators))
    of_annotators = list(map(Estimate, adherence.tolist(), of_adherence.tolist()))
    informative = _informative(likelihood.choices, len(given.annotators))
    of_ties = map(Estimate, settled.point.ties.tolist(), errors[count : count + orders].tolist())
    of_effects = map(Estimate, settled.point.effects.tolist(), errors[count + orders :].tolist())
    spread = None
    if isinstance(posterior.prior, Spread):
        spread = Estimate(posterior.spread(settled.shared), float(errors[-1]))
    elif isinstance(posterior.prior, float):
        spread = Estimate(posterior.prior, 0.0)
    return Consensus(
        ties=dict(zip(likelihood.orders, of_ties, strict=True)),
        effects=dict(zip(given.covariate_names, of_effects, strict=False)),
        spread=spread,
        log_likelihood=float(settled.slopes.value.sum()),
        converged=not found.trouble,
        trouble=found.trouble,
        iterations=found.iterations,
        _fitted=Fitted(
            index={item: n for n, item in enumerate(given.items)},
            blocks=likelihood.blocks,
            scores=scores,
            within=found.covariance,
            crossed=posterior.crossed(settled),
            shared=shared,
            people=adherence[informative & posterior.people],
            free=free,
        ),
        _adherence={
            who: each
            for who, each, told in zip(given.annotators, of_annotators, informative, strict=False)
            if told
        },
    )


def _inverse(posterior: Posterior, found: Climb) -> np.ndarray:
    """Return the covariance of the shared parameters: from what cubature tells, else from the observed information, and
    where that is not positive definite, from the expected one."""
    informations = (
        lambda: found.information,
        lambda: posterior.information(found.settled, observed=True),
        lambda: posterior.information(found.settled, observed=False),
    )
    for information in informations:
        matrix = information()
        if matrix is None:
            continue
        try:
            return cho_solve(cho_factor(matrix), np.eye(len(matrix)))
        except LinAlgError:
            continue
    return np.full((posterior.shared,) * 2, np.nan)
