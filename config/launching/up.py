"""Starts everything in order, keeps it running, and stops it in order, the database last."""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from django.core.exceptions import ImproperlyConfigured

from config import embedded_postgres, environment
from config.health import PATH as HEALTH
from config.launching.checks import (
    CannotStart,
    check_port,
    claim_home,
    read_record,
    write_record,
)
from config.launching.supervisor import (
    Supervisor,
    end_leftovers,
    forget_gone_workers,
    read_procfile,
    service_variables,
)

READY_SECONDS = 120
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """`manage.py up`. Returns the exit code: 0 after a clean stop, 1 with a sentence if it cannot start."""
    parser = argparse.ArgumentParser(
        prog=f"{Path(sys.argv[0]).name} up",
        description="Starts the database, the web, the workers and the scheduler, and stops them all on Ctrl-C. "
        "Settings are environment variables: see docs/operations.md.",
    )
    parser.parse_args(arguments)
    stopping = _Stopping()
    for sentence in environment.unknown_names():
        print(f"rankloop: {sentence}", file=sys.stderr)
    try:
        environment.check()
        _run(stopping)
    except (CannotStart, ImproperlyConfigured, embedded_postgres.EmbeddedPostgresError) as error:
        print(f"\nrankloop: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    _say("Stopped. All data are kept.")
    return 0


class _Stopping:
    """The first signal interrupts what is being done; those after it only hurry the stop."""

    def __init__(self) -> None:
        self.signals = 0
        self._held_back = False
        for number in SIGNALS:
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.signals += 1
        if self.signals == 1 and not self._held_back:
            raise KeyboardInterrupt

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Lets what is inside finish first: a process that was started must be known before all are stopped."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
        if self.signals:
            raise KeyboardInterrupt

    def is_hurried(self) -> bool:
        return self.signals > 1


def _run(stopping: _Stopping) -> None:
    began = time.monotonic()
    home = environment.home()
    port = environment.read_port()
    bind = environment.read("RANKLOOP_BIND")
    with claim_home(home):
        if left := end_leftovers(read_record(home).get("services", {})):
            _say(f"Ended {len(left)} services that a killed start had left.")
        check_port(bind, port)
        with _database(home) as postgres:
            _prepare_django(home)
            log_in = _prepare_data()
            record = {"pid": os.getpid(), "address": address(bind, port)}
            supervisor = Supervisor(
                read_procfile(),
                variables=service_variables(),
                logs=home / "log",
                changed=lambda living: write_record(home, {**record, "services": living}),
            )
            try:
                with stopping.held_back():
                    supervisor.start("web")
                _wait_until_ready(supervisor, stopping, bind, port)
                with stopping.held_back():
                    supervisor.start(*(name for name in supervisor.services if name != "web"))
                _say(_welcome(address(bind, port), log_in, home, time.monotonic() - began))
                while True:
                    with stopping.held_back():
                        supervisor.tend()
                    if postgres is not None and not embedded_postgres.is_running(postgres):
                        _say("The database has ended unexpectedly; it is started again.")
                        embedded_postgres.start(postgres)
                    time.sleep(0.5)
            finally:
                if stopping.signals:
                    _say(
                        "Stopping: runs stop at a checkpoint and go on at the next start. Ctrl-C again hurries."
                    )
                supervisor.stop(hurried=stopping.is_hurried)
                write_record(home, {})


def address(bind: str, port: int) -> str:
    """Where a browser on this machine, or the world if RANKLOOP_URL says so, finds the web."""
    host = "localhost" if bind in ("127.0.0.1", "0.0.0.0", "::", "::1") else bind  # noqa: S104 - compared, not bound
    return environment.read_url() or f"http://{host}:{port}"


@contextmanager
def _database(home: Path) -> Iterator[Path | None]:
    """Set DATABASE_URL; yields the folder of the embedded PostgreSQL, or None where another server is given."""
    if environment.read("DATABASE_URL"):
        yield None
        return
    folder = home / "postgres"
    try:
        os.environ["DATABASE_URL"] = embedded_postgres.start(folder)
        yield folder
    finally:
        embedded_postgres.leave(folder)


def _prepare_django(home: Path) -> None:
    forget_gone_workers(home)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    import django

    django.setup()


def _prepare_data() -> str:
    """Migrate if anything is to be migrated, and make the demo in an empty installation. Returns how to log in."""
    from django.core.management import call_command
    from django.db import OperationalError, connection
    from django.db.migrations.executor import MigrationExecutor

    from alignment.demo import ensure_demo

    try:
        executor = MigrationExecutor(connection)
    except OperationalError as error:
        raise CannotStart(
            f"The database of DATABASE_URL does not answer: {str(error).strip()}. Start it, or unset DATABASE_URL to "
            "use the embedded PostgreSQL."
        ) from error
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        _say("Bringing the database up to date.")
        call_command("migrate", interactive=False, verbosity=0)
    log_in = ensure_demo()
    connection.close()
    return log_in


def _wait_until_ready(supervisor: Supervisor, stopping: _Stopping, bind: str, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _answers(bind, port):
        with stopping.held_back():
            supervisor.tend()
        if supervisor.has_failed("web", times=3) or time.monotonic() > deadline:
            raise CannotStart(
                f"The web server did not come up. Its last lines:\n{supervisor.log_tail('web')}\n"
                f"The whole log is {supervisor.logs / 'web.log'}."
            )
        time.sleep(0.1)


def _answers(bind: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", HEALTH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _welcome(where: str, log_in: str, home: Path, seconds: float) -> str:
    return f"""Rankloop is ready after {seconds:.1f} s.

    Open    {where}
    Log in  {log_in}
    Files   {home} (logs in {home / "log"})
    Stop    Ctrl-C
"""


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal was closed
        print(f"\nrankloop: {text}", flush=True)
