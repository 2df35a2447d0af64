"""The table of environment variables is one: code, documents and deployment agree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from config import environment

ROOMS = ("config", "annotation", "alignment", "training", "frontend")


def test_the_documented_table_is_the_codes() -> None:
    text = (environment.ROOT / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", text, re.MULTILINE)
    documented = {name: (default.strip("`"), meaning) for name, default, meaning in rows}
    in_code = {
        v.name: (v.default.replace(f"{environment.ROOT}/", ""), v.meaning)
        for v in environment.VARIABLES.values()
    }
    assert documented == in_code


def test_no_room_reads_a_variable_of_rankloop_that_the_table_does_not_name() -> None:
    used = {
        name
        for room in ROOMS
        for file in (environment.ROOT / room).rglob("*.py")
        for name in re.findall(r"[\"'](RANKLOOP_[A-Z_]+)[\"']", file.read_text())
        if re.search(rf"(environ|getenv|read|whole_number)[^\n]*{name}", file.read_text())
    }
    assert used <= set(environment.VARIABLES)


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_HOME": str(tmp_path / "file" / "home")},
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert "Set it to a folder that you may write to" in result.stderr


def test_an_installation_behind_tls_passes_djangos_security_check(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--tag", "security", "--fail-level", "WARNING"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_URL": "https://rankloop.example.org", "RANKLOOP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
