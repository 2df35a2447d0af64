"""The server that the serving benchmark asks: a database of its own, and the web as production starts it."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from config.embedded_postgres import provide_database
from config.launching.supervisor import read_procfile, service_variables

READY_SECONDS = 60
OTHERS = ("RANKLOOP_URL", "RANKLOOP_HOSTS", "RANKLOOP_DEBUG", "RANKLOOP_BIND", "GUNICORN_CMD_ARGS")
"""What an installation may have set and the benchmark must not go by."""


@contextmanager
def own_database() -> Iterator[str]:
    """A new, empty database on the server of DATABASE_URL, or on the embedded one; dropped in the end. DATABASE_URL is
    set to it. Yields the server's version."""
    server = provide_database()
    name = f"rankloop_bench_serving_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        version = admin.execute("SHOW server_version").fetchone()
    os.environ["DATABASE_URL"] = make_conninfo(server, dbname=name)
    os.environ["RANKLOOP_SECRET_KEY"] = secrets.token_urlsafe(50)
    for other in OTHERS:
        os.environ.pop(other, None)
    try:
        yield version[0] if version else "unknown"
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@contextmanager
def own_installation() -> Iterator[tuple[str, Path]]:
    """Django set up on an `own_database` that is up to date, with a temporary folder as RANKLOOP_HOME; both are gone in
    the end. Yields the server's version and the folder."""
    home = Path(tempfile.mkdtemp(prefix="rankloop-bench-"))
    try:
        with own_database() as version:
            os.environ["RANKLOOP_HOME"] = str(home)
            os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
            import django
            from django.core.management import call_command

            django.setup()
            call_command("migrate", interactive=False, verbosity=0)
            yield version, home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def settle() -> None:
    """Write out what filling left to write, and learn what it filled, as an hour's rest would."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE")
        with suppress(psycopg.errors.InsufficientPrivilege):
            admin.execute("CHECKPOINT")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor time since the start of each side. ``database`` is None where it runs elsewhere."""

    web: float
    database: float | None
    client: float


class Web:
    """Gunicorn by the Procfile's command. ``workers`` are its processes."""

    def __init__(self, workers: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = Path(tempfile.mkstemp(prefix="rankloop-bench-web-", suffix=".log")[1])
        variables = {
            **service_variables(),
            "RANKLOOP_PORT": str(self.port),
            "RANKLOOP_WEB_WORKERS": str(workers),
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                shlex.split(read_procfile()["web"]), env=variables, stdout=log, stderr=log
            )

    def __enter__(self) -> Web:
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise SystemExit(f"The web server did not come up:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.1)
        self.workers = psutil.Process(self.process.pid).children()
        self.database = _postmaster()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)

    def spent(self) -> Spent:
        return Spent(
            sum(_seconds(worker) for worker in self.workers),
            None if self.database is None else _with_ended(self.database),
            time.process_time(),
        )

    def mib(self) -> float:
        """Resident memory of the largest worker."""
        return max(worker.memory_info().rss for worker in self.workers) / 2**20

    def _answers(self) -> bool:
        health = f"http://127.0.0.1:{self.port}/health/"
        with suppress(OSError), urllib.request.urlopen(health, timeout=5) as answer:
            return bool(answer.status == 200)
        return False


def _postmaster() -> psutil.Process | None:
    """The server process of PostgreSQL, if it runs on this machine."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        host = connection.info.host
        if not (host.startswith("/") or host in ("", "localhost", "127.0.0.1", "::1")):
            return None
        try:
            process = psutil.Process(connection.info.backend_pid).parent()
        except psutil.Error:
            return None
    # A container's PostgreSQL counts processes by itself: the number may be anybody's here.
    return process if process is not None and "postgres" in process.name() else None


def _with_ended(postmaster: psutil.Process) -> float:
    """Of all the server's processes, those too that ended with their connection."""
    ended = postmaster.cpu_times()
    living = sum(_seconds(process) for process in postmaster.children(recursive=True))
    return float(ended.children_user + ended.children_system) + living


def _seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
