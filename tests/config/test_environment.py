"""The table of environment variables is one: code, documents and deployment agree."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from config import environment
from training.engine.__main__ import PROCESS_SETTINGS

ROOMS = ("config", "annotation", "alignment", "training", "frontend")
READ_BY_A_NAME_THAT_IS_NO_LITERAL = {
    "config/environment.py": set(environment.VARIABLES),
    "training/engine/__main__.py": set(PROCESS_SETTINGS),
    "training/engine/endpoint.py": set(),  # keys of endpoints, documented by how their names end
}


def section(heading: str) -> str:
    """What stands in operations.md from a heading to the next one."""
    text = (environment.ROOT / "docs" / "operations.md").read_text()
    return re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]


def names_read(tree: ast.AST) -> Iterator[str | None]:
    """Each variable that is read of `os.environ` or by `os.getenv`; None for one whose name is no literal."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="environ") | ast.Name(id="environ")),
                args=[name, *_],
            ):
                pass  # get, setdefault, pop
            case ast.Call(func=ast.Attribute(attr="getenv") | ast.Name(id="getenv"), args=[name, *_]):
                pass
            case ast.Subscript(
                value=ast.Attribute(attr="environ") | ast.Name(id="environ"), slice=name, ctx=ast.Load()
            ):
                pass
            case ast.Compare(
                left=name,
                ops=[ast.In() | ast.NotIn()],
                comparators=[ast.Attribute(attr="environ") | ast.Name(id="environ")],
            ):
                pass
            case _:
                continue
        yield name.value if isinstance(name, ast.Constant) else None


def test_every_variable_that_is_read_is_documented() -> None:
    documented = set(environment.VARIABLES) | {
        name
        for row in re.findall(r"^\| (`.*?) \|", section("Names of other programs"), re.MULTILINE)
        for name in re.findall(r"`([A-Z_]+)`", row)
    }
    used: dict[str, str] = {}
    for room in ROOMS:
        for file in (environment.ROOT / room).rglob("*.py"):
            path = file.relative_to(environment.ROOT).as_posix()
            for name in names_read(ast.parse(file.read_text())):
                names = {name} if name else READ_BY_A_NAME_THAT_IS_NO_LITERAL[path]
                used |= dict.fromkeys(names, path)
    for path in ("config/install.sh", "config/Procfile", "Procfile"):
        names = re.findall(r"\$\{([A-Z_]+):?-", (environment.ROOT / path).read_text())
        used |= dict.fromkeys(names, path)
    assert {"XDG_DATA_HOME", "NO_COLOR", "PYTHON", "RANK"} <= set(used)
    assert {name: path for name, path in used.items() if name not in documented} == {}


def test_the_documented_table_is_the_codes() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", section("Environment"), re.MULTILINE)
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
