"""Real human rankings as ranking records: Open-Assistant's ranked siblings and the LLMFAO crowd's votes."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.engine.records import Ranking

ROLES = {"prompter": "user", "assistant": "assistant"}


def oasst(folder: Path) -> list[Ranking]:
    """Return the assistant's sibling messages that annotators ranked, two and more, as rankings without ties; messages
    that were deleted or not ranked are left out."""
    rankings: list[Ranking] = []
    with (folder / "oasst" / "en_100_tree.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            tree = json.loads(line)
            for thread, siblings in _siblings([], tree["prompt"]):
                ranked = sorted((s for s in siblings if s.get("rank") is not None), key=lambda s: s["rank"])
                if len(ranked) > 1:
                    rankings.append(_in_order(thread, [s["text"] for s in ranked], tree["message_tree_id"]))
    return rankings


def llmfao(folder: Path) -> list[Ranking]:
    """Return the pairs that the crowd voted on as rankings of two, those with as many votes either way left out.

    The score is the log-odds of the votes with half a vote added to each side, ties counting half for both.
    """
    votes: dict[int, list[float]] = defaultdict(list)
    with (folder / "llmfao" / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            votes[int(row["id"])].append({"left": 1.0, "tie": 0.5, "right": 0.0}[row["winner"]])
    rankings = []
    with (folder / "llmfao" / "pairs-crowd.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            given = votes.get(pair["id"], [])
            won, lost = sum(given), len(given) - sum(given)
            if won == lost or not pair["result_x"].strip() or not pair["result_y"].strip():
                continue
            texts = [pair["result_x"], pair["result_y"]]
            lead = abs(math.log((won + 0.5) / (lost + 0.5)))
            ordered = texts if won > lost else texts[::-1]
            rankings.append(
                Ranking(
                    prompt=[{"role": "user", "content": pair["text"]}],
                    responses=ordered,
                    tiers=[[0], [1]],
                    scores=[lead / 2, -lead / 2],
                    meta={"group": str(pair["prompt"])},
                )
            )
    return rankings


def _siblings(
    before: list[dict[str, str]], message: dict[str, Any]
) -> Iterator[tuple[list[dict[str, str]], list[dict[str, Any]]]]:
    """Yield each prompter's message, with the thread before it, and the replies to it."""
    thread = [*before, {"role": ROLES[message["role"]], "content": message["text"]}]
    replies = [reply for reply in message["replies"] if not reply.get("deleted")]
    if message["role"] == "prompter" and replies:
        yield thread, replies
    for reply in replies:
        yield from _siblings(thread, reply)


def _in_order(thread: list[dict[str, str]], texts: list[str], group: str) -> Ranking:
    return Ranking(
        prompt=thread,
        responses=texts,
        tiers=[[n] for n in range(len(texts))],
        scores=[float(-n) for n in range(len(texts))],
        meta={"group": group},
    )
