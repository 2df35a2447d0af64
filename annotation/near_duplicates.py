"""Prompts that nearly repeat each other, and the one split that they share.

Two prompts are near duplicates where the sets of five-character shingles of what the user says in them overlap by
`THRESHOLD` or more (Jaccard similarity; Broder 1997, "On the resemblance and containment of documents"). System
messages are left out: a project may give the same to every prompt. Pairs to compare are found by MinHash with banding
(Leskovec et al. 2020, "Mining of Massive Datasets", section 3.4) and then compared exactly. So no pair is taken for
near that is not, but for shingles of one 64-bit hash; and of pairs at the threshold one in 20,000 is missed,
(1 − 0.8⁵)²⁵, of closer ones fewer.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from django.db.models import QuerySet

from annotation.models import Project, Prompt
from annotation.splitting import normalised, split_of

SHINGLE = 5
THRESHOLD = 0.8
BANDS, ROWS = 25, 5
"""125 permutations."""
MOST_COMPARED = 32
"""Candidates to which a prompt is compared: those with the most bands in common, the oldest first among equals. Only of
prompts made from one template there may be more."""
SHINGLES_AT_ONCE = 4096
PROJECTS_KEPT = 8
"""Whose bands a process keeps, 200 bytes a prompt."""

_DICE = np.random.default_rng(20260301)  # part of what the bands mean; they are never stored
# Times an odd factor is a permutation of 64-bit numbers; shingles are mixed before, so each is as likely the least.
_FACTORS = _DICE.integers(2**64, size=(BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)
_BASE = np.uint64(0x100000001B3)


def shingles_of(messages: Sequence[Mapping[str, str]]) -> np.ndarray:
    """The shingles of what the user says, as hashes, ascending, each once. Shape: ``(shingles,)``, unsigned 64 bits.

    A text shorter than a shingle is one.
    """
    said = "\n".join(normalised(message["content"]) for message in messages if message["role"] == "user")
    codes = np.frombuffer(said.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    codes = np.pad(codes, (0, max(0, SHINGLE - len(codes))))
    hashes = np.zeros(len(codes) - SHINGLE + 1, np.uint64)
    for place in range(SHINGLE):
        hashes = hashes * _BASE + codes[place : place + len(hashes)]
    return np.unique(_mixed(hashes))


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """The Jaccard similarity of two sets of shingles, from 0 to 1."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def bands_of(prompts: Sequence[Prompt]) -> np.ndarray:
    """The prompts' band hashes. Shape: ``(prompts, BANDS)``, unsigned 64 bits."""
    found = np.zeros((len(prompts), BANDS), np.uint64)
    for row, prompt in zip(found, prompts, strict=True):
        row[:] = _bands(shingles_of(prompt.messages))
    return found


class Splitter:
    """Gives new prompts of a project their splits, for ever: that which follows from the prompt's hash, or that of the
    prompts that it nearly repeats. Where those are in both splits it is held out, so that nothing is ever trained on
    that nearly repeats what models are measured by. No prompt that is there moves.

    The caller holds the lock of the project's row.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.following = 0
        """How many prompts took another's split."""
        self._known = _known(project)

    def assign(self, prompts: Sequence[Prompt]) -> None:
        """Set the split of each; they are stored before the next call."""
        first = len(self._known.digests)
        self._known = known = self._known.with_more(prompts)
        texts = {first + n: shingles_of(prompt.messages) for n, prompt in enumerate(prompts)}
        candidates = list(_candidates(known.bands[first:], known.bands, keep_from=first))
        earlier = {int(one) for found in candidates for one in found} - texts.keys()
        texts |= _shingles(self.project.prompts.all(), known.digests, earlier)
        for n, (prompt, found) in enumerate(zip(prompts, candidates, strict=True)):
            own = first + n
            near = [int(one) for one in found if similarity(texts[own], texts[int(one)]) >= THRESHOLD]
            if near:
                held_out = any(known.held_out[one] for one in near)
                prompt.split = (Prompt.Split.HELD_OUT if held_out else Prompt.Split.TRAIN).value
                self.following += 1
            else:
                prompt.split = split_of(prompt.digest, self.project.held_out_share)
            known.held_out[own] = prompt.split == Prompt.Split.HELD_OUT


@dataclass(frozen=True, slots=True)
class Near:
    """The prompt that another one nearly repeats, and how nearly, from `THRESHOLD` to 1."""

    prompt: Prompt
    similarity: float


def nearest(prompts: Iterable[Prompt], among: QuerySet[Prompt]) -> dict[int, Near]:
    """Of each of the prompts that nearly repeats one of the others, by primary key, the nearest one."""
    ours, theirs = list(prompts), list(among.order_by("pk"))
    texts: dict[int, np.ndarray] = {}
    found: dict[int, Near] = {}
    for one, candidates in zip(ours, _candidates(bands_of(ours), bands_of(theirs)), strict=True):
        own = shingles_of(one.messages)
        for number in candidates.tolist():
            if number not in texts:
                texts[number] = shingles_of(theirs[number].messages)
            alike = similarity(own, texts[number])
            if (
                alike >= THRESHOLD
                and theirs[number].pk != one.pk
                and (one.pk not in found or alike > found[one.pk].similarity)
            ):
                found[one.pk] = Near(theirs[number], alike)
    return found


def near_pairs(prompts: Sequence[Prompt]) -> Iterator[tuple[int, int]]:
    """Pairs of places, the later first, at which prompts nearly repeat each other."""
    bands = bands_of(prompts)
    texts: dict[int, np.ndarray] = {}
    for own, candidates in enumerate(_candidates(bands, bands, keep_from=0)):
        for other in candidates.tolist():
            for one in (own, other):
                if one not in texts:
                    texts[one] = shingles_of(prompts[one].messages)
            if similarity(texts[own], texts[other]) >= THRESHOLD:
                yield own, other


@dataclass(frozen=True, slots=True)
class _Known:
    """A project's prompts, in the order in which they came: digests, bands, and whether each is held out."""

    digests: list[str] = field(default_factory=list)
    bands: np.ndarray = field(default_factory=lambda: np.zeros((0, BANDS), np.uint64))
    held_out: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    last: int = 0

    def with_more(self, prompts: Sequence[Prompt]) -> _Known:
        return _Known(
            [*self.digests, *(prompt.digest for prompt in prompts)],
            np.concatenate([self.bands, bands_of(prompts)]),
            np.concatenate(
                [self.held_out, [prompt.split == Prompt.Split.HELD_OUT for prompt in prompts]]
            ).astype(bool),
            max([self.last, *(prompt.pk for prompt in prompts if prompt.pk)]),
        )


_kept: OrderedDict[int, _Known] = OrderedDict()
_keeping = threading.Lock()


def _known(project: Project) -> _Known:
    """What the process knows of the project's prompts, and those that came since: only what is committed is kept."""
    with _keeping:
        known = _kept.get(project.pk, _Known())
    prompts = project.prompts.order_by("pk")
    if prompts.filter(pk__lte=known.last).count() != len(known.digests):
        known = _Known()
    more = list(prompts.filter(pk__gt=known.last).only("messages", "digest", "split"))
    if more:
        known = known.with_more(more)
    with _keeping:
        _kept[project.pk] = known
        _kept.move_to_end(project.pk)
        while len(_kept) > PROJECTS_KEPT:
            _kept.popitem(last=False)
    return known


def _shingles(prompts: QuerySet[Prompt], digests: Sequence[str], places: set[int]) -> dict[int, np.ndarray]:
    """The shingles of the prompts at some places."""
    wanted = {digests[place]: place for place in places}
    rows = prompts.filter(digest__in=wanted).values_list("digest", "messages")
    return {wanted[digest]: shingles_of(messages) for digest, messages in rows}


def _candidates(
    bands: np.ndarray, among: np.ndarray, *, keep_from: int | None = None
) -> Iterator[np.ndarray]:
    """For each row, the places among the others that share a band with it, the likeliest `MOST_COMPARED`.

    Args:
        keep_from: where ``bands`` are themselves among the others from this place on; then only earlier places count.
    """
    orders = np.argsort(among, axis=0, kind="stable")
    columns = np.take_along_axis(among, orders, axis=0)
    low = np.stack([np.searchsorted(columns[:, b], bands[:, b], "left") for b in range(BANDS)], axis=1)
    high = np.stack([np.searchsorted(columns[:, b], bands[:, b], "right") for b in range(BANDS)], axis=1)
    for n in range(len(bands)):
        runs = [orders[low[n, b] : high[n, b], b] for b in range(BANDS) if high[n, b] > low[n, b]]
        places, shared = np.unique(
            np.concatenate(runs) if runs else np.zeros(0, np.int64), return_counts=True
        )
        if keep_from is not None:
            places, shared = places[places < keep_from + n], shared[places < keep_from + n]
        yield places[np.lexsort((places, -shared))[:MOST_COMPARED]]


def _bands(shingles: np.ndarray) -> np.ndarray:
    least = np.full(BANDS * ROWS, np.iinfo(np.uint64).max, np.uint64)
    for start in range(0, len(shingles), SHINGLES_AT_ONCE):
        portion = shingles[None, start : start + SHINGLES_AT_ONCE]
        least = np.minimum(least, (portion * _FACTORS).min(axis=1))
    rows = least.reshape(BANDS, ROWS)
    hashes = np.zeros(BANDS, np.uint64)
    for place in range(ROWS):
        hashes = _mixed(hashes * _BASE + rows[:, place])
    return hashes


def _mixed(hashes: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014, "Fast splittable pseudorandom number generators")."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(hashes ^ (hashes >> np.uint64(31)))
