"""What the documents list is what there is."""

from __future__ import annotations

import re
from fnmatch import fnmatch

import yaml
from django.core.management import get_commands

from config import environment
from config.api_problems import TITLES

ROOMS = ("config", "annotation", "alignment", "training", "frontend")
DOCS = environment.ROOT / "docs"


def rows_of(document: str, heading: str) -> list[str]:
    """The first cells of the table under a heading."""
    text = re.split(r"^## ", (DOCS / document).read_text().split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[
        0
    ]
    return re.findall(r"^\| (?!---)(.*?) \|", text, re.MULTILINE)[1:]


def test_every_command_is_listed_for_operators() -> None:
    ours = {name for name, app in get_commands().items() if app in ROOMS}
    assert "add_user" in ours
    listed = [row.strip("`").split()[0] for row in rows_of("operations.md", "Commands for operators")]
    assert sorted(listed) == sorted(ours)


def test_every_status_that_a_problem_may_have_is_listed() -> None:
    assert rows_of("api.md", "Errors") == [str(number) for number in sorted(TITLES)]


def names_in_home() -> list[str]:
    """The patterns of what operations.md says lies in RANKLOOP_HOME."""
    rows = rows_of("operations.md", "What lies in RANKLOOP_HOME")
    return [name.rstrip("/") for row in rows for name in re.findall("`(.*?)`", row)]


def test_whatever_is_put_into_the_home_is_listed() -> None:
    """`tests.config.test_up` looks into a true one; not all that may come to lie there does so at a start."""
    code = "".join(file.read_text() for room in ROOMS for file in (environment.ROOT / room).rglob("*.py"))
    put = set(re.findall(r"(?:HOME\)?|(?<!Path\.)\b(?:engine_)?home(?:\(\))?) / \"([\w.-]+)\"", code))
    compose = yaml.safe_load((environment.ROOT / "docker" / "compose.yaml").read_text())
    put.add(compose["x-environment"]["HF_HOME"].removeprefix("/data/"))
    assert {"prompts", "references", "models", "huggingface", "up.lock"} <= put
    drafts = {name for name in put if name.endswith(".new")}
    assert [name for name in put - drafts if not any(fnmatch(name, each) for each in names_in_home())] == []
