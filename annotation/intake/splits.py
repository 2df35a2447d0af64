"""The splits of an import's new prompts, as of every other new prompt: near duplicates share one."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from django.db import connection

from annotation.intake.staging import drop_tables
from annotation.models import Project, Prompt
from annotation.near_duplicates import Splitter

AT_ONCE = 10_000
"""Prompts that are compared together; their shingles are held meanwhile, some ten kilobytes each."""


def store_prompts(project: Project, tell: Callable[[], None]) -> Counter[str]:
    """Store the staged prompts that the project lacks, in the order of their lines; return how many came into which
    split.

    The caller holds the lock of the project's row.

    Args:
        tell: called between portions.
    """
    splitter, stored = Splitter(project), Counter[str]()
    drop_tables(("new_prompt", "new_split"))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMP TABLE new_prompt ON COMMIT DROP AS "
            "SELECT row_number() OVER (ORDER BY line) AS n, once.* "
            "FROM (SELECT DISTINCT ON (digest) * FROM stage_prompt ORDER BY digest, line) once "
            "WHERE NOT EXISTS (SELECT FROM annotation_prompt there "
            "WHERE there.project_id = %s AND there.digest = once.digest)",
            [project.pk],
        )
        cursor.execute("CREATE INDEX ON pg_temp.new_prompt (n)")
        cursor.execute("ANALYZE pg_temp.new_prompt")
        cursor.execute("SELECT count(*) FROM pg_temp.new_prompt")
        (count,) = cursor.fetchone()
        cursor.execute("CREATE TEMP TABLE new_split (n bigint PRIMARY KEY, split text) ON COMMIT DROP")
        for first in range(1, count + 1, AT_ONCE):
            portion = (first, first + AT_ONCE - 1)
            cursor.execute(
                "SELECT digest, messages FROM pg_temp.new_prompt WHERE n BETWEEN %s AND %s ORDER BY n",
                portion,
            )
            prompts = [
                Prompt(project=project, digest=digest, messages=json.loads(messages))
                for digest, messages in cursor.fetchall()
            ]
            splitter.assign(prompts)
            with cursor.copy("COPY new_split FROM STDIN") as copy:
                for n, prompt in enumerate(prompts, start=first):
                    copy.write_row((n, prompt.split))
            # Stored before the next ones are compared with them.
            cursor.execute(
                "INSERT INTO annotation_prompt "
                "(project_id, key, messages, context, tags, language, digest, split) "
                "SELECT %s, key, messages::jsonb, context::jsonb, tags::jsonb, language, digest, split "
                "FROM pg_temp.new_prompt JOIN pg_temp.new_split USING (n) WHERE n BETWEEN %s AND %s ORDER BY n",
                (project.pk, *portion),
            )
            stored.update(prompt.split for prompt in prompts)
            tell()
    return stored
