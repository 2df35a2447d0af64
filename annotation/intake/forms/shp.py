"""Stanford Human Preferences: two comments on a post, and which of them readers preferred.

https://huggingface.co/datasets/stanfordnlp/SHP: ``labels`` is 1 where A is preferred, 0 where B is. SHP-2 has the same
fields.
"""

from __future__ import annotations

from collections.abc import Iterator

from annotation.intake.forms.form import Form, Mapping, Sample
from annotation.intake.items import Candidate, Item, Row, name_of, said_by_user
from annotation.rows import BadField

READERS = "readers' votes"
TIERS = {"1": [[0], [1]], "0": [[1], [0]]}


def _matches(sample: Sample) -> bool:
    return sample.has("history", "human_ref_A", "human_ref_B", "labels")


def _read(row: Row, mapping: Mapping) -> Iterator[Item]:
    label = name_of(row.get("labels"), "labels")
    if label not in TIERS:
        raise BadField("labels", f"must be 1 (A is preferred) or 0 (B is), not {row.get('labels')!r:.40}")
    yield Item(
        messages=said_by_user(row.get("history"), "history"),
        candidates=[Candidate(row.get(f"human_ref_{side}")) for side in "AB"],  # type: ignore[arg-type]
        tiers=TIERS[label],
        annotator=READERS,
        key=name_of(row.get("post_id"), "post_id"),
        tags=[name_of(row["domain"], "domain")] if row.get("domain") else [],
    )


FORM = Form(
    name="shp",
    title="Stanford SHP",
    about="https://huggingface.co/datasets/stanfordnlp/SHP",
    becomes=(
        ("history", "the prompt; post_id is its key, domain a tag"),
        ("human_ref_A, human_ref_B", "two responses"),
        ("labels", "which is over the other, by one annotator: all readers' votes together"),
        ("scores, times, ratios", "left out"),
    ),
    matches=_matches,
    read=_read,
)
