"""A wheel is the whole of Rankloop: `pip install` and `rankloop up`, without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from config import environment
from config.launching.supervisor import read_procfile

ROOMS = ("config", "annotation", "alignment", "training", "frontend")
ONLY_IN_A_CHECKOUT = {"config/install.sh"}
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('.')"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy, since setuptools leaves a folder of its own beside what it builds."""
    pytest.importorskip("setuptools", minversion="77")
    copy = tmp_path_factory.mktemp("wheel") / "rankloop"
    copy.mkdir()
    for room in ROOMS:
        shutil.copytree(environment.ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(environment.ROOT / name, copy)
    built = subprocess.run([sys.executable, "-c", BUILD], cwd=copy, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (file,) = copy.glob("*.whl")
    return file


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site-packages")
    return tmp_path / "site-packages"


def test_the_wheel_holds_every_file_of_every_room(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    needed = {
        file.relative_to(environment.ROOT).as_posix()
        for room in ROOMS
        for file in (environment.ROOT / room).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert needed - names == ONLY_IN_A_CHECKOUT


def test_it_brings_the_command_the_services_and_a_home_that_the_user_may_write_to(installed: Path) -> None:
    (entries,) = installed.glob("*.dist-info/entry_points.txt")
    assert "rankloop = config.command_line:main" in entries.read_text()
    ask = (
        "from config import environment as e; from config.launching.supervisor import read_procfile as r; "
        "from config.command_line import main; print(e.home()); print(e.ROOT); print(list(r()))"
    )
    variables = {
        name: value for name, value in os.environ.items() if name not in ("RANKLOOP_HOME", "XDG_DATA_HOME")
    }
    answer = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=installed.parent,
        env={**variables, "HOME": "/home/somebody", "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert answer.stdout.splitlines() == [
        "/home/somebody/.local/share/rankloop",
        str(installed),
        str(list(read_procfile())),
    ], answer.stderr


def test_a_command_runs_from_it(installed: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", "from config.command_line import main; main()", "check"],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed), "RANKLOOP_HOME": str(installed.parent / "home")},
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "no issues" in answer.stdout
