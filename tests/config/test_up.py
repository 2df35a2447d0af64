"""`manage.py up` from nothing to a page in the browser and back to no process, with what it was given kept."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import psutil
import psycopg
import pytest

from config import embedded_postgres, environment
from config.launching.checks import read_record
from tests.config.test_documents import names_in_home

# One after another: each is a whole installation.
pytestmark = pytest.mark.xdist_group("broker")


class Installation:
    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.output = home / "console.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> subprocess.Popen[bytes]:
        self.home.mkdir(exist_ok=True)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=environment.ROOT,
                env={
                    **os.environ,
                    "RANKLOOP_HOME": str(self.home),
                    "RANKLOOP_PORT": str(self.port),
                    "RANKLOOP_WEB_WORKERS": "1",
                    "DATABASE_URL": "",
                    "CELERY_BROKER_URL": "",
                    **variables,
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        return self.process

    def said(self, text: str) -> bool:
        return text in self.output.read_text(errors="replace")

    def wait(self, true: Callable[[], object]) -> None:
        assert self.process is not None
        deadline = time.monotonic() + 200
        while not true():
            assert self.process.poll() is None, self.output.read_text(errors="replace")
            assert time.monotonic() < deadline, self.output.read_text(errors="replace")
            time.sleep(0.1)

    def wait_until_ready(self) -> None:
        self.wait(lambda: self.said("Rankloop is ready"))

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/health/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def services(self) -> dict[str, int]:
        return {name: pid for name, (pid, _) in read_record(self.home).get("services", {}).items()}

    def wait_for_services(self) -> None:
        self.wait(lambda: set(self.services()) == {"web", "accelerator", "endpoints", "default", "scheduler"})

    def processes(self) -> list[psutil.Process]:
        """All that runs from this home, whoever its parent is."""
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.home) in process.environ().get("RANKLOOP_HOME", "") or str(
                    self.home / "postgres"
                ) in (process.cmdline()):
                    found.append(process)
            except psutil.Error:
                pass
        return found


@pytest.fixture
def installation() -> Iterator[Installation]:
    home = Path(tempfile.mkdtemp(prefix="rl-up-"))
    installation = Installation(home)
    yield installation
    if installation.process is not None and installation.process.poll() is None:
        installation.process.terminate()
        installation.process.wait()
    embedded_postgres.stop(home / "postgres")
    shutil.rmtree(home, ignore_errors=True)


def test_an_installation_survives_kills_and_stops_cleanly_with_its_data_kept(
    installation: Installation,
) -> None:
    # Given a first start, which makes the database and the demo
    up = installation.start()
    installation.wait_until_ready()
    assert installation.answers()
    assert installation.said("as demo, password ")
    installation.wait_for_services()

    # When a worker and the web are killed, others take their places
    before = installation.services()
    killed = {name: before[name] for name in ("default", "web")}
    for pid in killed.values():
        os.kill(pid, signal.SIGKILL)
    installation.wait(
        # Between the end of one and the start of the next there is none.
        lambda: all(installation.services().get(name, pid) != pid for name, pid in killed.items())
    )
    assert installation.services()["scheduler"] == before["scheduler"]
    installation.wait(installation.answers)

    # When the database is killed, it is started again
    os.kill(int((installation.home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    installation.wait(lambda: installation.said("database has ended unexpectedly"))
    installation.wait(installation.answers)

    # When a second start is tried beside it, it says what to do
    second = subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_HOME": str(installation.home), "DATABASE_URL": ""},
        capture_output=True,
        text=True,
    )
    assert second.returncode == 1
    assert f"process {up.pid}, http://localhost:{installation.port}" in second.stderr

    # When it is stopped as by Ctrl-C, nothing of it is left
    up.send_signal(signal.SIGINT)
    assert up.wait(120) == 0, installation.output.read_text()
    assert installation.said("All data are kept")
    assert installation.processes() == []

    # Then the documents name all that lies in its home
    made = {file.name for file in installation.home.iterdir()} - {installation.output.name}
    assert {name for name in made if not any(fnmatch(name, listed) for listed in names_in_home())} == set()

    # Then the data are there at the next start, by hand
    with psycopg.connect(embedded_postgres.start(installation.home / "postgres")) as connection:
        row = connection.execute("SELECT count(*) FROM annotation_prompt").fetchone()
    embedded_postgres.leave(installation.home / "postgres")
    assert row
    assert row[0] == 200


def test_what_a_killed_start_leaves_is_ended_by_the_next_one(installation: Installation) -> None:
    # Given a start that was killed and left its services
    up = installation.start()
    installation.wait_until_ready()
    installation.wait_for_services()
    left = installation.services()
    up.kill()
    up.wait()
    assert psutil.pid_exists(left["web"])

    # When it is started again, and then stopped by the command
    installation.start()
    installation.wait_until_ready()
    assert installation.said("Ended 5 services")
    installation.wait_for_services()
    stop = subprocess.run(
        [sys.executable, "-m", "config.launching.stopping"],
        cwd=environment.ROOT,
        env={**os.environ, "RANKLOOP_HOME": str(installation.home)},
        capture_output=True,
        text=True,
    )

    # Then nothing of either is left
    assert stop.returncode == 0, stop.stderr
    assert "All data are kept" in stop.stdout
    assert installation.processes() == []


def test_a_taken_port_is_a_sentence_and_nothing_is_left_running(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", installation.port)):
        up = installation.start()
        assert up.wait(120) == 1
    assert installation.said(f"Port {installation.port} is taken")
    assert installation.processes() == []


def test_a_database_that_does_not_answer_is_a_sentence(installation: Installation) -> None:
    up = installation.start(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert up.wait(120) == 1
    assert installation.said("The database of DATABASE_URL does not answer")


def test_the_record_of_a_start_is_legible_while_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text('{"pid": 1, "serv')
    assert read_record(tmp_path) == {}
    (tmp_path / "up.json").write_text(json.dumps({"pid": 1}))
    assert read_record(tmp_path) == {"pid": 1}
