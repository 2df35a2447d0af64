"""Whole workers and whole databases die under a run, and the run ends once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from celery import Celery
from django.conf import settings
from django.db import connection
from psycopg.conninfo import make_conninfo

from config import embedded_postgres
from tests.training.conftest import MakeRun, assert_done_once, starts, steps_measured, wait_for
from training.launching import run_folder, send_run_hint

pytestmark = pytest.mark.broker


class Worker:
    """A Celery worker with scheduler and scripted engine, in processes of its own."""

    def __init__(
        self,
        folder: Path,
        queue: str,
        database_url: str,
        home: Path,
        lease_seconds: float = 5.0,
        **variables: str,
    ) -> None:
        environment = (
            os.environ
            | variables
            | {
                "DATABASE_URL": database_url,
                "RANKLOOP_HOME": str(home),
                "RANKLOOP_TEST_QUEUE": queue,
                "RANKLOOP_TEST_LEASE_SECONDS": str(lease_seconds),
            }
        )
        self.log = folder / f"worker-{uuid.uuid4().hex[:8]}.log"
        command = [sys.executable, "-m", "celery", "-A", "tests.training.worker_app", "worker", "-B"]
        command += ["-Q", queue, "-n", f"{uuid.uuid4().hex}@%h", "--concurrency", "2", "--loglevel", "INFO"]
        command += [
            "--without-gossip",
            "--without-mingle",
            "--schedule",
            str(folder / f"{self.log.stem}.beat"),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL to all of its own processes at once, as when the machine's memory runs out."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM to the first process, as a service manager or `make run` sends it."""
        self.process.terminate()
        self.process.wait(60)

    def processes(self) -> list[psutil.Process]:
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]


@pytest.fixture
def queue() -> str:
    return f"test-{uuid.uuid4().hex}"


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Workers that the test started; none outlives it."""
    running: list[Worker] = []
    yield running
    for worker in running:
        if worker.process.poll() is None:
            worker.kill()


def database_url() -> str:
    """The address of the test database for another process."""
    database = connection.settings_dict
    parts = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return make_conninfo(**{key: str(database[name]) for key, name in parts.items() if database[name]})


@pytest.mark.django_db(transaction=True)
def test_a_run_outlives_its_worker_that_is_killed(
    make_run: MakeRun, workers: list[Worker], tmp_path: Path, queue: str
) -> None:
    run = make_run(queue=queue, steps=60, seconds=0.05)
    workers.append(Worker(tmp_path, queue, database_url(), settings.RANKLOOP_HOME))
    wait_for(lambda: len(steps_measured(run)) > 5, "the run to be at work")
    workers[-1].kill()
    workers.append(Worker(tmp_path, queue, database_url(), settings.RANKLOOP_HOME))
    wait_for(
        lambda: type(run).objects.get(pk=run.pk).state == "succeeded", "the second worker to finish it", 90
    )
    assert_done_once(run, steps=60)
    assert len(starts(run)) == run.token >= 2


@pytest.mark.django_db(transaction=True)
def test_a_worker_at_rest_has_no_process_whose_death_would_leave_it_deaf(
    make_run: MakeRun, workers: list[Worker], tmp_path: Path, queue: str
) -> None:
    workers.append(Worker(tmp_path, queue, database_url(), settings.RANKLOOP_HOME))
    wait_for(lambda: "ready." in workers[-1].log.read_text(), "the worker to be ready")
    for process in workers[-1].processes()[1:]:
        process.kill()
    run = make_run(steps=3)
    run.queue = queue
    run.save(update_fields=["queue"])

    assert send_run_hint(run)

    wait_for(lambda: type(run).objects.get(pk=run.pk).state == "succeeded", "the worker to carry it out")
    assert_done_once(run, steps=3)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_is_stopped_hands_its_run_back_at_a_checkpoint_and_takes_no_other(
    make_run: MakeRun, workers: list[Worker], tmp_path: Path, queue: str
) -> None:
    run = make_run(queue=queue, steps=100_000, seconds=0.05)
    workers.append(Worker(tmp_path, queue, database_url(), settings.RANKLOOP_HOME))
    wait_for(lambda: steps_measured(run), "the run to be at work")
    for process in workers[-1].processes():
        if "scripted_engine" not in " ".join(process.cmdline()):
            libraries = {Path(each.path).name.split(".")[0] for each in process.memory_maps()}
            assert "libtorch_cpu" not in libraries, "A worker forks, which torch's threads do not survive."
    workers[-1].stop()
    run.refresh_from_db()
    assert (run.state, run.attempts) == ("queued", 0)
    assert "shut down" in run.reason
    assert not psutil.pid_exists(starts(run)[-1])
    done = int((run_folder(run) / "checkpoint").read_text())
    assert steps_measured(run) == list(range(1, done + 1))
    assert len(starts(run)) == 1


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a Redis of the test's own, always at `REDIS_PORT`, which remembers nothing."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    started = []

    def start() -> subprocess.Popen[bytes]:
        command = ["redis-server", "--port", str(REDIS_PORT), "--save", "", "--dir", str(tmp_path)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        wait_for(lambda: listens(REDIS_PORT), "Redis to listen")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


REDIS_PORT = free_port()


@pytest.mark.django_db(transaction=True)
def test_a_broker_that_dies_and_forgets_its_messages_loses_no_run(
    make_run: MakeRun,
    workers: list[Worker],
    tmp_path: Path,
    queue: str,
    redis: Callable[[], subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"redis://127.0.0.1:{REDIS_PORT}/0"
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    monkeypatch.setattr("config.hints.current_app", Celery("elsewhere", broker=url, set_as_current=False))
    broker = redis()
    workers.append(Worker(tmp_path, queue, database_url(), settings.RANKLOOP_HOME, CELERY_BROKER_URL=url))
    first = make_run(queue=queue, steps=100, seconds=0.05)
    wait_for(lambda: steps_measured(first), "the first run to be at work")
    broker.kill()
    broker.wait()
    second = make_run(queue=queue)
    assert second.state == "queued" and second.sent_at is None
    wait_for(
        lambda: type(first).objects.get(pk=first.pk).state == "succeeded",
        "the first run to end without a broker",
    )
    assert_done_once(first, steps=100)
    assert len(starts(first)) == 1
    redis()
    wait_for(
        lambda: type(second).objects.get(pk=second.pk).state == "succeeded", "the second run to be found", 120
    )
    assert_done_once(second, steps=8)


class OwnDatabase:
    """A PostgreSQL that the test may stop, and a home beside it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.start()
        in_process(
            self,
            'from django.core.management import call_command; call_command("migrate", "training", verbosity=0)',
        )

    def start(self) -> None:
        self.url = embedded_postgres.start(self.home / "postgres")

    def stop(self) -> None:
        embedded_postgres.stop(self.home / "postgres")

    def values(self, query: str, run_id: str) -> list[object]:
        with psycopg.connect(self.url) as database:
            return [value for (value,) in database.execute(query, [run_id])]

    def steps(self, run_id: str) -> list[object]:
        return self.values("SELECT step FROM training_runmetric WHERE run_id = %s ORDER BY step", run_id)

    def state(self, run_id: str) -> object:
        return self.values("SELECT state FROM training_run WHERE id = %s", run_id)[0]


@pytest.fixture(scope="module")
def own_database() -> Iterator[OwnDatabase]:
    # Not in pytest's own folder, which every session closes to other users: root's PostgreSQL runs as one of them.
    home = Path(tempfile.mkdtemp(prefix="rankloop-test-"))
    database = OwnDatabase(home)
    yield database
    database.stop()
    shutil.rmtree(home)


def test_a_database_that_is_away_for_longer_than_the_lease_loses_and_doubles_nothing(
    own_database: OwnDatabase, workers: list[Worker], tmp_path: Path, queue: str
) -> None:
    run_id = in_process(own_database, MAKE_RUN, queue)
    folder = own_database.home / "runs" / run_id
    workers.append(Worker(tmp_path, queue, own_database.url, own_database.home))
    wait_for(lambda: len(own_database.steps(run_id)) > 5, "the run to be at work")
    own_database.stop()
    first = int((folder / "starts.txt").read_text().split()[0])
    wait_for(lambda: not psutil.pid_exists(first), "the engine to stop when its lease runs out")
    assert (folder / "checkpoint").exists()
    own_database.start()
    wait_for(lambda: own_database.state(run_id) == "succeeded", "the run to be swept up and finished", 90)
    assert own_database.steps(run_id) == list(range(1, 251))
    assert len((folder / "starts.txt").read_text().split()) >= 2
    assert not (folder / "overlap").exists()


def test_a_database_that_restarts_quickly_does_not_even_interrupt_the_run(
    own_database: OwnDatabase, workers: list[Worker], tmp_path: Path, queue: str
) -> None:
    run_id = in_process(own_database, MAKE_RUN, queue)
    folder = own_database.home / "runs" / run_id
    workers.append(Worker(tmp_path, queue, own_database.url, own_database.home, lease_seconds=60))
    wait_for(lambda: len(own_database.steps(run_id)) > 5, "the run to be at work")
    own_database.stop()
    own_database.start()
    wait_for(lambda: own_database.state(run_id) == "succeeded", "the run to finish", 90)
    assert own_database.steps(run_id) == list(range(1, 251))
    assert len((folder / "starts.txt").read_text().split()) == 1


MAKE_RUN = """
import json, sys
from tests.training.conftest import SPEC
from training.launching import create_run, run_folder
run = create_run(kind="sample", spec=SPEC, queue=sys.argv[1])
run_folder(run).mkdir(parents=True)
(run_folder(run) / "script.json").write_text(json.dumps({"steps": 250, "seconds": 0.02}))
print(run.pk)
"""


def in_process(database: OwnDatabase, code: str, *arguments: str) -> str:
    """Run code with Django on that database; return what it prints."""
    environment = os.environ | {
        "DATABASE_URL": database.url,
        "RANKLOOP_HOME": str(database.home),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    command = [sys.executable, "-c", f"import django; django.setup()\n{code}", *arguments]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
