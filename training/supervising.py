"""One claim of one run, from taking it to handing it back or ending it.

The child process works, this one watches: it takes events into the database, renews the lease in the row and then in
the file (so the file never promises more than the row), and acts on cancelling, a lost claim, a database that is
gone and a worker that shuts down. Whatever kills this process, the row's lease runs out and a sweep queues the run.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connection

from config.logs import bind
from training import child, claiming, sweeping
from training.claiming import ClaimLost
from training.engine.events import sha256_of
from training.ingesting import Told, ingest, last_event
from training.launching import LOG_FILE, full_spec, run_folder
from training.models import Artifact, Run
from training.shutdown import WORKER_STOPS
from training.states import State, move

POLL_SECONDS = 0.5
SPEC_FILE = "spec.json"
DONE, REFUSED, STOPPED = 0, 2, 75
"""Exit codes of the engine; any other is a crash."""
SILENCE_SECONDS = 3600.0
"""An engine that says nothing for so long hangs; fetching a large model is the longest that it is silent for."""
LOG_TAIL_BYTES = 8192
LAST_WORDS_LENGTH = 500
_NOISE = re.compile(r"^\s|[Ww]arning|warnings\.warn|\d%\||kernels-community")
"""What libraries print beside the matter: warnings and the code that they quote, and bars."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class DatabaseGone(Exception):
    """The database was away for longer than the lease lasts."""


def supervise(run_id: UUID | str) -> None:
    """Claim the run if it is queued and due, and carry it out; return when the claim has ended, however it did."""
    if WORKER_STOPS.is_set():
        return
    supervision = _Supervision.begin(run_id)
    if supervision is None:
        logger.info("Run %s is not there to be taken: another worker has it, or it has ended.", run_id)
        return
    with bind(run=run_id, project=supervision.project_id):
        try:
            supervision.carry_out()
        except ClaimLost as lost:
            logger.warning("%s Its process was stopped and nothing written.", lost)
        except DatabaseGone as gone:
            logger.error("Run %s: %s It is stopped; a sweep queues it again.", run_id, gone)
    if not WORKER_STOPS.is_set():
        sweeping.send_due(queue=supervision.queue)


class _Supervision:
    """The state of one claim."""

    def __init__(self, run: Run, until: float) -> None:
        self.queue, self.project_id = run.queue, run.project_id
        self._run_id, self._token, self._worker = run.pk, run.token, run.worker
        self._folder = run_folder(run)
        self._spec = full_spec(run)
        self._until = until
        self._cancelled = False
        self._error = ""
        self._log_start = 0
        self._heard = time.monotonic()
        self._started = time.time()
        self._hangs = False
        self._child: child.Child | None = None

    @classmethod
    def begin(cls, run_id: UUID | str) -> _Supervision | None:
        now = time.time()
        run = claiming.claim(run_id=run_id, worker=f"{socket.gethostname()}:{os.getpid()}")
        return None if run is None else cls(run, now + claiming.LEASE_SECONDS)

    def carry_out(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            child.fence_off_previous(self._folder, meanwhile=self._beat, poll_seconds=POLL_SECONDS)
            self._drain()
            if self._says_succeeded() and not self._fault():
                # An earlier supervisor was lost between the engine's end and its own.
                self._end(State.SUCCEEDED, "")
            elif self._must_stop():
                self._hand_back("The worker was shut down before the run began.", counts=False)
            else:
                process = self._start()
                code = self._watch(process)
                self._drain()
                self._conclude(code, stopped=process.asked_to_stop)
        except (ClaimLost, DatabaseGone):
            raise
        except Exception as error:
            logger.exception("Run %s: its supervisor failed.", self._run_id)
            self._kill()
            self._hand_back(f"Its supervisor failed: {type(error).__name__}: {error}")
        finally:
            self._kill()

    def _start(self) -> child.Child:
        self._note(f"Claim {self._token}, by {self._worker}.")
        self._log_start = (self._folder / LOG_FILE).stat().st_size
        child.write_lease(self._folder, token=self._token, until=self._until)
        spec_file = self._folder / SPEC_FILE
        child.write_whole(spec_file, json.dumps(self._spec, ensure_ascii=False, indent=1))
        self._heard, self._started = time.monotonic(), time.time()
        self._child = child.Child(
            child.engine_command(spec_file), folder=self._folder, variables=child.engine_variables(self._spec)
        )
        logger.info("Run %s: claim %d, process %d.", self._run_id, self._token, self._child.pid)
        return self._child

    def _watch(self, process: child.Child) -> int:
        """Follow the process to its end; return its exit code."""
        while (code := process.wait(POLL_SECONDS)) is None:
            try:
                self._beat()
            except DatabaseGone:
                # As soon as the database is back another worker may take the run.
                process.stop()
                process.wait(child.OTHER_HOST_SECONDS)
                raise
            self._hangs = self._hangs or time.monotonic() - self._heard > SILENCE_SECONDS
            if self._must_stop() or self._hangs:
                process.stop()
        return code

    def _conclude(self, code: int, *, stopped: bool) -> None:
        """End the claim by how the process ended; ``stopped``: it had been asked to."""
        code = self._engines_code(code)
        if code == DONE:
            fault = (
                self._fault()
                if self._says_succeeded()
                else "The engine ended without saying that it succeeded."
            )
            if fault:
                self._hand_back(fault)
            else:
                self._end(State.SUCCEEDED, "")
        elif code == REFUSED:
            self._end(State.FAILED, self._last_words())
        elif self._hangs:
            self._hand_back(
                f"Its process said nothing for {SILENCE_SECONDS / 60:.0f} minutes and was stopped."
            )
        elif stopped:
            self._hand_back(
                f"Worker {self._worker} was shut down; the run goes on from its last checkpoint.",
                counts=False,
            )
        elif code == STOPPED:
            self._hand_back(f"It stopped at a checkpoint: {self._last_words()}")
        elif code < 0:
            name = signal.Signals(-code).name
            advice = ", as the system does when memory runs out" if name == "SIGKILL" else ""
            self._hand_back(f"Its process was killed by {name}{advice}. Last words: {self._last_words()}")
        else:
            self._hand_back(f"Its process ended with exit code {code}: {self._last_words()}")

    def _engines_code(self, code: int) -> int:
        """The exit code of the engine itself: torchrun's is 1, whatever its processes ended with, but what the first of
        them said last stands in its events."""
        last = last_event(self._folder)
        if code != 1 or self._spec.get("processes", 1) == 1 or last.get("time", 0) < self._started:
            return code
        return {"refused": REFUSED, "stopped": STOPPED}.get(str(last.get("state")), code)

    def _end(self, state: Run.State, reason: str) -> None:
        def end(run: Run) -> bool:
            if run.cancel_requested:
                move(run=run, to=State.CANCELLED, reason=run.reason)
            else:
                move(
                    run=run, to=state, reason=reason, attempts=0 if state == State.SUCCEEDED else run.attempts
                )
            return True

        self._patiently(end)

    def _hand_back(self, reason: str, *, counts: bool = True) -> None:
        def hand_back(run: Run) -> bool:
            claiming.hand_back(run, reason=reason, counts=counts)
            return True

        self._patiently(hand_back)

    def _must_stop(self) -> bool:
        return self._cancelled or WORKER_STOPS.is_set()

    def _says_succeeded(self) -> bool:
        last = last_event(self._folder)
        return last.get("event") == "end" and last.get("state") == "succeeded"

    def _fault(self) -> str:
        """What is wrong with the artifacts that the run announced, in a sentence; empty if they are as announced."""
        artifacts = self._patiently(lambda run: list(run.artifacts.all()))
        if not artifacts:
            return "The engine ended without an artifact."
        # Weights of many gigabytes take longer to read than the lease lasts.
        with ThreadPoolExecutor(1, thread_name_prefix="sha256") as pool:
            faults = pool.submit(lambda: [self._fault_of(artifact) for artifact in artifacts])
            while not wait([faults], POLL_SECONDS).done:
                self._beat()
        return " ".join(filter(None, faults.result()))

    def _fault_of(self, artifact: Artifact) -> str:
        path = (self._folder / artifact.path).resolve()
        if not path.is_relative_to(self._folder.resolve()) or not path.exists():
            return f"Artifact {artifact.name} is not in the run's folder."
        if sha256_of(path) != artifact.sha256:
            return f"Artifact {artifact.name} does not have the SHA-256 that the engine announced: {path} was changed."
        return ""

    def _drain(self) -> None:
        """Take in all events that are there."""
        while self._beat(patient=True):
            pass

    def _beat(self, *, patient: bool = False) -> bool:
        """Take in events, and renew the lease when that is due; return whether more events are there.

        Args:
            patient: wait for a database that is away, instead of leaving it to the next beat.
        """

        def take_in(run: Run) -> Told:
            return ingest(run, self._folder)

        told = self._patiently(take_in) if patient else self._attempt(take_in)
        if told is None:
            return False
        self._error = told.error or self._error
        if told.heard:
            self._heard = time.monotonic()
        for text in told.logs:
            self._note(text)
        return told.more

    def _patiently(self, work: Callable[[Run], T]) -> T:
        while (result := self._attempt(work)) is None:
            time.sleep(POLL_SECONDS)
        return result

    def _attempt(self, work: Callable[[Run], T]) -> T | None:
        """Do ``work``, which does not return None, on the locked row; None if the database is away for now.

        Raises:
            ClaimLost: the run is no longer this claim's.
            DatabaseGone: the database has been away until the lease ran out.
        """
        now = time.time()
        due = self._until - now < claiming.LEASE_SECONDS * 2 / 3
        try:
            with claiming.held(run_id=self._run_id, token=self._token) as run:
                if due:
                    claiming.renew(run)
                result = work(run)
                self._cancelled = run.cancel_requested
                still_held = run.state == State.RUNNING
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if now > self._until:
                raise DatabaseGone(f"The database was away until the lease ran out: {error}") from error
            return None
        if due:
            self._until = now + claiming.LEASE_SECONDS
            if still_held and self._child is not None:
                child.write_lease(self._folder, token=self._token, until=self._until)
        return result

    def _note(self, text: str) -> None:
        with (self._folder / LOG_FILE).open("a", encoding="utf-8", errors="replace") as log:
            log.write(f"{text}\n")

    def _last_words(self) -> str:
        """The sentence that the engine gave, or else the last line that it printed and meant."""
        if self._error:
            return self._error
        with (self._folder / LOG_FILE).open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, 2) - LOG_TAIL_BYTES))
            printed = log.read().decode("utf-8", "replace").split("\n")
        lines = [line for line in printed if line.strip()]
        meant = [line for line in lines if not _NOISE.search(line)] or lines
        return meant[-1].strip()[-LAST_WORDS_LENGTH:] if meant else "it printed nothing."

    def _kill(self) -> None:
        if self._child is not None:
            self._child.kill()
