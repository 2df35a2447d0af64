"""What a search for a place costs: the rows that its plan visits."""

from __future__ import annotations

import re
from typing import Any

from django.db import connection

from annotation.models import Project
from annotation.ordering import Search, Seeker, indexes_only, parameters_of, query_of

TYPES = {
    "batches": "smallint[]",
    "annotator": "smallint",
    "project": "smallint",
    "languages": "text[]",
    "tags": "text[]",
    "dice": "float8",
}
"""As psycopg sends small numbers."""


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
    given = parameters_of(seeker, batches)
    used = [name for name in given if f"%({name})s" in query]
    numbered = re.sub(r"%\((\w+)\)s", lambda found: f"${used.index(found[1]) + 1}", query)
    with connection.cursor() as cursor, indexes_only(cursor):
        # The plan for all parameters, which is the one that searches go by.
        cursor.execute(f"PREPARE search ({', '.join(TYPES[name] for name in used)}) AS {numbered}")
        cursor.execute(
            "EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF, FORMAT JSON) EXECUTE search "
            f"({', '.join(f'%({name})s' for name in used)})",
            given,
        )
        (plan,) = cursor.fetchone()[0]
        cursor.execute("DEALLOCATE search")
    return _rows_visited(plan["Plan"]), plan


def _rows_visited(node: dict[str, Any]) -> float:
    """How many rows the plan's nodes returned or filtered out, all together."""
    own = (
        node["Actual Rows"]
        + node.get("Rows Removed by Filter", 0)
        + node.get("Rows Removed by Index Recheck", 0)
    )
    return own * node["Actual Loops"] + sum(_rows_visited(child) for child in node.get("Plans", []))
