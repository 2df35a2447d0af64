"""Matrices over items that rankings link: one dense block a connected set, those of one size side by side.

Rankings of different tasks share no items, so the information on their scores is block-diagonal. A leaderboard's is
one block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

SWEPT = 12
"""Up to this size matrices are inverted all at once."""
LARGEST_SET = 4_000
"""Items in a connected set; its matrices have this number squared of entries, eight bytes each."""


@dataclass(frozen=True, slots=True)
class Run:
    """The connected sets of one size."""

    size: int
    items: slice
    entries: slice


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """Items in an order in which those of a connected set stand together, and sets of one size too.

    A block matrix is an array of ``entries`` numbers; a vector one of ``items``, in the blocks' order.
    """

    order: np.ndarray
    """The item at each place. Shape: ``(items,)``."""
    place: np.ndarray
    """The place of each item. Shape: ``(items,)``."""
    set_of: np.ndarray
    """The connected set at each place, numbered as they stand. Shape: ``(items,)``."""
    row: np.ndarray
    """Where the row of a place begins in a block matrix. Shape: ``(items,)``."""
    column: np.ndarray
    """The place within its set. Shape: ``(items,)``."""
    runs: tuple[Run, ...]
    sets: int
    entries: int

    @classmethod
    def of(cls, items: int, left: np.ndarray, right: np.ndarray) -> Blocks:
        """Return the blocks of items of which ``left`` and ``right`` are linked.

        Raises:
            ValueError: a connected set has more than `LARGEST_SET` items.
        """
        links = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(items, items))
        count, label = connected_components(links, directed=False)
        size = np.bincount(label, minlength=count)
        largest = int(size.max(initial=0))
        if largest > LARGEST_SET:
            raise ValueError(
                f"rankings link {largest} items to one another; at most {LARGEST_SET} can be scored together. "
                "Leave out items that few rankings hold"
            )
        by_size = np.argsort(size, kind="stable")
        rank = np.empty(count, np.int64)
        rank[by_size] = np.arange(count)
        order = np.argsort(rank[label], kind="stable")
        set_of = rank[label][order]
        sizes = size[by_size]
        first = np.cumsum(sizes) - sizes
        begins = np.cumsum(sizes**2) - sizes**2
        column = np.arange(items) - first[set_of]
        place = np.empty(items, np.int64)
        place[order] = np.arange(items)
        runs, item, entry = [], 0, 0
        for width, number in zip(*np.unique(sizes, return_counts=True), strict=True):
            width, number = int(width), int(number)
            runs.append(
                Run(width, slice(item, item + width * number), slice(entry, entry + width * width * number))
            )
            item, entry = item + width * number, entry + width * width * number
        return cls(
            order=order,
            place=place,
            set_of=set_of,
            row=begins[set_of] + column * sizes[set_of],
            column=column,
            runs=tuple(runs),
            sets=count,
            entries=entry,
        )

    @property
    def sets_of_runs(self) -> list[slice]:
        """The connected sets of each run."""
        numbers = [(run.items.stop - run.items.start) // run.size for run in self.runs]
        ends = np.cumsum(numbers).tolist()
        return [slice(end - number, end) for number, end in zip(numbers, ends, strict=True)]

    def views(self, matrix: np.ndarray) -> list[np.ndarray]:
        """Return a block matrix as arrays of shape ``(sets, size, size)``, one a run."""
        return [matrix[run.entries].reshape(-1, run.size, run.size) for run in self.runs]

    def laplacian(self, between: np.ndarray) -> np.ndarray:
        """Return the matrix with these entries beside the diagonal, on either side, and with rows that sum to 0."""
        found = np.empty(self.entries)
        for given, out in zip(self.views(between), self.views(found), strict=True):
            out[...] = given + given.transpose(0, 2, 1)
            where = np.arange(out.shape[1])
            out[:, where, where] -= out.sum(axis=2)
        return found

    def diagonal(self, matrix: np.ndarray) -> np.ndarray:
        return matrix[self.row + self.column]

    def times(self, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return the product with a vector. Shape: ``(items,)``."""
        found = np.empty(len(self.order))
        for run, view in zip(self.runs, self.views(matrix), strict=True):
            of_run = vector[run.items].reshape(-1, run.size)
            found[run.items] = np.einsum("nij,nj->ni", view, of_run).reshape(-1)
        return found

    def centred(self, vector: np.ndarray) -> np.ndarray:
        """Return the vector less its mean over each connected set."""
        found = np.empty(len(self.order))
        for run in self.runs:
            of_run = vector[run.items].reshape(-1, run.size)
            found[run.items] = (of_run - of_run.mean(axis=1, keepdims=True)).reshape(-1)
        return found

    def inverse(self, matrix: np.ndarray, *, free: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the inverse, and the logarithm of each block's determinant.

        Args:
            matrix: positive definite, or, if ``free``, positive definite but for its rows' sums, which are 0;
                the inverse is that on vectors that sum to zero over each set, then.

        Raises:
            numpy.linalg.LinAlgError: it is not so.
        """
        found, log_determinants = np.empty(self.entries), np.empty(self.sets)
        for run, sets, view, out in zip(
            self.runs, self.sets_of_runs, self.views(matrix), self.views(found), strict=True
        ):
            shift = 1 / run.size if free else 0.0
            invert = _invert_small if run.size <= SWEPT else _invert
            step = max(1, 2**15 // run.size**2)
            for start in range(0, len(view), step):
                some = slice(start, start + step)
                inverse, log_determinant = invert(view[some] + shift)
                out[some] = inverse - shift
                log_determinants[sets][some] = log_determinant
        return found, log_determinants

    def as_sparse(self, matrix: np.ndarray) -> csr_matrix:
        """Return a block matrix as a sparse one."""
        numbers = [run.items.stop - run.items.start for run in self.runs]
        widths = np.repeat(np.array([run.size for run in self.runs], np.int64), numbers)
        starts = np.concatenate([[0], np.cumsum(widths)])
        first = np.arange(len(self.order)) - self.column
        columns = np.arange(self.entries) - np.repeat(starts[:-1], widths) + np.repeat(first, widths)
        return csr_matrix((matrix, columns, starts), shape=(len(self.order),) * 2)


def _invert_small(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return inverses and log-determinants of positive definite matrices, ``(sets, size, size)``, by the sweep operator
    (Goodnight 1979), every step for all of them at once: LAPACK takes them one by one, ten times as slowly."""
    swept = np.ascontiguousarray(matrices.transpose(1, 2, 0))
    log_determinant = np.zeros(swept.shape[2])
    for k in range(len(swept)):
        column = swept[:, k].copy()
        pivot = column[k].copy()
        if not (pivot > 0).all():
            raise np.linalg.LinAlgError("not positive definite")
        log_determinant += np.log(pivot)
        scaled = column / pivot
        swept -= column[:, None] * scaled
        swept[k], swept[:, k], swept[k, k] = scaled, scaled, -1 / pivot
    return -swept.transpose(2, 0, 1), log_determinant


def _invert(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    factor = np.linalg.cholesky(matrices)
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    inverse = np.linalg.inv(matrices)
    return (inverse + inverse.transpose(0, 2, 1)) / 2, 2 * np.log(diagonal).sum(axis=1)
