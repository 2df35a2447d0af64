"""The embedded server survives what a laptop does to it: kills, reboots, several starts at once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from config import embedded_postgres, environment


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place for a server's data, short enough for a socket."""
    home = Path(tempfile.mkdtemp(prefix="rl-pg-"))
    yield home / "postgres"
    embedded_postgres.stop(home / "postgres")
    shutil.rmtree(home, ignore_errors=True)


def write_row(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO kept DEFAULT VALUES")


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def postmaster(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().split()[0])


def run_python(code: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=environment.ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_server_is_started_again_with_all_committed_rows(folder: Path) -> None:
    url = embedded_postgres.start(folder)
    write_row(url)
    os.kill(postmaster(folder), signal.SIGKILL)
    again = embedded_postgres.start(folder)
    assert again == url
    assert count_rows(again) == 1


def test_another_process_with_the_recorded_number_is_not_taken_for_the_server(folder: Path) -> None:
    url = embedded_postgres.start(folder)
    write_row(url)
    record = (folder / "postmaster.pid").read_text()
    embedded_postgres.stop(folder)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        # As after a power cut: the file names a number that somebody else has now.
        (folder / "postmaster.pid").write_text(record.replace(record.split()[0], str(stranger.pid), 1))
        assert not embedded_postgres.is_running(folder)
        assert count_rows(embedded_postgres.start(folder)) == 1
        assert stranger.poll() is None
        stranger.kill()


def test_a_server_of_another_folder_is_not_taken_for_this_one(folder: Path) -> None:
    embedded_postgres.start(folder)
    other = folder.with_name("other")
    try:
        embedded_postgres.start(other)
        embedded_postgres.stop(other)
        (other / "postmaster.pid").write_text((folder / "postmaster.pid").read_text())
        assert not embedded_postgres.is_running(other)
    finally:
        embedded_postgres.leave(other)


def test_an_initialisation_that_was_killed_half_way_is_made_anew(folder: Path) -> None:
    draft = folder.with_name("postgres.new")
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("18\n")
    write_row(embedded_postgres.start(folder))
    assert not draft.exists()


def test_six_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    code = (
        "import sys, pathlib; from config import embedded_postgres;"
        "print(embedded_postgres.start(pathlib.Path(sys.argv[1])), flush=True); sys.stdin.read()"
    )
    processes = [run_python(code, str(folder)) for _ in range(6)]
    try:
        urls = {process.stdout.readline() for process in processes if process.stdout}
        server = postmaster(folder)
    finally:
        errors = [process.communicate()[1] for process in processes]
    assert len(urls) == 1, errors
    assert [process.returncode for process in processes] == [0] * 6, errors
    assert postmaster(folder) == server


def test_the_last_process_to_leave_stops_the_server_even_if_another_was_killed(folder: Path) -> None:
    code = (
        "import sys; from config.embedded_postgres import provide_database;"
        "provide_database(); print('up', flush=True); sys.stdin.read()"
    )
    variables = {"RANKLOOP_HOME": str(folder.parent), "DATABASE_URL": ""}
    first, second = (run_python(code, **variables) for _ in range(2))
    for process in (first, second):
        assert process.stdout
        assert process.stdout.readline() == "up\n"
    first.kill()
    first.communicate()
    assert embedded_postgres.is_running(folder)
    second.communicate()
    assert not embedded_postgres.is_running(folder)


def test_a_path_too_long_for_a_socket_works(folder: Path) -> None:
    deep = folder.parent / ("a folder with 'quotes' and spaces " + "x" * 90) / "postgres"
    try:
        write_row(embedded_postgres.start(deep))
        assert embedded_postgres.start(deep) == embedded_postgres.start(deep)
    finally:
        embedded_postgres.leave(deep)


def test_a_folder_that_cannot_be_made_gives_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="set RANKLOOP_HOME to another folder"):
        embedded_postgres.start(tmp_path / "file" / "postgres")


def test_data_of_an_unknown_major_version_are_left_alone_with_a_sentence(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="written by PostgreSQL 9"):
        embedded_postgres.start(folder)
    assert (folder / "PG_VERSION").read_text() == "9\n"


def test_a_full_disk_gives_a_sentence_and_leaves_no_half_made_data(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root on Linux only")
    try:
        with pytest.raises(embedded_postgres.EmbeddedPostgresError, match="disk is full"):
            embedded_postgres.start(disk / "postgres")
        assert not (disk / "postgres").exists()
        embedded_postgres.leave(disk / "postgres")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_nothing_is_said_about_the_runtime_folder(folder: Path) -> None:
    variables = {key: value for key, value in os.environ.items() if key != "XDG_RUNTIME_DIR"}
    result = subprocess.run(
        [sys.executable, "-c", "from config.embedded_postgres import provide_database; provide_database()"],
        cwd=environment.ROOT,
        env={**variables, "RANKLOOP_HOME": str(folder.parent), "DATABASE_URL": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0
    assert "XDG_RUNTIME_DIR" not in result.stderr


def test_a_recovery_longer_than_pg_ctl_waits_for_is_waited_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = embedded_postgres.start(folder)
    write_row(url)
    os.kill(postmaster(folder), signal.SIGKILL)
    run = embedded_postgres._run

    def run_impatiently(command: list[object]) -> subprocess.CompletedProcess[str]:
        result = run([word for word in command if word != "-w"])
        started = time.monotonic()
        while not embedded_postgres.is_running(folder) and time.monotonic() - started < 10:
            time.sleep(0.01)
        return (
            subprocess.CompletedProcess(command, 1, "server did not start in time", "") if result else result
        )

    monkeypatch.setattr(embedded_postgres, "_run", run_impatiently)
    assert count_rows(embedded_postgres.start(folder)) == 1
