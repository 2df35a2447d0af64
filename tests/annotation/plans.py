"""What a search for a place costs: the rows that its plan visits."""

from __future__ import annotations

from typing import Any

from django.db import connection

from annotation.models import Project
from annotation.ordering import Search, Seeker, indexes_only, parameters_of, query_of


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "ANALYZE annotation_assignment, annotation_batch, annotation_task, annotation_skip, annotation_prompt"
        )


def plan_of(search: Search, seeker: Seeker, project: Project) -> tuple[float, dict[str, Any]]:
    """How many rows the search over the project's batches visits, and its plan."""
    limited = bool(seeker.languages or seeker.tags)
    query = query_of(search, limited=limited, new_prompts=seeker.new_prompts)
    batches = list(project.batches.order_by("pk").values_list("pk", flat=True))
    with connection.cursor() as cursor, indexes_only(cursor):
        cursor.execute(
            f"EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, FORMAT JSON) {query}", parameters_of(seeker, batches)
        )
        (plan,) = cursor.fetchone()[0]
    return _rows_visited(plan["Plan"]), plan


def _rows_visited(node: dict[str, Any]) -> float:
    """How many rows the plan's nodes returned or filtered out, all together."""
    own = (
        node["Actual Rows"]
        + node.get("Rows Removed by Filter", 0)
        + node.get("Rows Removed by Index Recheck", 0)
    )
    return own * node["Actual Loops"] + sum(_rows_visited(child) for child in node.get("Plans", []))
