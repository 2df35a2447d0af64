"""Schemathesis reads the OpenAPI document and calls every operation as it says, and as it does not.

``make fuzz`` goes on for ten minutes, with the thousands of calls that try every constraint of the document, chains of
calls, and another seed each time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from annotation.assigning import next_assignment
from tests.api.world import World, make_world

PHASES = os.environ.get("RANKLOOP_CONTRACT", "fuzzing")
SECONDS = int(os.environ.get("RANKLOOP_FUZZ_SECONDS", "0"))
"""How long to go on; 0: a few calls of each operation, the same each time."""


def numbers(world: World) -> dict[str, object]:
    """What stands for ``{id}`` in the addresses of each resource."""
    return {
        "prompts": world.project.prompts.first().pk,
        "responses": world.new.responses.first().pk,
        "sources": world.old.pk,
        "batches": world.open.pk,
        "tasks": world.held.task_id,
        "assignments": str(world.held.public_id),
        "rankings": world.ranking.pk,
        "datasets": world.dataset.pk,
        "withdrawals": world.withdrawal.pk,
        "model-versions": world.base.pk,
        "rounds": world.round.pk,
        "scorecards": world.scorecard.pk,
        "runs": str(world.run.pk),
        "imports": world.imported.pk,
        "webhooks": world.webhook.pk,
        "deliveries": world.delivery.pk,
        "judges": world.judge.pk,
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.django_db(transaction=True)
def test_no_request_ends_in_a_fault_or_breaks_the_document(
    live_server: Any, tmp_path: Path, settings: Any
) -> None:
    settings.RANKLOOP_API_RATES = dict.fromkeys(settings.RANKLOOP_API_RATES, "1000000/minute")
    world = make_world()
    world.client("manager")
    world.held = next_assignment(annotator=world.users["manager"], project=world.project)
    config = tmp_path / "schemathesis.toml"
    lines = ["[parameters]", 'project = "answers"', 'username = "colleague"', 'name = "adapter"']
    # NUL is refused on purpose, which no schema can say.
    lines += ["[generation]", "allow-x00 = false"]
    lines += ["[checks.positive_data_acceptance]", 'expected-statuses = ["2xx", "403", "404", "409", "422"]']
    for resource, number in numbers(world).items():
        lines += ["[[operations]]", f'include-path-regex = "^/api/v1/{resource}/"']
        lines += [f"parameters = {{ id = {json.dumps(number)} }}"]
    config.write_text("\n".join(lines))

    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", config),
            *(
                "run",
                f"{live_server.url}/api/v1/schema/",
                "-H",
                f"Authorization: Bearer {world.keys['manager']}",
            ),
            *("--checks", "all", "--mode", "all", "--phases", PHASES),
            *(("--max-examples", "200", "--max-time", str(SECONDS)) if SECONDS else ("--max-examples", "5")),
            *("--seed", str(int(time.time()) if SECONDS else 1)),
            *("--suppress-health-check", "all", "--no-shrink"),
            *("--exclude-operation-id", "tokens_destroy", "--exclude-operation-id", "webhooks_destroy"),
            *("--generation-database", "none", "--workers", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2000:]
