"""The workers that a rehearsal needs, where `make run` has not started any that could carry it out."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.conf import settings

from config import embedded_postgres
from config.launching.checks import CannotStart, claim_home, read_record, write_record
from config.launching.supervisor import (
    Supervisor,
    end_leftovers,
    forget_gone_workers,
    identity,
    read_procfile,
    service_variables,
)
from training.child import engine_variables
from training.launching import ACCELERATOR

WORKERS = ("accelerator", "default")


@dataclass(frozen=True, slots=True)
class Working:
    """Workers that are there for a rehearsal."""

    queue: str
    """Of its runs."""
    tend: Callable[[], None]
    """To be called about once a second: it starts again what has died, the embedded database included."""


@contextmanager
def workers(oracle: str) -> Iterator[Working]:
    """Start an accelerator and a default worker, and stop them at the end.

    Those of a running `make run` are used as they are, if its accelerator worker, which has the environment of another
    shell, can import the oracle. Otherwise one with this shell's environment is started beside it, on a queue of the
    rehearsal's own.

    Raises:
        config.launching.checks.CannotStart: RANKLOOP_HOME cannot be written to, or its disk is nearly full.
    """
    home: Path = settings.RANKLOOP_HOME
    if _is_up(home):
        if _can_import(oracle, read_record(home).get("services", {})):
            yield Working(ACCELERATOR, lambda: None)
            return
        queue = f"rehearsal-{uuid.uuid4().hex[:8]}"
        command = read_procfile()[ACCELERATOR].replace(f" {ACCELERATOR} ", f" {queue} ")
        beside = Supervisor(
            {"rehearsal": command.replace(f"{ACCELERATOR}@", f"{queue}@")},
            variables=service_variables(),
            logs=home / "log",
            quiet=True,
        )
        try:
            beside.start("rehearsal")
            yield Working(queue, beside.tend)
        finally:
            beside.stop()
        return
    with claim_home(home):
        end_leftovers(read_record(home).get("services", {}))
        forget_gone_workers(home)
        record = {"pid": os.getpid(), "address": "a rehearsal"}
        supervisor = Supervisor(
            {name: command for name, command in read_procfile().items() if name in WORKERS},
            variables=service_variables(),
            logs=home / "log",
            changed=lambda living: write_record(home, {**record, "services": living}),
            quiet=True,
        )
        postgres = home / "postgres"
        embedded = embedded_postgres.is_running(postgres)

        def tend() -> None:
            supervisor.tend()
            if embedded and not embedded_postgres.is_running(postgres):
                embedded_postgres.start(postgres)

        try:
            supervisor.start(*supervisor.services)
            yield Working(ACCELERATOR, tend)
        finally:
            supervisor.stop()
            write_record(home, {})


def _can_import(oracle: str, services: Mapping[str, tuple[int, float]]) -> bool:
    """Whether runs of the living accelerator worker, if there is one, find the oracle."""
    try:
        variables = psutil.Process(services[ACCELERATOR][0]).environ()
    except (KeyError, psutil.Error):
        return False
    importing = "import sys; from training.engine.oracles import load_oracle; load_oracle(sys.argv[1])"
    tried = subprocess.run(
        [sys.executable, "-c", importing, oracle],
        cwd=settings.BASE_DIR,
        env=engine_variables({}, variables),
        capture_output=True,
    )
    return tried.returncode == 0


def _is_up(home: Path) -> bool:
    """Whether `make run` runs from this RANKLOOP_HOME."""
    try:
        claim_home(home).close()
    except CannotStart:
        pid = read_record(home).get("pid")
        if pid and identity(pid)[1]:
            return True
        raise
    return False
