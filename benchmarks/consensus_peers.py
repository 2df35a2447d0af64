"""The peers' side of `benchmarks.consensus`: run with the Python of their own environment, it answers a job a line.

A job is a peer's name and a file of votes; the answer is the seconds from votes in the form the peer wants to its
scores, and the scores. Making that form is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Votes = dict[str, np.ndarray]


def main() -> int:
    for line in sys.stdin:
        job = json.loads(line)
        with np.load(job["votes"]) as file:
            votes = {name: file[name] for name in file.files}
        seconds, scores = PEERS[job["peer"]](votes)
        print(json.dumps({"seconds": seconds, **scores}), flush=True)
    return 0


def evalica(votes: Votes) -> tuple[float, dict[str, Any]]:
    """Lists of names and of winners."""
    import evalica as peer

    winners = {1: peer.Winner.X, -1: peer.Winner.Y, 0: peer.Winner.Draw}
    left, right = _names(votes["left"]), _names(votes["right"])
    outcome = [winners[each] for each in votes["outcome"].tolist()]
    began = time.perf_counter()
    found = peer.bradley_terry(left, right, outcome)
    seconds = time.perf_counter() - began
    return seconds, {"scores": _in_order(np.log(found.scores.to_numpy()), list(found.scores.index))}


def arena_rank(votes: Votes) -> tuple[float, dict[str, Any]]:
    """A data frame. JAX compiles in a first run, which is not timed."""
    import pandas
    from arena_rank.models.bradley_terry import BradleyTerry
    from arena_rank.utils.data_utils import PairDataset

    words = {1: "model_a", -1: "model_b", 0: "tie"}
    frame = pandas.DataFrame(
        {
            "model_a": _names(votes["left"]),
            "model_b": _names(votes["right"]),
            "winner": [words[each] for each in votes["outcome"].tolist()],
        }
    )
    seconds, ratings, names = 0.0, None, []
    for _ in range(2):
        began = time.perf_counter()
        data = PairDataset.from_pandas(frame)
        model = BradleyTerry(len(data.competitors))
        model.fit(data)
        ratings, names = np.asarray(model.params["ratings"]), data.competitors
        seconds = time.perf_counter() - began
    return seconds, {"scores": _in_order(ratings, names)}


def choix(votes: Votes) -> tuple[float, dict[str, Any]]:
    """Pairs of winner and loser. Of its ways from these to the same maximum, the fastest: iterative Luce spectral
    ranking."""
    import choix as peer

    won = votes["outcome"] > 0
    better, worse = np.where(won, *_columns(votes)), np.where(won, *_columns(votes)[::-1])
    pairs = np.stack([better, worse], axis=1).tolist()
    items = int(max(votes["left"].max(), votes["right"].max())) + 1
    began = time.perf_counter()
    scores = peer.ilsr_pairwise(items, pairs, tol=1e-6)
    return time.perf_counter() - began, {"scores": scores.tolist()}


def choix_counts(votes: Votes) -> tuple[float, dict[str, Any]]:
    """How often each item won against each other one, which is not choix's to find out."""
    import choix as peer

    won = votes["outcome"] > 0
    better, worse = np.where(won, *_columns(votes)), np.where(won, *_columns(votes)[::-1])
    items = int(max(better.max(), worse.max())) + 1
    wins = np.bincount(better * items + worse, minlength=items**2).reshape(items, items).astype(float)
    began = time.perf_counter()
    scores = peer.ilsr_pairwise_dense(wins, tol=1e-6)
    return time.perf_counter() - began, {"scores": scores.tolist()}


def crowd_kit(votes: Votes) -> tuple[float, dict[str, Any]]:
    """A data frame; its Noisy Bradley–Terry, whose workers have a skill and a bias."""
    import pandas
    from crowdkit.aggregation import NoisyBradleyTerry
    from scipy.special import logit

    left, right = _names(votes["left"]), _names(votes["right"])
    label = [a if o > 0 else b for a, b, o in zip(left, right, votes["outcome"].tolist(), strict=True)]
    frame = pandas.DataFrame(
        {"left": left, "right": right, "label": label, "worker": votes["annotator"].tolist()}
    )
    began = time.perf_counter()
    model = NoisyBradleyTerry().fit(frame)
    seconds = time.perf_counter() - began
    workers = range(int(votes["annotator"].max()) + 1)
    return seconds, {
        "scores": _in_order(logit(model.scores_.to_numpy()), list(model.scores_.index)),
        "skills": model.skills_.loc[list(workers)].tolist(),
        "biases": model.biases_.loc[list(workers)].tolist(),
    }


PEERS: dict[str, Callable[[Votes], tuple[float, dict[str, Any]]]] = {
    "evalica": evalica,
    "arena-rank": arena_rank,
    "choix": choix,
    "choix, counts": choix_counts,
    "crowd-kit": crowd_kit,
}


def _columns(votes: Votes) -> tuple[np.ndarray, np.ndarray]:
    return votes["left"], votes["right"]


def _names(numbers: np.ndarray) -> list[str]:
    names = [f"model-{n:03}" for n in range(int(numbers.max()) + 1)]
    return [names[n] for n in numbers.tolist()]


def _in_order(scores: np.ndarray, names: list[str]) -> list[float]:
    found = np.zeros(len(names))
    found[[int(name.split("-")[1]) for name in names]] = scores
    return found.tolist()


if __name__ == "__main__":
    raise SystemExit(main())
