"""From rankings to choices side by side: those of one shape together, alike ones as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from alignment.consensus.blocks import Blocks
from alignment.consensus.choices import SMALL_SET, Choices
from alignment.consensus.rankings import Rankings
from alignment.consensus.tie_sets import sets_of


def choices_of(
    rankings: Rankings, also_tied: tuple[int, ...] = ()
) -> tuple[list[Choices], Blocks, tuple[int, ...]]:
    """Return the choices that rankings are made of, grouped by shape, the blocks of their items, and the numbers of
    items, above one, that are tied somewhere.

    Where neither annotators nor covariates tell them apart, choices that are alike become one with their weight.

    Telling are the choices of connected sets with more than one ranking. Of items that are alike before anyone ranks
    them, one ranking is as likely as another, whoever gave it.

    Args:
        also_tied: further numbers of items that may tie.
    """
    usable = np.ones(len(rankings), bool) if rankings.weight is None else rankings.weight > 0
    shapes = _by_shape(rankings, usable)
    orders = tuple(sorted({*also_tied, *(chosen for _, chosen in shapes if chosen > 1)}))
    weight = np.ones(len(rankings)) if rankings.weight is None else rankings.weight
    alike = rankings.annotator is None and rankings.covariates is None
    drafts: list[tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]] = []
    for (_, chosen), (entries, ranking) in sorted(shapes.items()):
        item = rankings.item[entries]
        weights = weight[ranking]
        if alike:
            item, weights = _merged(item, weights, chosen, len(rankings.items))
            drafts.append((chosen, item, None, weights, None))
            continue
        who = None if rankings.annotator is None else rankings.annotator[ranking]
        covariates = None
        if rankings.covariates is not None:
            covariates = np.ascontiguousarray(rankings.covariates[entries].transpose(2, 0, 1))
        drafts.append((chosen, item, who, weights, covariates))
    links = [(np.broadcast_to(item[:1], item[1:].shape).ravel(), item[1:].ravel()) for _, item, *_ in drafts]
    empty = np.zeros(0, np.int64)
    left = np.concatenate([empty, *(one for one, _ in links)])
    right = np.concatenate([empty, *(other for _, other in links)])
    blocks = Blocks.of(len(rankings.items), left, right)
    compared = np.flatnonzero(usable & (rankings.sizes > 1))
    first = rankings.item[(np.cumsum(rankings.sizes) - rankings.sizes)[compared]]
    counted = np.bincount(blocks.set_of[blocks.place[first]], weight[compared], blocks.sets)
    telling = counted > 1 + 1e-9
    size = np.bincount(blocks.set_of, minlength=blocks.sets)
    kind = np.where(size <= SMALL_SET, size, 0) * 2 + telling
    found = []
    for draft in drafts:
        whole = _placed(draft, blocks, orders)
        of_choice = kind[blocks.set_of[whole.item[0]]]
        for each in _present(of_choice):
            rows = np.flatnonzero(of_choice == each)
            found.append(whole.only(rows, telling=bool(each % 2), of_sets=each // 2))
    return found, blocks, orders


def _by_shape(rankings: Rankings, usable: np.ndarray) -> dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Return the entries, ``(m, choices)``, and the ranking of the choices from m items of which c were chosen."""
    found: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
    for size in _present(rankings.sizes):
        if size < 2:
            continue
        entries, tier = _sorted_entries(rankings, size, usable)
        ranking = np.flatnonzero((rankings.sizes == size) & usable)
        lengths = _run_lengths(tier)
        for at in range(size - 1):
            starts = np.ones(len(ranking), bool) if at == 0 else tier[at] != tier[at - 1]
            for chosen in _present(lengths[at][starts]):
                rows = np.flatnonzero(starts & (lengths[at] == chosen))
                found[size - at, chosen].append((entries[at:, rows], ranking[rows]))
    return {
        shape: parts[0]
        if len(parts) == 1
        else (
            np.concatenate([entries for entries, _ in parts], axis=1),
            np.concatenate([ranking for _, ranking in parts]),
        )
        for shape, parts in found.items()
    }


def _present(numbers: np.ndarray) -> list[int]:
    """Return the different ones of small whole numbers, in order."""
    return np.flatnonzero(np.bincount(numbers)).tolist()


def _sorted_entries(rankings: Rankings, size: int, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return entries and tiers, ``(size, rankings)``, of the rankings of that size, best first."""
    wanted = (rankings.sizes == size) & usable
    if wanted.all():
        entries = np.arange(len(rankings.item)).reshape(-1, size).T.copy()
        tier = np.ascontiguousarray(rankings.tier.reshape(-1, size).T)
    else:
        starts = np.cumsum(rankings.sizes) - rankings.sizes
        entries = starts[wanted] + np.arange(size)[:, None]
        tier = rankings.tier[entries]
    if size == 2:
        turned = (tier[0] > tier[1]).astype(np.int64)
        entries[0] += turned
        entries[1] -= turned
        return entries, np.stack([np.minimum(tier[0], tier[1]), np.maximum(tier[0], tier[1])])
    if (tier[1:] < tier[:-1]).any():
        order = np.argsort(tier, axis=0, kind="stable")
        entries, tier = np.take_along_axis(entries, order, 0), np.take_along_axis(tier, order, 0)
    return entries, tier


def _run_lengths(tier: np.ndarray) -> np.ndarray:
    """From each place of sorted tiers on, how many are the same. Shape: ``(size, rankings)``."""
    lengths = np.ones(tier.shape, np.int8 if len(tier) < 100 else np.int64)
    for at in range(len(tier) - 2, -1, -1):
        np.add(lengths[at], lengths[at + 1], out=lengths[at], where=tier[at] == tier[at + 1])
    return lengths


def _merged(item: np.ndarray, weight: np.ndarray, chosen: int, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Make one of the choices with the same items chosen of the same items."""
    m = len(item)
    if chosen > 1:
        item = np.concatenate([np.sort(item[:chosen], axis=0), item[chosen:]])
    if m - chosen > 1:
        item = np.concatenate([item[:chosen], np.sort(item[chosen:], axis=0)])
    if items**m >= 2**62:
        kept, where = np.unique(item, axis=1, return_inverse=True)
        return kept, np.bincount(where.ravel(), weight)
    key = item[0].copy()
    for row in item[1:]:
        key *= items
        key += row
    if items**m <= 4 * len(weight):
        total = np.bincount(key, weight, items**m)
        keys = np.flatnonzero(total)
        total = total[keys]
    else:
        keys, where = np.unique(key, return_inverse=True)
        total = np.bincount(where, weight)
    kept = np.empty((m, len(keys)), np.int64)
    for row in range(m - 1, -1, -1):
        keys, kept[row] = np.divmod(keys, items)
    return kept, total


def _placed(
    draft: tuple[int, np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None],
    blocks: Blocks,
    orders: Sequence[int],
) -> Choices:
    """Bring a draft's choices into the blocks' order, those of one connected set together."""
    chosen, item, annotator, weight, covariates = draft
    item = blocks.place[item]
    rows = np.argsort(blocks.set_of[item[0]], kind="stable")
    if len(rows) and blocks.sets > 1:
        item, weight = item[:, rows], weight[rows]
        annotator = None if annotator is None else annotator[rows]
        covariates = None if covariates is None else covariates[:, :, rows]
    sets = sets_of(len(item), tuple(orders))
    return Choices(
        sets=sets,
        chosen=chosen,
        item=item,
        between=blocks.row[item[sets.left]] + blocks.column[item[sets.right]],
        annotator=annotator,
        weight=weight,
        covariates=covariates,
        telling=True,
        of_sets=0,
    )
