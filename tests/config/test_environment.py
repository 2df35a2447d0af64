"""The table of environment variables is one: code, documents and deployment agree."""

from __future__ import annotations

import ast
import ipaddress
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

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
        if re.search(rf"(environ|getenv|read)[^\n]*{name}", file.read_text())
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
    assert result.returncode == 1
    assert "Set it to a folder that you may write to" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_installation_behind_tls_passes_djangos_security_check(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--tag", "security", "--fail-level", "WARNING"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_URL": "https://rankloop.example.org", "RANKLOOP_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


WRONG = [
    ("DATABASE_URL", "foo", "DATABASE_URL must name a PostgreSQL server"),
    ("DATABASE_URL", "mysql://anna:hidden@db/name", "DATABASE_URL must name a PostgreSQL server"),
    ("DATABASE_URL", "postgresql://anna:hid%den@db/name", "DATABASE_URL must name a PostgreSQL server"),
    ("DATABASE_URL", "postgresql://anna:hidden@db:many/name", "DATABASE_URL must name a PostgreSQL server"),
    ("RANKLOOP_EMAIL_URL", "zzz", "RANKLOOP_EMAIL_URL must be smtp://"),
    ("CELERY_BROKER_URL", "ftp://anna:hidden@broker", "CELERY_BROKER_URL must begin with redis://"),
    ("CELERY_BROKER_URL", "redis", "CELERY_BROKER_URL must begin with redis://"),
    ("CELERY_BROKER_URL", "redis://one;ftp://two", "CELERY_BROKER_URL must begin with redis://"),
    ("CELERY_BROKER_URL", "redis://:hidden@host:many/0", "CELERY_BROKER_URL must begin with redis://"),
    ("RANKLOOP_URL", "hello", "RANKLOOP_URL must be http:// or https://"),
    ("RANKLOOP_URL", "https://", "RANKLOOP_URL must be http:// or https://"),
    ("RANKLOOP_URL", "https://anna:hidden@example.org", "RANKLOOP_URL must be http:// or https://"),
    ("RANKLOOP_URL", "https://example.org/rankloop", "RANKLOOP_URL must be http:// or https://"),
    ("RANKLOOP_URL", "https://*.example.org", "RANKLOOP_URL must be http:// or https://"),
    ("RANKLOOP_HOSTS", "a b;c", "RANKLOOP_HOSTS must be host names .*'a b;c' is no host name"),
    ("RANKLOOP_HOSTS", "good.example.org,https://bad.example.org", "'https://bad.example.org' is no host"),
    ("RANKLOOP_HOSTS", "example.org:8000", "'example.org:8000' is no host name"),
    ("RANKLOOP_DEBUG", "maybe", "RANKLOOP_DEBUG must be 1 .*not 'maybe'"),
    ("RANKLOOP_SIGNUP", "2", "RANKLOOP_SIGNUP must be 1 .*not '2'"),
    ("RANKLOOP_ANYONE_CREATES_PROJECTS", "y", "RANKLOOP_ANYONE_CREATES_PROJECTS must be 1 .*not 'y'"),
    ("RANKLOOP_LOG_LEVEL", "loud", "RANKLOOP_LOG_LEVEL must be one of DEBUG, INFO"),
    ("RANKLOOP_PROXIES", "-1", "RANKLOOP_PROXIES must be a whole number from 0"),
    ("RANKLOOP_UPLOAD_MIB", "much", "RANKLOOP_UPLOAD_MIB must be a whole number from 1"),
    ("RANKLOOP_WEBHOOK_NETWORKS", "10.0.0.0/8,10.1.2.3/16", "must be networks .*'10.1.2.3/16' is none"),
    ("RANKLOOP_WEBHOOK_NETWORKS", "hooks.example.org", "must be networks .*'hooks.example.org' is none"),
    ("RANKLOOP_WEB_WORKERS", "0", "RANKLOOP_WEB_WORKERS must be a whole number from 1 to 1024"),
    ("RANKLOOP_ACCELERATORS", "9" * 5000, "RANKLOOP_ACCELERATORS must be a whole number from 1 to 1024"),
    ("RANKLOOP_HOME", "~nobody-of-this-name/home", "RANKLOOP_HOME, .* is no folder"),
    *(
        ("RANKLOOP_PORT", text, "RANKLOOP_PORT must be .* from 1 to 65535")
        for text in ("0", "-1", "x", "65536")
    ),
]


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG)
def test_a_wrong_value_is_told_before_anything_starts(
    name: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=sentence) as refused:
        environment.check()
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "read", "meant"),
    [
        ("CELERY_BROKER_URL", "rediss://:secret@host:6380/0", environment.read_broker, None),
        ("CELERY_BROKER_URL", "amqp://a:b@one:5672//;amqps://two", environment.read_broker, None),
        ("CELERY_BROKER_URL", "redis+socket:///run/redis.sock", environment.read_broker, None),
        (
            "RANKLOOP_URL",
            "HTTPS://Rankloop.Example.org:8443/",
            environment.read_url,
            "https://rankloop.example.org:8443",
        ),
        ("RANKLOOP_URL", "http://[::1]:8000", environment.read_url, "http://[::1]:8000"),
        (
            "RANKLOOP_HOSTS",
            " a.example.org, [::1],.b.org,* ",
            environment.read_hosts,
            ["a.example.org", "[::1]", ".b.org", "*"],
        ),
        (
            "RANKLOOP_WEBHOOK_NETWORKS",
            "10.1.0.0/16, ::1",
            environment.read_webhook_networks,
            [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("::1")],
        ),
        ("RANKLOOP_LOG_LEVEL", "warning", environment.read_log_level, "WARNING"),
        ("RANKLOOP_PORT", "", environment.read_port, 8000),
        ("DATABASE_URL", "postgresql:///name", environment.read_database, {"dbname": "name"}),
    ],
)
def test_a_right_value_passes(
    name: str, value: str, read: Callable[[], object], meant: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    environment.check()
    assert read() == (value if meant is None else meant)


@pytest.mark.parametrize(
    ("text", "on"),
    [
        *((text, True) for text in ("1", "True", "YES", "on")),
        *((text, False) for text in ("0", "false", "No", "OFF", "")),
    ],
)
def test_switches_take_the_usual_words(text: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKLOOP_SIGNUP", text)
    assert environment.read_switch("RANKLOOP_SIGNUP") is on


def test_a_mistyped_name_is_told_with_the_one_that_was_meant() -> None:
    right = dict.fromkeys((*environment.VARIABLES, *environment.OTHERS, "RANKLOOP_LLM_API_KEY", "HOME"), "")
    assert environment.unknown_names(right) == []
    assert environment.unknown_names({**right, "RANKLOOP_PROT": "1", "RANKLOOP_XYZZY": "secret"}) == [
        "RANKLOOP_PROT is not a variable of Rankloop, so it changes nothing. Did you mean RANKLOOP_PORT?",
        "RANKLOOP_XYZZY is not a variable of Rankloop, so it changes nothing. docs/operations.md lists those there "
        "are.",
    ]


@pytest.mark.parametrize("command", ["up", "check"])
def test_a_wrong_value_stops_every_command_with_a_sentence_and_nothing_started(
    command: str, tmp_path: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", command],
        cwd=environment.ROOT,
        env={
            **os.environ,
            "DATABASE_URL": "mysql://anna:hidden@db/name",
            "RANKLOOP_HOME": str(tmp_path / "home"),
            "RANKLOOP_PROT": "8001",
        },
        capture_output=True,
        text=True,
    )
    warning, sentence = filter(None, result.stderr.splitlines())
    assert result.returncode == 1
    assert "Did you mean RANKLOOP_PORT?" in warning
    assert sentence.startswith("rankloop: DATABASE_URL must name a PostgreSQL server")
    assert "hidden" not in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_wrong_endpoint_stops_every_command_without_its_password(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=environment.ROOT,
        env={
            **os.environ,
            "RANKLOOP_HOME": str(tmp_path),
            "RANKLOOP_ENDPOINTS": "http://localhost:8000/v1,https://anna:hidden@example.org/v1",
        },
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rankloop: Entry 2 of RANKLOOP_ENDPOINTS must be a plain address")
    assert len(result.stderr.splitlines()) == 1
    assert "hidden" not in result.stderr
