"""An installation that cannot go on says in a sentence what to do; nothing is left that looks installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from config import environment


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    shutil.copy(environment.ROOT / "config" / "install.sh", tmp_path / "config")
    return tmp_path


def make_program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def install(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "config/install.sh", "train"],
        cwd=checkout,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


def test_an_old_python_names_its_version_and_the_one_that_is_needed(checkout: Path) -> None:
    old = make_program(checkout / "old", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1')
    result = install(checkout, PYTHON=str(old))
    assert result.returncode == 1
    assert "Python 3.11 or newer is needed (found: Python 3.9.2)" in result.stderr


def test_a_python_without_venv_names_debians_package(checkout: Path) -> None:
    bare = make_program(
        checkout / "bare", f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'
    )
    result = install(checkout, PYTHON=str(bare))
    assert result.returncode == 1
    assert "apt install python3-venv" in result.stderr


@pytest.mark.parametrize(
    ("pip_says", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk is full"),
        ("NewConnectionError: [Errno -3] Temporary failure in name resolution", "index cannot be reached"),
        ("ERROR: No matching distribution found for setuptools>=77", "index cannot be reached"),
        (
            "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
            "apt install build-essential",
        ),
        (
            "ERROR: No matching distribution found for torch==2.13.0",
            "No build of torch==2.13.0 for Python 3.14.0",
        ),
        ("something else", "the lines above are the end of"),
    ],
)
def test_what_stops_pip_becomes_a_sentence(checkout: Path, pip_says: str, sentence: str) -> None:
    make_program(
        checkout / ".venv" / "bin" / "python",
        'case "$*" in *version_info*) exit 0;; *--version*) echo Python 3.14.0; exit 0;; esac\n'
        f'echo "{pip_says}"; exit 1',
    )
    result = install(checkout)
    assert result.returncode == 1
    assert sentence in result.stderr
    assert f"{checkout}/.venv/install.log" in result.stderr
    assert not (checkout / ".venv" / "installed-train").exists()
