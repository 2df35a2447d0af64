"""Real human preferences come in whole, and say what their publishers say."""

from __future__ import annotations

import csv
import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from annotation.batch_quality import batch_quality
from annotation.intake.bringing import bring_in
from annotation.intake.forms import FORMS, Sample, form_of
from annotation.models import Batch, Project, Ranking
from annotation.reading import read_rows

DATA = Path(os.environ.get("RANKLOOP_DATA", ""))
HERE = bool(os.environ.get("RANKLOOP_DATA"))

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not HERE, reason="RANKLOOP_DATA does not name the folder of real votes"),
]


def test_the_llmfao_crowds_votes_agree_as_published(project: Project, tmp_path: Path) -> None:
    table = tmp_path / "votes.csv"
    _join(table)
    mapping = {
        "prompt": "text",
        "responses": ["result_left", "result_right"],
        "sources": ["left", "right"],
        "winner": "winner",
        "annotator": "worker",
    }
    for again in (False, True):
        with table.open("rb") as file:
            brought = bring_in(
                project=project,
                name="LLMFAO",
                rows=read_rows(file, table.name),
                form=FORMS["columns"],
                mapping=mapping,
                drawn_by=uuid.uuid4(),
            )
        assert brought.report["rows"] == 8931
        assert brought.report["rankings"] == (0 if again else 8931)
        assert brought.report["prompts"] == (0 if again else 13)
        assert brought.report["tasks"] == (0 if again else 2139)
        assert brought.report["annotators"] == (0 if again else 124)

    agreement = batch_quality(project.batches.filter(kind=Batch.Kind.IMPORTED)).figures.agreement
    assert agreement.agreement == pytest.approx(0.532, abs=0.0005)
    assert agreement.nominal_alpha == pytest.approx(0.291, abs=0.0005)


def _join(table: Path) -> None:
    """The votes with the texts that they are about, in the order in which they were shown."""
    with (DATA / "llmfao" / "pairs-crowd.jsonl").open(encoding="utf-8") as file:
        pairs: dict[str, Any] = {str(pair["id"]): pair for pair in map(json.loads, file)}
    with (
        (DATA / "llmfao" / "crowd-comparisons.csv").open(encoding="utf-8", newline="") as votes,
        table.open("w", encoding="utf-8", newline="") as joined,
    ):
        rows = csv.DictReader(votes)
        assert rows.fieldnames is not None
        writer = csv.DictWriter(joined, [*rows.fieldnames, "text", "result_left", "result_right"])
        writer.writeheader()
        for row in rows:
            pair = pairs[row["id"]]
            texts = {"result_left": pair["result_x"], "result_right": pair["result_y"]}
            writer.writerow(row | {"text": pair["text"]} | texts)


def test_openassistants_ranked_siblings_all_come_in(project: Project) -> None:
    path = DATA / "oasst" / "en_100_tree.jsonl"
    with path.open("rb") as file:
        rows = list(read_rows(file, path.name))
    form = form_of(Sample([row for _, row in rows[:50]]))  # type: ignore[misc]
    assert form.name == "openassistant"
    brought = bring_in(project=project, name="oasst", rows=rows, form=form, mapping={}, drawn_by=uuid.uuid4())
    assert brought.report["rankings"] == 212
    assert brought.bad.count == 0
    best = Ranking.objects.filter(
        task__prompt__messages__0__content="How can I find the best 401k plan for my needs?"
    )
    (ranking,) = best
    text, _ = ranking.task.replies[ranking.tiers[0][0]]
    assert text.startswith("The first step is to research your options.")
